/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Finds a packet's record above TC. The kernel gives programs no access to metadata there, but the
 * bytes are still in front of the MAC header, and programs may read kernel memory. Linux 6.2
 * (bpf_cast_to_kern_ctx) and CAP_PERFMON.
 */
#ifndef PKTMETA_SOCKET_BPF_H
#define PKTMETA_SOCKET_BPF_H

#ifndef __VMLINUX_H__
#include <linux/bpf.h>
#endif
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <pktmeta/seal.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sk_buff___pktmeta {
	unsigned char *head;
	__u32 end;
	__u16 mac_header;
	__u16 network_header;
	__u16 transport_header;
	struct sock___pktmeta *sk;
};

struct skb_shared_info___pktmeta {
	__u8 meta_len;
};

/* See pktmeta_words(). */
struct rtnl_link_stats64___pktmeta {
	__u64 rx_packets;
};

struct net___pktmeta {
	__u64 net_cookie;
};

struct possible_net___pktmeta {
	struct net___pktmeta *net;
};

struct sock_common___pktmeta {
	struct possible_net___pktmeta skc_net;
	struct {
		__s64 counter;
	} skc_cookie;
	unsigned short skc_family;
	unsigned char skc_state;
};

struct sock___pktmeta {
	struct sock_common___pktmeta __sk_common;
	__u16 sk_type;
	__u16 sk_protocol;
};

struct tcp_sock___pktmeta {
	__u32 rcv_nxt;
	__u32 rcv_wup;
	__u32 rcv_wnd;
};

struct bpf_sock_ops_kern___pktmeta {
	struct sock___pktmeta *sk;
	struct sk_buff___pktmeta *skb;
};

struct bpf_sockopt_kern___pktmeta {
	struct sock___pktmeta *sk;
};

#pragma clang attribute pop

/* Weak, because programs at XDP and TC, which include this, too, run on kernels without them. */
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;
extern void *bpf_rdonly_cast(const void *address, __u32 type_id) __ksym __weak;

/* Makes the seals of this host's registry. The loader sets it; with 0 no record is proven. */
__weak const volatile __u64 pktmeta_secret = 0;

/* A packet's record in kernel memory. */
struct pktmeta_place {
	const void *address; /* for pktmeta_peek() and pktmeta_peek_words(), not for pointers */
	__u32 length;	     /* 0: the packet has no record */
};

/*
 * Words of kernel memory that a program reads at an address by loads at constant offsets: without a
 * call of bpf_probe_read_kernel(), which costs more than the rest of reading a record. A load from
 * a bad address gives 0 (BPF_PROBE_MEM). Before Linux 6.17, bpf_rdonly_cast() takes only types of
 * structures; this one is nothing but numbers of 64 bits, and has had so many since Linux 4.6.
 */
#define PKTMETA_WORDS 24

#ifndef PKTMETA_NO_WORDS /* which makes kernels look as if they had no such structure */
#define PKTMETA_HAS_WORDS                                                                          \
	(bpf_core_type_size(struct rtnl_link_stats64___pktmeta) >= PKTMETA_WORDS * sizeof(__u64))
#else
#define PKTMETA_HAS_WORDS 0
#endif

static __always_inline const __u64 *pktmeta_words(const void *address)
{
	return bpf_rdonly_cast(address,
			       bpf_core_type_id_kernel(struct rtnl_link_stats64___pktmeta));
}

/* Returns 8 bytes of kernel memory, or 0 if none can be read there. */
static __always_inline __u64 pktmeta_peek(const void *address)
{
	__u64 word = 0;

	if (PKTMETA_HAS_WORDS)
		return *pktmeta_words(address);
	bpf_probe_read_kernel(&word, sizeof(word), address);
	return word;
}

/* Copies one word: 1, or 0 if the bytes that are wanted end before it. */
static __always_inline int pktmeta_peek_1(const __u64 *from, __u64 *to, __u32 bytes, __u32 at)
{
	if (bytes <= at * sizeof(__u64))
		return 0;
	to[at] = from[at % PKTMETA_WORDS];
	return 1;
}

static __always_inline int pktmeta_peek_3(const __u64 *from, __u64 *to, __u32 bytes, __u32 at)
{
	return pktmeta_peek_1(from, to, bytes, at) && pktmeta_peek_1(from, to, bytes, at + 1) &&
	       pktmeta_peek_1(from, to, bytes, at + 2);
}

static __always_inline int pktmeta_peek_12(const __u64 *from, __u64 *to, __u32 bytes, __u32 at)
{
	return pktmeta_peek_3(from, to, bytes, at) && pktmeta_peek_3(from, to, bytes, at + 3) &&
	       pktmeta_peek_3(from, to, bytes, at + 6) && pktmeta_peek_3(from, to, bytes, at + 9);
}

/*
 * Copies bytes of kernel memory in words, as many as a record has at most. Not in a loop: the
 * verifier wants constant offsets, and compilers do not unroll alike.
 */
static __always_inline void pktmeta_peek_words(const void *address, __u64 *to, __u32 bytes)
{
	const __u64 *from;

	_Static_assert(PKTMETA_RECORD_MAX == 27 * sizeof(__u64), "12, 12 and 3 are copied");
	_Static_assert(PKTMETA_WORDS == 24, "the first two dozen are in reach of one address");
	if (!PKTMETA_HAS_WORDS) {
		barrier_var(bytes);
		if (bytes <= PKTMETA_RECORD_MAX)
			bpf_probe_read_kernel(to, bytes, address);
		return;
	}
	from = pktmeta_words(address);
	if (!pktmeta_peek_12(from, to, bytes, 0) || !pktmeta_peek_12(from, to, bytes, 12))
		return;
	from = pktmeta_words(address + PKTMETA_WORDS * sizeof(__u64));
	pktmeta_peek_3(from, to, bytes, 24);
}

/*
 * Finds the record of a packet, if a seal proves it. skb is the result of bpf_cast_to_kern_ctx(),
 * or a pointer that it leads to. The metadata, which the record begins, ends at the MAC header
 * (skb_metadata_end).
 */
static __always_inline struct pktmeta_place pktmeta_find_record(struct sk_buff___pktmeta *skb)
{
	struct skb_shared_info___pktmeta *shared;
	struct pktmeta_place none = {}, place;
	unsigned char *head = skb->head;
	__u32 mac = skb->mac_header;
	__u32 area, header, room;

	shared = bpf_rdonly_cast(head + skb->end,
				 bpf_core_type_id_kernel(struct skb_shared_info___pktmeta));
	area = shared->meta_len;
	/* 0xffff stands for "no MAC header" (skb_mac_header_was_set). */
	if (!pktmeta_secret || !area || area > mac || mac == 0xffff)
		return none;
	place.address = head + mac - area;
	header = pktmeta_peek(place.address);
	room = pktmeta_area_room(header);
	if (!room || room + PKTMETA_SEAL_SIZE != area)
		return none;
	if (!pktmeta_same_seal(pktmeta_peek(head + mac - PKTMETA_SEAL_SIZE),
			       pktmeta_seal(pktmeta_secret, area)))
		return none;
	place.length = header >> 24;
	return place;
}

/*
 * Copies a packet's record as applications get it: without the size of its area. Up to 7 bytes of
 * the area may follow the record, but none of the seal.
 */
static __always_inline void pktmeta_read_record(struct pktmeta_place place, __u64 *to)
{
	pktmeta_peek_words(place.address, to, place.length);
	((struct pktmeta_header *)to)->magic[1] = PKTMETA_MAGIC_1;
}

#endif
