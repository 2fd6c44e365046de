/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The flow map: a SYN's record, from the SYN's arrival, when there is no connection yet, to the
 * handshake's end, when there is.
 */
#ifndef PKTMETA_SYNS_BPF_H
#define PKTMETA_SYNS_BPF_H

#include "flow.bpf.h"
#include "stores/connections.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow);
	__type(value, struct record_buffer);
} pktmeta_syns SEC(".maps");

#endif
