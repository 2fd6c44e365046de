/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Fields of received packets at the hooks above TC. The kernel offers no access to metadata there,
 * but the bytes are still in front of the MAC header, and a program may read kernel memory. It may
 * not write it: what tries to does not compile.
 */
#include <pktmeta/pktmeta.bpf.h> /* which includes this, in front of those that use it */

#ifndef PKTMETA_RECEIVED_BPF_H
#define PKTMETA_RECEIVED_BPF_H

#include <pktmeta/socket.bpf.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sk_reuseport_kern___pktmeta {
	struct sk_buff___pktmeta *skb;
};

struct bpf_flow_dissector___pktmeta {
	struct sk_buff___pktmeta *skb;
};

#pragma clang attribute pop

#ifndef __VMLINUX_H__ /* no header for programs has it, and the verifier wants more than its name */
struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
};
#endif

/*
 * How this object's programs reach the packet of a struct __sk_buff, which is the context of hooks
 * at and above TC alike. The names of their sections say it, so the loader, which sees those,
 * writes it: the verifier then walks one of the ways, and never sees what the other would not let
 * it.
 */
__weak const volatile __u32 pktmeta_skb_access = PKTMETA_SKB_UNBOUND;

static __always_inline struct sk_buff___pktmeta *pktmeta_skb_packet(struct __sk_buff *skb)
{
	struct bpf_flow_dissector___pktmeta *dissector;

	if (pktmeta_skb_access != PKTMETA_SKB_DISSECTOR)
		return bpf_cast_to_kern_ctx(skb);
	dissector = bpf_cast_to_kern_ctx(skb);
	return dissector->skb;
}

static __always_inline struct sk_buff___pktmeta *
pktmeta_sk_reuseport_packet(struct sk_reuseport_md *ctx)
{
	struct sk_reuseport_kern___pktmeta *kernel_ctx = bpf_cast_to_kern_ctx(ctx);

	return kernel_ctx->skb;
}

static __always_inline struct sk_buff___pktmeta *pktmeta_sockops_packet(struct bpf_sock_ops *ctx)
{
	struct bpf_sock_ops_kern___pktmeta *kernel_ctx = bpf_cast_to_kern_ctx(ctx);

	return kernel_ctx->skb;
}

static __always_inline struct sk_buff___pktmeta *pktmeta_netfilter_packet(struct bpf_nf_ctx *ctx)
{
	return (void *)ctx->skb;
}

/* Eight bytes of kernel memory, without a call; zeros where there is none (BPF_PROBE_MEM). */
static __always_inline __u64 pktmeta_peek(const void *address)
{
	struct rtnl_link_stats64___pktmeta *eight;

	eight = bpf_rdonly_cast(address,
				bpf_core_type_id_kernel(struct rtnl_link_stats64___pktmeta));
	return eight->rx_packets;
}

/*
 * Offset of the first TLV with this tag in a record that proved itself; its length, or more, if
 * there is none. Every turn begins with an offset of which the verifier knows nothing: it then
 * walks each branch of it once, and not once for each way to it.
 */
static __always_inline __u32 pktmeta_peek_find(struct pktmeta_place record, __u32 unknown, __u8 tag)
{
	__u32 at = sizeof(struct pktmeta_header), i;

	pktmeta_forget(at, unknown);
	for (i = 0; i < PKTMETA_TLVS_MAX && at < record.length; i++) {
		__u32 found = pktmeta_peek(record.address + at) & 0xffff;

		if ((__u8)found == tag)
			return at;
		at += pktmeta_tlv_header(found) == 2 ?
			      2 + (found >> 8) :
			      1 + (1 << ((__u8)found >> PKTMETA_TAG_SIZE_SHIFT));
		pktmeta_forget(at, unknown);
	}
	return PKTMETA_RECORD_MAX;
}

/*
 * Finds the value of a packet's field. at is the offset of its place, or 0. Where it is from
 * skb->head, and below that its size in a byte, or
 *   -ENODATA  the packet has no record that proves itself
 *   -ENOENT   the record does not have the field
 */
static __always_inline long pktmeta_received_find(struct sk_buff___pktmeta *skb, __u8 tag, __u32 at)
{
	struct pktmeta_place record = pktmeta_find_record(skb);
	__u32 header, found, size;

	if (!record.length)
		return -PKTMETA_ENODATA;
	header = pktmeta_peek(record.address);
	if (!at || !pktmeta_has_places(&header) || (__u8)pktmeta_peek(record.address + at) != tag)
		at = pktmeta_peek_find(record, header, tag);
	found = at + pktmeta_tlv_header(tag);
	if (pktmeta_tlv_header(tag) == 2)
		size = pktmeta_peek(record.address + at) >> 8 & 0xff;
	else
		size = 1 << (tag >> PKTMETA_TAG_SIZE_SHIFT);
	if (found + size > record.length)
		return -PKTMETA_ENOENT;
	found += skb->mac_header - pktmeta_area_size(header);
	return found << 8 | size;
}

static __always_inline __u64 pktmeta_received_eight(struct sk_buff___pktmeta *skb, __u32 found,
						    __u32 at)
{
	__u32 size = (__u8)found;
	__u64 eight;

	if (at >= size)
		return 0;
	eight = pktmeta_peek(skb->head + (found >> 8) + at);
	return size - at < 8 ? eight & ((1ULL << (size - at) * 8) - 1) : eight;
}

