/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The ring: slots with the records of datagrams that applications have not read yet. Applications
 * map it. A ticket names a slot, and which of the records that the slot holds in turn.
 */
#ifndef PKTMETA_RING_BPF_H
#define PKTMETA_RING_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <pktmeta/abi.h>

/*
 * Slots, a power of two. The loader sets it, and max_entries to one more: the last is the header.
 */
const volatile __u32 ring_slots = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_slot);
} pktmeta_ring SEC(".maps");

static __always_inline struct pktmeta_slot *ring_slot_at(__u32 index)
{
	return bpf_map_lookup_elem(&pktmeta_ring, &index);
}

static __always_inline struct pktmeta_slot *ring_slot(__u32 ticket)
{
	return ring_slot_at(ticket & (ring_slots - 1));
}

#endif
