/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The flow map: keeps a SYN's record from the SYN's arrival, when there is no connection yet, to
 * the end of the handshake.
 */
#ifndef PKTMETA_SYNS_BPF_H
#define PKTMETA_SYNS_BPF_H

#include "flow.bpf.h"
#include "stores/connections.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct pktmeta_flow);
	__type(value, struct pktmeta_record_buffer);
} pktmeta_syns SEC(".maps");

#endif
