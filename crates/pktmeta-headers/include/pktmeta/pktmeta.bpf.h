/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Read and write a packet's fields, the same way at every hook that has the packet.
 *
 *	PKTMETA_FIELD(tenant, __u32);
 *
 *	SEC("xdp") int label(struct xdp_md *ctx)
 *	{
 *		pktmeta_set(ctx, tenant, 7);
 *		return XDP_PASS;
 *	}
 *
 * A loader, or `pktmeta bind`, writes the field's tag on this host into the object. A program that
 * was loaded without that gets -ENOENT: it can read nobody else's field.
 */
#ifndef PKTMETA_BPF_H
#define PKTMETA_BPF_H

#ifndef __VMLINUX_H__
#include <linux/bpf.h>
#endif
#include <bpf/bpf_helpers.h>
#include <pktmeta/binding.h>
#include <pktmeta/seal.h>

#if defined(__BPF_CPU_VERSION__) && __BPF_CPU_VERSION__ < 3
#error "pktmeta: compile with -mcpu=v3 or later: the verifier refuses what clang makes for less"
#endif

/*
 * The struct without use is for linkers: where its end is differs between sizes, and they refuse to
 * make one field of two.
 */
#define PKTMETA_BIND(field, value_size, value_flags, values)                                       \
	_Static_assert(sizeof(#field) <= PKTMETA_NAME_SIZE, "a name has at most 27 bytes");        \
	__weak const volatile struct {                                                             \
		char values[value_size];                                                           \
		char end;                                                                          \
	} pktmeta_size_of_##field = {};                                                            \
	__weak const volatile struct pktmeta_binding pktmeta_field_##field = {                     \
		.magic = { 'P', 'M', 'f' },                                                        \
		.version = PKTMETA_BINDING_VERSION,                                                \
		.size = value_size,                                                                \
		.flags = value_flags,                                                              \
		.name = #field,                                                                    \
	}

/*
 * Names a field of the registry whose values have the size of a C type: an integer, or for an
 * address or bytes an array of __u8 in a struct. Values of integers are in host order here.
 */
#define PKTMETA_FIELD(field, value_type)                                                           \
	typedef value_type pktmeta_value_of_##field;                                               \
	enum { pktmeta_is_variable_##field = 0 };                                                  \
	PKTMETA_BIND(field, sizeof(value_type), 0, fixed)

/* Names a field whose values are up to max bytes: in programs struct pktmeta_value_of_FIELD. */
#define PKTMETA_FIELD_BYTES(field, max)                                                            \
	typedef struct pktmeta_value_of_##field {                                                  \
		__u8 size;                                                                         \
		__u8 bytes[max];                                                                   \
	} pktmeta_value_of_##field;                                                                \
	enum { pktmeta_is_variable_##field = 1 };                                                  \
	PKTMETA_BIND(field, max, PKTMETA_BINDING_VARIABLE, variable)

/* Names a field that has no value: it is there or not. Set it to (struct pktmeta_flag){}. */
#define PKTMETA_FIELD_FLAG(field) PKTMETA_FIELD(field, struct pktmeta_flag)

struct pktmeta_flag {
};

/*
 * Copies a field's value of the packet that was received to *value, at any hook. Above TC it takes
 * Linux 6.2 and CAP_PERFMON. 0, or with zeros in *value
 *   -ENODATA  the packet has no record, or what stands in its place does not prove itself
 *   -ENOENT   the record does not have the field, or the program was loaded without its tag
 */
#define pktmeta_get(ctx, field, value)                                                             \
	({                                                                                         \
		pktmeta_value_of_##field *__value = (value);                                       \
		long __absent = PKTMETA_CALL(ctx, get)((ctx), &pktmeta_field_##field, __value,     \
						       PKTMETA_SIZE(field));                       \
                                                                                                   \
		if (__absent)                                                                      \
			__builtin_memset(__value, 0, sizeof(*__value));                            \
		__absent;                                                                          \
	})

/*
 * Sets a field to value, at XDP and TC: 0, or
 *   -ENODATA  TC: the packet has no record, and only XDP can reserve room for one
 *   -EBADMSG  what stands in the record's place does not prove itself; it is left alone
 *   -ENOSPC   the area is full; pktmeta_compact() may help
 *   -ENOENT   the program was loaded without the field's tag
 *   -EPERM    the field's schema lets programs at this hook not write it
 *   others    the kernel's, from bpf_xdp_adjust_meta (the driver cannot reserve room) or from
 *             bpf_dynptr_write (TC: the packet is shared, with tcpdump for one)
 * Pointers into the packet must be loaded anew after it.
 */
#define pktmeta_set(ctx, field, value)                                                             \
	({                                                                                         \
		const pktmeta_value_of_##field __value = (value);                                  \
		PKTMETA_CALL(ctx, set)((ctx), &pktmeta_field_##field, &__value,                    \
				       PKTMETA_SIZE(field));                                       \
	})

/*
 * Takes a field out of the record: 0, or an error as of pktmeta_set(), or -ENOENT: it is not there.
 */
#define pktmeta_delete(ctx, field) PKTMETA_CALL(ctx, delete)((ctx), &pktmeta_field_##field)

/* Closes the gaps that deleted fields left. Costs about a nanosecond a byte. */
#define pktmeta_compact(ctx) PKTMETA_CALL(ctx, compact)(ctx)

/* 1 if the packet has a record, and that proves itself. */
#define pktmeta_has_record(ctx) PKTMETA_CALL(ctx, has_record)(ctx)

/* The rest is not for programs. Functions of a hook are pktmeta_HOOK_what. */
#ifdef PKTMETA_NO_KFUNCS
#define PKTMETA_CALL(ctx, what)                                                                    \
	_Generic((ctx), struct xdp_md *: pktmeta_xdp_##what, struct __sk_buff *: pktmeta_skb_##what)
#else
#define PKTMETA_CALL(ctx, what)                                                                    \
	_Generic((ctx),                                                                            \
		struct xdp_md *: pktmeta_xdp_##what,                                               \
		struct __sk_buff *: pktmeta_skb_##what,                                            \
		struct sk_reuseport_md *: pktmeta_sk_reuseport_##what,                             \
		struct bpf_sock_ops *: pktmeta_sockops_##what,                                     \
		struct bpf_nf_ctx *: pktmeta_netfilter_##what)
#endif

/* Bytes of a field's values, and the most if they differ. Both are constants for the compiler. */
#define PKTMETA_SIZE(field)                                                                        \
	sizeof(pktmeta_value_of_##field) - pktmeta_is_variable_##field, pktmeta_is_variable_##field

/*
 * A packet pointer out of a context. Compilers may merge or narrow loads, and compute addresses of
 * their own, which the verifier refuses for contexts; of assembly they know nothing.
 */
#define PKTMETA_POINTER(ctx, member)                                                               \
	({                                                                                         \
		void *__pointer;                                                                   \
                                                                                                   \
		asm volatile("%[pointer] = *(u32 *)(%[context] + %[at])"                           \
			     : [pointer] "=r"(__pointer)                                           \
			     : [context] "r"(ctx), [at] "i"(__builtin_offsetof(typeof(*(ctx)),     \
									       member)));          \
		__pointer;                                                                         \
	})

/* One layout in an object, whatever it is linked from. Until it is bound: no area, no secret. */
__weak const volatile struct pktmeta_layout pktmeta_layout = {
	.version = PKTMETA_BINDING_VERSION,
};

/* Bytes for the record in the area from record to end, if one proves itself there; else 0. */
static __always_inline __u32 pktmeta_sealed(const void *record, const void *end)
{
	return pktmeta_sealed_room(record, end, pktmeta_layout.secret);
}

/*
 * 1 if the header of a record, all of which is known to be there, is of our version, and its area
 * and its places are those of this program's layout. In other records what stands at a place may be
 * out of the middle of some value.
 */
static __always_inline int pktmeta_has_places(const void *record)
{
	__u32 ours = *(const volatile __u32 *)pktmeta_layout.template;

	return !((*(const __u32 *)record ^ ours) & PKTMETA_PLACES_MASK);
}

/*
 * 1 if a record of this program's layout proves itself in the area from record to end. A record
 * that has places ends behind them all: what takes the last one away takes away that it has places.
 * As pktmeta_sealed(), but nothing is computed.
 */
static __always_inline int pktmeta_sealed_here(const void *record, const void *end)
{
	__u32 area = pktmeta_layout.area;
	const void *behind = record + area;
	__u64 places, seal;

	if (area < PKTMETA_SEAL_SIZE || area > PKTMETA_RECORD_MAX || behind > end)
		return 0;
	barrier_var(behind);
	if (behind < end)
		return 0;
	/* Header and seal in one test: a branch costs more than all that both compute. */
	places = *(const __u32 *)record ^ *(const volatile __u32 *)pktmeta_layout.template;
	seal = *(const __u64 *)(behind - PKTMETA_SEAL_SIZE) ^ pktmeta_layout.seal;
	return !(places << PKTMETA_NO_PLACES_BITS | seal << PKTMETA_SEAL_SPARE_BITS);
}

/*
 * The value at the place of a field that ends there, if the record has places, and tag and size are
 * right there; for writers a void of its shape is right too. Everything but the bytes of the packet
 * is constant when the verifier looks at it: without a place nothing of this is left.
 */
static __always_inline __u8 *pktmeta_place(const void *record, const void *end, __u32 until,
					   __u8 tag, __u32 size, int or_void)
{
	__u8 *behind = (__u8 *)record + until, *tlv;

	if (!until || !pktmeta_sealed_here(record, end))
		return (void *)0;
	tlv = behind - size - pktmeta_fixed_header(size);
	if (*tlv != tag && !(or_void && *tlv == (tag & ~PKTMETA_TAG_TYPE)))
		return (void *)0;
	if (pktmeta_fixed_header(size) == 2 && tlv[1] != size)
		return (void *)0;
	return behind - size;
}

#ifndef PKTMETA_NO_KFUNCS /* above TC nothing is read without the kernel's own */
#include <pktmeta/hooks/received.bpf.h>
#endif
#include <pktmeta/hooks/xdp.bpf.h>
#include <pktmeta/hooks/skb.bpf.h>

#endif
