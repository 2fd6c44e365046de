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
 * A loader, or `pktmeta bind`, writes the tag that the field has on this host into the object.
 * Without the tag every call returns -ENOENT: the program cannot read another field by mistake.
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
#error "pktmeta: compile with -mcpu=v3 or later: the verifier refuses code for v1 and v2"
#endif

/*
 * The first struct is for linkers alone: its layout differs between sizes, so that they refuse to
 * merge two fields of one name but of different sizes.
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
 * Names a field of the registry whose values have the size of a C type: an integer, in host order,
 * or a struct with an array of __u8 for addresses and bytes.
 */
#define PKTMETA_FIELD(field, value_type)                                                           \
	typedef value_type pktmeta_value_of_##field;                                               \
	enum { pktmeta_is_variable_##field = 0 };                                                  \
	PKTMETA_BIND(field, sizeof(value_type), 0, fixed)

/* Names a field whose values have up to max bytes: struct pktmeta_value_of_FIELD in programs. */
#define PKTMETA_FIELD_BYTES(field, max)                                                            \
	typedef struct pktmeta_value_of_##field {                                                  \
		__u8 size;                                                                         \
		__u8 bytes[max];                                                                   \
	} pktmeta_value_of_##field;                                                                \
	enum { pktmeta_is_variable_##field = 1 };                                                  \
	PKTMETA_BIND(field, max, PKTMETA_BINDING_VARIABLE, variable)

/* Names a field without a value, which a record has or not. Set it to (struct pktmeta_flag){}. */
#define PKTMETA_FIELD_FLAG(field) PKTMETA_FIELD(field, struct pktmeta_flag)

struct pktmeta_flag {
};

/*
 * Copies the value that a field has in the record of the received packet to *value, at any hook.
 * Above TC it takes Linux 6.2 and CAP_PERFMON. Returns 0, or sets *value to zeros and returns
 *   -ENODATA  the packet has no record, or no seal proves that it is one
 *   -ENOENT   the record does not have the field, or the program was loaded without its tag
 */
#define pktmeta_get(ctx, field, value) PKTMETA_GET(PKTMETA_CALL(ctx, get), ctx, field, value)

/*
 * Sets a field to value, at XDP and TC. Returns 0, or
 *   -ENODATA  TC: the packet has no record, and only XDP can reserve room for one
 *   -EBADMSG  no seal proves that the metadata in front of the packet is a record; it is left alone
 *   -ENOSPC   the area is full; pktmeta_compact() may help
 *   -ENOENT   the program was loaded without the field's tag
 *   -EPERM    the field's schema does not let programs at this hook write it
 *   others    the kernel's, from bpf_xdp_adjust_meta (the driver cannot reserve room) or from
 *             bpf_dynptr_write (TC: the packet is shared, with tcpdump for example)
 * Load pointers into the packet again after it: the verifier takes the old ones for invalid.
 */
#define pktmeta_set(ctx, field, value) PKTMETA_SET(ctx, field, value, PKTMETA_UNIQUE)

/*
 * Takes a field out of the record. Returns 0, an error of pktmeta_set(), or -ENOENT if the record
 * does not have the field.
 */
#define pktmeta_delete(ctx, field) PKTMETA_CALL(ctx, delete)((ctx), &pktmeta_field_##field)

/* Closes the gaps that deleted fields left. Costs about a nanosecond a byte. */
#define pktmeta_compact(ctx) PKTMETA_CALL(ctx, compact)(ctx)

/* 1 if the packet has a record that its seal proves, else 0. */
#define pktmeta_has_record(ctx) PKTMETA_CALL(ctx, has_record)(ctx)

/* The rest is not for programs. */

/* The function for a context: pktmeta_HOOK_FUNCTION. */
#ifdef PKTMETA_NO_KFUNCS
#define PKTMETA_CALL(ctx, function)                                                                \
	_Generic((ctx),                                                                            \
		struct xdp_md *: pktmeta_xdp_##function,                                           \
		struct __sk_buff *: pktmeta_skb_##function)
#else
#define PKTMETA_CALL(ctx, function)                                                                \
	_Generic((ctx),                                                                            \
		struct xdp_md *: pktmeta_xdp_##function,                                           \
		struct __sk_buff *: pktmeta_skb_##function,                                        \
		struct sk_reuseport_md *: pktmeta_sk_reuseport_##function,                         \
		struct bpf_sock_ops *: pktmeta_sockops_##function,                                 \
		struct bpf_nf_ctx *: pktmeta_netfilter_##function)
#endif

/* Bytes of a field's values, at most, and whether these differ in size. Both are constants. */
#define PKTMETA_VALUE_SIZE(field) (sizeof(pktmeta_value_of_##field) - PKTMETA_IS_VARIABLE(field))
#define PKTMETA_IS_VARIABLE(field) pktmeta_is_variable_##field

/* A name that no other expansion has: macros may stand in arguments of each other. */
#define PKTMETA_UNIQUE PKTMETA_NUMBERED(__COUNTER__)
#define PKTMETA_NUMBERED(number) PKTMETA_JOINED(number)
#define PKTMETA_JOINED(number) pktmeta_unique_##number

/* Calls a get function of a hook, and zeroes the value if there is none. */
#define PKTMETA_GET(get, ctx, field, value)                                                        \
	PKTMETA_GET_TO(get, ctx, field, value, PKTMETA_UNIQUE, PKTMETA_UNIQUE)
#define PKTMETA_GET_TO(get, ctx, field, value, to, err)                                            \
	({                                                                                         \
		pktmeta_value_of_##field *to = (value);                                            \
		long err = get((ctx), &pktmeta_field_##field, to, PKTMETA_VALUE_SIZE(field),       \
			       PKTMETA_IS_VARIABLE(field));                                        \
                                                                                                   \
		if (err)                                                                           \
			__builtin_memset(to, 0, sizeof(*to));                                      \
		err;                                                                               \
	})

#define PKTMETA_SET(ctx, field, value, copy)                                                       \
	({                                                                                         \
		const pktmeta_value_of_##field copy = (value);                                     \
		PKTMETA_CALL(ctx, set)((ctx), &pktmeta_field_##field, &copy,                       \
				       PKTMETA_VALUE_SIZE(field), PKTMETA_IS_VARIABLE(field));     \
	})

/*
 * A packet pointer of a context, loaded by an instruction that the compiler cannot change: it would
 * merge or narrow loads, or compute the address first, and the verifier refuses that for contexts.
 */
#define PKTMETA_POINTER(ctx, member)                                                               \
	PKTMETA_LOAD(ctx, __builtin_offsetof(typeof(*(ctx)), member), PKTMETA_UNIQUE)
#define PKTMETA_LOAD(ctx, offset, pointer)                                                         \
	({                                                                                         \
		void *pointer;                                                                     \
                                                                                                   \
		asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(pointer) : "r"(ctx), "i"(offset));    \
		pointer;                                                                           \
	})

/* One for all files of an object. It has no area and no secret until the object is bound. */
__weak const volatile struct pktmeta_layout pktmeta_layout = {
	.version = PKTMETA_BINDING_VERSION,
};

/* Returns the bytes for the record in the area from record to end, or 0 if no seal proves one. */
static __always_inline __u32 pktmeta_sealed(const void *record, const void *end)
{
	return pktmeta_sealed_room(record, end, pktmeta_layout.secret);
}

/*
 * Returns 1 if a record has this program's version, area size and places. In other records the
 * bytes at a place may belong to the middle of a value. The header must lie in accessible memory.
 */
static __always_inline int pktmeta_has_places(const void *record)
{
	__u32 ours = *(const volatile __u32 *)pktmeta_layout.template;

	return !((*(const __u32 *)record ^ ours) & PKTMETA_PLACES_MASK);
}

/*
 * Returns 1 if the seal proves that a record of this program's layout is in the area from record to
 * end. Such a record ends behind its last place: a change that cuts it off clears the flag for
 * places. The same as pktmeta_sealed(), but without computing the seal.
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
	/*
	 * Header and seal in one test: a second branch costs more than the rest of this function.
	 */
	places = *(const __u32 *)record ^ *(const volatile __u32 *)pktmeta_layout.template;
	seal = *(const __u64 *)(behind - PKTMETA_SEAL_SIZE) ^ pktmeta_layout.seal;
	return !(places << PKTMETA_NO_PLACES_BITS | seal << PKTMETA_SEAL_SPARE_BITS);
}

/*
 * Returns the value at a field's place, or NULL if the record has no places, or has another TLV
 * there. until is the end of the place. With or_void a void of the field's shape is right too: a
 * writer can fill it. The verifier knows all but the packet's bytes: of a field without a place it
 * removes this code.
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

#ifndef PKTMETA_NO_KFUNCS /* reading above TC takes kfuncs */
#include <pktmeta/hooks/received.bpf.h>
#endif
#include <pktmeta/hooks/xdp.bpf.h>
#include <pktmeta/hooks/skb.bpf.h>

#endif
