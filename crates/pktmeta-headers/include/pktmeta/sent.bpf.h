/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Reads the fields that applications set on what they send, in programs at cgroup_skb/egress and TC
 * egress:
 *
 *	#include <pktmeta/sent.bpf.h>
 *	PKTMETA_FIELD(tenant, __u32);
 *
 *	SEC("tcx/egress") int pace(struct __sk_buff *skb)
 *	{
 *		__u32 who;
 *
 *		if (!pktmeta_get_sent(skb, tenant, &who))
 *			skb->priority = who;
 *		return TCX_NEXT;
 *	}
 *
 * This header includes pktmeta.bpf.h, whose pktmeta_get() reads the record of the packet itself: a
 * forwarded packet has one. It is no part of that header, because a loader creates every map of an
 * object, used or not. The loader must give the program the maps of the datapath, pktmeta_tx and
 * pktmeta_tx_tickets below BPFFS/pktmeta/maps (`bpftool prog load ... map name pktmeta_tx pinned
 * PATH`): with maps of its own the program finds no record. Linux 5.9.
 */
#ifndef PKTMETA_SENT_BPF_H
#define PKTMETA_SENT_BPF_H

#include <pktmeta/pktmeta.bpf.h>

/*
 * Copies a field's value to *value. cgroup_skb/egress and TC egress programs get the value of the
 * datagram's own record if it has one, else of the socket's record. Programs that are called for
 * a socket (sockops, sk_msg, cgroup/connect and the like, getsockopt, setsockopt) get the value of
 * the socket's record. Returns 0, or sets *value to zeros and returns
 *   -ENODATA  no application of this host set a record for this packet or socket
 *   -ENOENT   the record does not have the field, or the program was loaded without its tag
 */
#define pktmeta_get_sent(ctx, field, value) PKTMETA_GET(PKTMETA_SENT(ctx, get), ctx, field, value)

/* 1 if an application set a record for the packet or socket, else 0. */
#define pktmeta_has_sent(ctx) PKTMETA_SENT(ctx, has_record)(ctx)

/* The rest is not for programs. */

