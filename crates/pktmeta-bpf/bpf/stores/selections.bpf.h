/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Socket storage: the fields that the application wants in one answer. */
#ifndef PKTMETA_SELECTIONS_BPF_H
#define PKTMETA_SELECTIONS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <pktmeta/abi.h>

struct pktmeta_selection {
	__u32 count;
	__u8 types[PKTMETA_SELECTION_MAX];
};

/* A socket begins with a copy of the selection of the listener that accepted it. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct pktmeta_selection);
} pktmeta_selections SEC(".maps");

#endif
