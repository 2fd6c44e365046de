/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Fields of received packets at the hooks above TC, where programs read the record in kernel memory
 * (socket.bpf.h). They cannot write it: a program that sets a field there does not compile.
 */
#include <pktmeta/pktmeta.bpf.h> /* it includes this header, before skb.bpf.h, which needs it */

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

#ifndef __VMLINUX_H__ /* linux/bpf.h does not have it, and the verifier wants its members */
struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
};
#endif

/*
 * How this object's programs reach the packet of a struct __sk_buff, the context of hooks at TC and
 * above it. The loader sets it by the sections of the programs. The verifier then walks one way
 * alone: it would refuse the others, at hooks for which they are not.
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

/*
 * Returns the offset of the first TLV with this tag in a record, or PKTMETA_RECORD_MAX if there is
 * none. The verifier knows nothing of the offset at the start of a turn. So it walks each branch of
 * a turn once, and not once for each sequence of branches before.
 */
static __always_inline __u32 pktmeta_peek_find(struct pktmeta_place record, __u32 unknown, __u8 tag)
{
	__u32 at = sizeof(struct pktmeta_header), i;

	at = pktmeta_forget(at, unknown);
	for (i = 0; i < PKTMETA_TLVS_MAX && at < record.length; i++) {
		__u32 found = pktmeta_peek(record.address + at) & 0xffff;

		if ((__u8)found == tag)
			return at;
		at += pktmeta_tlv_header(found) == 2 ?
			      2 + (found >> 8) :
			      1 + (1 << ((__u8)found >> PKTMETA_TAG_SIZE_SHIFT));
		at = pktmeta_forget(at, unknown);
	}
	return PKTMETA_RECORD_MAX;
}

/*
 * Finds the value of a packet's field. at is the offset of its place, or 0. Returns the value's
 * offset from skb->head, shifted by 8 bits, and in these its size. Or
 *   -ENODATA  the packet has no record that a seal proves
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

/*
 * Returns 8 bytes, from byte at on, of a value that pktmeta_received_find() found; 0 behind its
 * end.
 */
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

/* Returns the offset of the TLV at a field's place, or 0 if the field has no place. */
static __always_inline __u32 pktmeta_place_of(const volatile struct pktmeta_binding *field,
					      __u32 size, int variable)
{
	return variable || !field->until ? 0 : field->until - size - pktmeta_fixed_header(size);
}

/*
 * The functions that read a field at a hook: they find a value, then copy it in eights. The
 * verifier walks functions that are not static once in an object, and they have a stack of their
 * own, of which programs at XDP and TC have little left. size is a constant: a value's, at most.
 */
#define PKTMETA_RECEIVED(hook, context)                                                            \
	__weak __noinline long pktmeta_##hook##_received(context *ctx, __u32 tag, __u32 at)        \
	{                                                                                          \
		return pktmeta_received_find(pktmeta_##hook##_packet(ctx), tag, at);               \
	}                                                                                          \
                                                                                                   \
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

/* A hook at which programs can read a packet's record, and not change it. */
#define PKTMETA_READ_ONLY(hook, context)                                                           \
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
	PKTMETA_REFUSED(hook)                                                                      \
	long pktmeta_##hook##_set(context *ctx, const volatile struct pktmeta_binding *field,      \
				  const void *value, __u32 size, int variable);                    \
	PKTMETA_REFUSED(hook)                                                                      \
	long pktmeta_##hook##_delete(context *ctx, const volatile struct pktmeta_binding *field);  \
	PKTMETA_REFUSED(hook) long pktmeta_##hook##_compact(context *ctx);

/* The compiler refuses a program that calls such a function. */
#define PKTMETA_REFUSED(hook)                                                                      \
	__attribute__((error("pktmeta: a packet's record cannot be changed at " #hook              \
			     ": do it at XDP or TC")))

PKTMETA_READ_ONLY(sk_reuseport, struct sk_reuseport_md)
PKTMETA_READ_ONLY(sockops, struct bpf_sock_ops)
PKTMETA_READ_ONLY(netfilter, struct bpf_nf_ctx)

#endif
