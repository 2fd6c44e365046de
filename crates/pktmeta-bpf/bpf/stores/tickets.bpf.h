/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Socket storage: whether a UDP socket wants tickets with its datagrams, and in which carrier. */
#ifndef PKTMETA_TICKETS_BPF_H
#define PKTMETA_TICKETS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <pktmeta/abi.h>

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __s32); /* PKTMETA_TICKETS_* */
} pktmeta_tickets SEC(".maps");

#endif