/* The function for a context: pktmeta_HOOK_sent_FUNCTION. */
#define PKTMETA_SENT(ctx, function)                                                                \
	_Generic((ctx),                                                                            \
		struct __sk_buff *: pktmeta_skb_sent_##function,                                   \
		struct bpf_sock_ops *: pktmeta_sockops_sent_##function,                            \
		struct bpf_sock_addr *: pktmeta_sock_addr_sent_##function,                         \
		struct bpf_sockopt *: pktmeta_sockopt_sent_##function,                             \
		struct sk_msg_md *: pktmeta_sk_msg_sent_##function)

/* The record of what a socket sends. */
struct pktmeta_tx {
	struct bpf_spin_lock lock; /* an application writes while packets leave */
	struct pktmeta_copy record;
};

/* A socket begins with a copy of the record of the listener that accepted it. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct pktmeta_tx);
} pktmeta_tx SEC(".maps");

/* The records of a socket's datagrams, each at its ticket modulo PKTMETA_TX_SLOTS. */
struct pktmeta_tx_tickets {
	struct bpf_spin_lock lock;
	__u32 reserved;
	struct pktmeta_tx_slot {
		__u64 ticket; /* 0: none */
		struct pktmeta_copy record;
	} slots[PKTMETA_TX_SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pktmeta_tx_tickets);
} pktmeta_tx_tickets SEC(".maps");

/* Returns the ticket of a datagram, which is in its mark or its time to be sent; or 0. */
static __always_inline __u32 pktmeta_sent_ticket(struct __sk_buff *skb)
{
	__u64 mark = skb->mark, time = skb->tstamp;

	if ((mark & PKTMETA_TX_TICKET_MASK) == PKTMETA_TX_TICKET)
		return mark;
	if ((time & (~0ULL << 32 | PKTMETA_TX_TICKET_MASK)) == PKTMETA_TX_TICKET)
		return time;
	return 0;
}

/* Copies the record that a socket has for what it sends. Returns 0, or -ENODATA. */
static __always_inline int pktmeta_socket_copy(struct bpf_sock *sk, struct pktmeta_copy *to)
{
	struct pktmeta_tx *tx = bpf_sk_storage_get(&pktmeta_tx, sk, 0, 0);

	if (!tx)
		return -PKTMETA_ENODATA;
	bpf_spin_lock(&tx->lock);
	*to = tx->record;
	bpf_spin_unlock(&tx->lock);
	return 0;
}

/*
 * Copies the record of a packet that leaves. Returns 0, or -ENODATA. A datagram with a ticket never
 * gets the socket's record, even if its own is no longer there.
 */
__weak __noinline int pktmeta_skb_sent_copy(struct __sk_buff *skb, struct pktmeta_copy *to)
{
	__u32 ticket = pktmeta_sent_ticket(skb);
	struct pktmeta_tx_tickets *tickets;
	struct pktmeta_tx_slot *slot;
	struct bpf_sock *sk = skb->sk;
	int err = 0;

	if (!sk || !to)
		return -PKTMETA_ENODATA;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return -PKTMETA_ENODATA;
	if (ticket) {
		tickets = bpf_sk_storage_get(&pktmeta_tx_tickets, sk, 0, 0);
		if (!tickets)
			return -PKTMETA_ENODATA;
		slot = &tickets->slots[ticket % PKTMETA_TX_SLOTS];
		bpf_spin_lock(&tickets->lock);
		if (slot->ticket == ticket)
			*to = slot->record;
		else
			err = -PKTMETA_ENODATA;
		bpf_spin_unlock(&tickets->lock);
		return err;
	}
	return pktmeta_socket_copy(sk, to);
}

/* The same at a hook without a packet: copies the record of the socket. */
#define PKTMETA_SENT_BY(hook, context)                                                             \
	__weak __noinline int pktmeta_##hook##_sent_copy(context *ctx, struct pktmeta_copy *to)    \
	{                                                                                          \
		struct bpf_sock *sk = ctx->sk;                                                     \
                                                                                                   \
		return sk && to ? pktmeta_socket_copy(sk, to) : -PKTMETA_ENODATA;                  \
	}

PKTMETA_SENT_BY(sockops, struct bpf_sock_ops)
PKTMETA_SENT_BY(sock_addr, struct bpf_sock_addr)
PKTMETA_SENT_BY(sockopt, struct bpf_sockopt)
PKTMETA_SENT_BY(sk_msg, struct sk_msg_md)

/* A function of its own: inlined, the verifier would track every byte of the copy on the stack. */
__weak __noinline __u32 pktmeta_copy_find(const struct pktmeta_copy *record, __u32 tag)
{
	if (!record)
		return 0;
	return pktmeta_record_find(record, record + 1, tag, sizeof(struct pktmeta_header));
}

/* Copies the value at an offset that pktmeta_copy_find() returned. Returns 0, or -ENOENT. */
static __always_inline long pktmeta_copy_value(const struct pktmeta_copy *record, __u32 at,
					       __u8 tag, void *value, __u32 size)
{
	__u32 header = pktmeta_tlv_header(tag);
	const __u8 *tlv;

	if (!at)
		return -PKTMETA_ENOENT;
	barrier_var(
		at); /* or the compiler merges the tests, from which many verifiers learn nothing */
	if (at > PKTMETA_RECORD_MAX - header - size)
		return -PKTMETA_ENOENT;
	tlv = record->bytes + at;
	if (header == 2 && tlv[1] != size)
		return -PKTMETA_ENOENT;
	/* memcpy, which copies byte by byte: values are not aligned, as the stack demands. */
	__builtin_memcpy(value, tlv + header, size);
	return 0;
}

/* Copies size bytes, at most max, from an offset of a copied record on. Returns 0, or -ENOENT. */
static __always_inline long pktmeta_copy_bytes(const struct pktmeta_copy *record, __u32 from,
					       __u8 *to, __u32 size, __u32 max)
{
	__u32 i;

	for (i = 0; i < size; i++) {
		__u32 at = from + i;

		barrier_var(at);
		barrier_var(i); /* or the compiler replaces the counter that the verifier bounds */
		if (at >= sizeof(record->bytes) || i >= max)
			return -PKTMETA_ENOENT;
		to[i] = record->bytes[at];
	}
	return 0;
}

/* The same for a value of up to max bytes, behind a byte with its size. */
static __always_inline long pktmeta_copy_variable(const struct pktmeta_copy *record, __u32 at,
						  void *value, __u32 max)
{
	__u32 size;

	if (!at)
		return -PKTMETA_ENOENT;
	barrier_var(at);
	if (at > PKTMETA_RECORD_MAX - 2)
		return -PKTMETA_ENOENT;
	size = record->bytes[at + 1];
	if (size > max)
		return -PKTMETA_ENOENT;
	/* Or the compiler would store any register to bytes that nothing was written to. */
	__builtin_memset(value, 0, 1 + max);
	*(__u8 *)value = size;
	return pktmeta_copy_bytes(record, at + 2, (__u8 *)value + 1, size, max);
}

/* The functions that read at a hook. */
#define PKTMETA_READS_SENT(hook, context)                                                          \
	static __always_inline int pktmeta_##hook##_sent_has_record(context *ctx)                  \
	{                                                                                          \
		struct pktmeta_copy record = {};                                                   \
                                                                                                   \
		return !pktmeta_##hook##_sent_copy(ctx, &record);                                  \
	}                                                                                          \
                                                                                                   \
	static __always_inline long pktmeta_##hook##_sent_get(                                     \
		context *ctx, const volatile struct pktmeta_binding *field, void *value,           \
		__u32 size, int variable)                                                          \
	{                                                                                          \
		struct pktmeta_copy record = {};                                                   \
		__u8 tag = field->tag;                                                             \
		__u32 at;                                                                          \
                                                                                                   \
		if (!(tag & PKTMETA_TAG_TYPE))                                                     \
			return -PKTMETA_ENOENT;                                                    \
		if (pktmeta_##hook##_sent_copy(ctx, &record))                                      \
			return -PKTMETA_ENODATA;                                                   \
		at = pktmeta_copy_find(&record, tag);                                              \
		if (variable)                                                                      \
			return pktmeta_copy_variable(&record, at, value, size);                    \
		return pktmeta_copy_value(&record, at, tag, value, size);                          \
	}

PKTMETA_READS_SENT(skb, struct __sk_buff)
PKTMETA_READS_SENT(sockops, struct bpf_sock_ops)
PKTMETA_READS_SENT(sock_addr, struct bpf_sock_addr)
PKTMETA_READS_SENT(sockopt, struct bpf_sockopt)
PKTMETA_READS_SENT(sk_msg, struct sk_msg_md)

#endif
