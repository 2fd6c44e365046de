/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Find a packet's record above TC, in cgroup_skb/ingress and sockops programs. The kernel offers
 * no access to metadata there, but the bytes are still in front of the MAC header. Kernel 6.2 or
 * later (bpf_cast_to_kern_ctx), CAP_PERFMON.
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

/* Four bytes, and 200 of them in eights, whatever they are. */
struct in_addr___pktmeta {
	__u32 s_addr;
};

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

/* Weak: programs below, which include this too, run on kernels that lack them. */
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;
extern void *bpf_rdonly_cast(const void *address, __u32 type_id) __ksym __weak;

/* What proves the records of this host's registry; written by the loader. 0: nothing does. */
__weak const volatile __u64 pktmeta_secret = 0;

/* Where a packet's record lies in kernel memory. */
struct pktmeta_place {
	const void *address; /* not to be followed: see pktmeta_read_record() */
	__u32 length;	     /* 0: the packet has no record */
};

/*
 * Finds the record of a packet, if it proves itself. skb is what bpf_cast_to_kern_ctx gave, or a
 * pointer out of it. The metadata ends where the MAC header starts (skb_metadata_end); the record
 * starts with it.
 */
static __always_inline struct pktmeta_place pktmeta_find_record(struct sk_buff___pktmeta *skb)
{
	struct skb_shared_info___pktmeta *shared;
	struct pktmeta_place none = {}, place;
	struct rtnl_link_stats64___pktmeta *seal;
	struct in_addr___pktmeta *first;
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
	/* Without a call; what cannot be read is 0 (BPF_PROBE_MEM). */
	first = bpf_rdonly_cast(place.address, bpf_core_type_id_kernel(struct in_addr___pktmeta));
	header = first->s_addr;
	room = pktmeta_area_room(header);
	if (!room || room + PKTMETA_SEAL_SIZE != area)
		return none;
	seal = bpf_rdonly_cast(head + mac - PKTMETA_SEAL_SIZE,
			       bpf_core_type_id_kernel(struct rtnl_link_stats64___pktmeta));
	if (!pktmeta_same_seal(seal->rx_packets, pktmeta_seal(pktmeta_secret, area)))
		return none;
	place.length = header >> 24;
	return place;
}

/*
 * Copies a packet's record in eights: behind its length it may be followed by a few bytes of the
 * area, but by none of its seal. Seen as a kernel structure of numbers, it takes no call of
 * bpf_probe_read_kernel(), which costs more than all the rest. The verifier wants constant offsets
 * there, and compilers do not unroll alike.
 */
static __always_inline void pktmeta_read_eights(struct pktmeta_place place, __u64 *to)
{
	const __u32 type = bpf_core_type_id_kernel(struct rtnl_link_stats64___pktmeta);
	const __u64 *from = bpf_rdonly_cast(place.address, type);

#define PKTMETA_READ_8(at)                                                                         \
	if (place.length <= (at) * 8)                                                              \
		return;                                                                            \
	to[at] = from[(at) % 24];
#define PKTMETA_READ_24(at) PKTMETA_READ_8(at) PKTMETA_READ_8(at + 1) PKTMETA_READ_8(at + 2)
#define PKTMETA_READ_96(at)                                                                        \
	PKTMETA_READ_24(at) PKTMETA_READ_24(at + 3) PKTMETA_READ_24(at + 6) PKTMETA_READ_24(at + 9)
	PKTMETA_READ_96(0)
	PKTMETA_READ_96(12)
	from = bpf_rdonly_cast(place.address + 192, type);
	PKTMETA_READ_24(24)
#undef PKTMETA_READ_96
#undef PKTMETA_READ_24
#undef PKTMETA_READ_8
}

/*
 * Copies a packet's record as applications get it: without the size of the area that it stood in.
 */
static __always_inline void pktmeta_read_record(struct pktmeta_place place, __u64 *to)
{
	pktmeta_read_eights(place, to);
	((struct pktmeta_header *)to)->magic[1] = PKTMETA_MAGIC_1;
}

_Static_assert(PKTMETA_RECORD_MAX == 27 * 8, "as many as are read");

#endif
