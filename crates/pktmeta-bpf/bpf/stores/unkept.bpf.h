/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Sockets whose records could not be kept for lack of memory: they get ENOBUFS, not the answer that
 * there was no record. The map has its memory from the start, and so needs none when others fail.
 */
#ifndef PKTMETA_UNKEPT_BPF_H
#define PKTMETA_UNKEPT_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "defs.bpf.h"

/* The records of a connection, as bits. */
#define UNKEPT_OPENING 1
#define UNKEPT_LATEST 2

/* By the cookie of the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __u32);
} pktmeta_unkept SEC(".maps");

/* Notes that records of a socket were not kept. */
static __always_inline void note_unkept(__u64 cookie, __u32 which)
{
	__u32 *noted = bpf_map_lookup_elem(&pktmeta_unkept, &cookie);

	if (noted)
		__sync_fetch_and_or(noted, which);
	else
		bpf_map_update_elem(&pktmeta_unkept, &cookie, &which, BPF_ANY);
}

/* Returns 1 if a record was not kept. Sockets without a cookie were never noted. */
static __always_inline int was_unkept(__u64 cookie, __u32 which)
{
	__u32 *noted = cookie ? bpf_map_lookup_elem(&pktmeta_unkept, &cookie) : NULL;

	return noted && *noted & which;
}

#endif
