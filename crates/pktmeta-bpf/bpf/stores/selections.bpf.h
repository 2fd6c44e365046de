/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Socket storage: which fields the application wants to have in one answer. */
#ifndef PKTMETA_SELECTIONS_BPF_H
#define PKTMETA_SELECTIONS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <pktmeta/abi.h>

struct selection {
	__u32 count;
	__u8 types[PKTMETA_SELECTION_MAX];
};

/* What a listener has, the sockets that it accepts begin with. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct selection);
} pktmeta_selections SEC(".maps");

#endif