/* Offset of the TLV at a field's place; 0: it has none. */
static __always_inline __u32 pktmeta_place_of(const volatile struct pktmeta_binding *field,
					      __u32 size, int variable)
{
	return variable || !field->until ? 0 : field->until - size - pktmeta_fixed_header(size);
}

/*
 * What reads at a hook: finds a value, then copies it in eights. The functions that are not static
 * are walked by the verifier once in an object, and cost the programs at XDP and TC, which have
 * little stack, nothing of it. size, or the most of a variable value, is a constant.
 */
#define PKTMETA_RECEIVED(hook, context)                                                            \
	__weak __noinline long pktmeta_##hook##_received(context *ctx, __u32 tag, __u32 at)        \
	{                                                                                          \
		return pktmeta_received_find(pktmeta_##hook##_packet(ctx), tag, at);               \
	}                                                                                          \
                                                                                                   \
	/* Eight bytes of a value that was found, and zeros behind its end. */                     \
	__weak __noinline __u64 pktmeta_##hook##_eight(context *ctx, __u32 found, __u32 at)        \
	{                                                                                          \
		return pktmeta_received_eight(pktmeta_##hook##_packet(ctx), found, at);            \
	}                                                                                          \
                                                                                                   \
	static __noinline void pktmeta_##hook##_copy(context *ctx, __u32 found, __u8 *to,          \
						     __u32 size)                                   \
	{                                                                                          \
		__u64 eight = 0;                                                                   \
		__u32 at;                                                                          \
                                                                                                   \
		for (at = 0; at < size; at++, eight >>= 8) {                                       \
			if (at % 8 == 0)                                                           \
				eight = pktmeta_##hook##_eight(ctx, found, at);                    \
			to[at] = eight;                                                            \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static __always_inline long pktmeta_##hook##_get_received(                                 \
		context *ctx, const volatile struct pktmeta_binding *field, void *value,           \
		__u32 size, int variable)                                                          \
	{                                                                                          \
		__u8 tag = field->tag;                                                             \
		__u64 eight;                                                                       \
		long found;                                                                        \
                                                                                                   \
		if (!(tag & PKTMETA_TAG_TYPE))                                                     \
			return -PKTMETA_ENOENT;                                                    \
		found = pktmeta_##hook##_received(ctx, tag,                                        \
						  pktmeta_place_of(field, size, variable));        \
		if (found < 0)                                                                     \
			return found;                                                              \
		if (variable ? (__u8)found > size : (__u8)found != size)                           \
			return -PKTMETA_ENOENT;                                                    \
		if (variable)                                                                      \
			*(__u8 *)value = found;                                                    \
		if (size > 8) {                                                                    \
			pktmeta_##hook##_copy(ctx, found, value + variable, size);                 \
		} else if (size) {                                                                 \
			eight = pktmeta_##hook##_eight(ctx, found, 0);                             \
			__builtin_memcpy(value + variable, &eight, size);                          \
		}                                                                                  \
		return 0;                                                                          \
	}                                                                                          \
                                                                                                   \
	__weak __noinline int pktmeta_##hook##_has_received(context *ctx)                          \
	{                                                                                          \
		return pktmeta_find_record(pktmeta_##hook##_packet(ctx)).length != 0;              \
	}

PKTMETA_RECEIVED(skb, struct __sk_buff)
PKTMETA_RECEIVED(sk_reuseport, struct sk_reuseport_md)
PKTMETA_RECEIVED(sockops, struct bpf_sock_ops)
PKTMETA_RECEIVED(netfilter, struct bpf_nf_ctx)

/* A hook at which a packet's record can be read, and no more. */
#define PKTMETA_READ_ONLY(hook, context, why)                                                      \
	static __always_inline long pktmeta_##hook##_get(                                          \
		context *ctx, const volatile struct pktmeta_binding *field, void *value,           \
		__u32 size, int variable)                                                          \
	{                                                                                          \
		return pktmeta_##hook##_get_received(ctx, field, value, size, variable);           \
	}                                                                                          \
                                                                                                   \
	static __always_inline int pktmeta_##hook##_has_record(context *ctx)                       \
	{                                                                                          \
		return pktmeta_secret && pktmeta_##hook##_has_received(ctx);                       \
	}                                                                                          \
                                                                                                   \
	__attribute__((error(why))) long pktmeta_##hook##_set(                                     \
		context *ctx, const volatile struct pktmeta_binding *field, const void *value,     \
		__u32 size, int variable);                                                         \
	__attribute__((error(why))) long pktmeta_##hook##_delete(                                  \
		context *ctx, const volatile struct pktmeta_binding *field);                       \
	__attribute__((error(why))) long pktmeta_##hook##_compact(context *ctx)

PKTMETA_READ_ONLY(
	sk_reuseport, struct sk_reuseport_md,
	"pktmeta: a packet's record cannot be changed at sk_reuseport: do it at XDP or TC");
PKTMETA_READ_ONLY(sockops, struct bpf_sock_ops,
		  "pktmeta: a packet's record cannot be changed at sockops: do it at XDP or TC");
PKTMETA_READ_ONLY(netfilter, struct bpf_nf_ctx,
		  "pktmeta: a packet's record cannot be changed at netfilter: do it at XDP or TC");

#endif
