/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Sockets whose records could not be kept, so that they are not told that there were none. A map
 * that has its memory from the start: what is remembered here there was no memory for elsewhere.
 */
#ifndef PKTMETA_UNKEPT_BPF_H
#define PKTMETA_UNKEPT_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Which of a connection's records. */
#define UNKEPT_OPENING 1
#define UNKEPT_LATEST 2

/* By the cookie of the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __u32);
} pktmeta_unkept SEC(".maps");

static __always_inline void note_unkept(__u64 cookie, __u32 which)
{
	__u32 *noted = bpf_map_lookup_elem(&pktmeta_unkept, &cookie);

	if (noted)
		__sync_fetch_and_or(noted, which);
	else
		bpf_map_update_elem(&pktmeta_unkept, &cookie, &which, BPF_ANY);
}

/* A socket without a cookie was never noted. */
static __always_inline int was_unkept(__u64 cookie, __u32 which)
{
	__u32 *noted = cookie ? bpf_map_lookup_elem(&pktmeta_unkept, &cookie) : (void *)0;

	return noted && *noted & which;
}

#endif
