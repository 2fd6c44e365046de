/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Read and write a packet's fields in XDP and TC programs.
 *
 *	PKTMETA_FIELD(tenant, __u32);
 *
 *	SEC("xdp") int label(struct xdp_md *ctx)
 *	{
 *		pktmeta_set(ctx, tenant, 7);
 *		return XDP_PASS;
 *	}
 *
 * The loader writes the field's TLV type, its number in records of this host, into the object. A
 * program that was loaded without that gets -ENOENT: it can read nobody else's field.
 */
#ifndef PKTMETA_BPF_H
#define PKTMETA_BPF_H

#ifndef __VMLINUX_H__
#include <linux/bpf.h>
#endif
#include <bpf/bpf_helpers.h>
#include <pktmeta/record.bpf.h>

/* What a field is called here, and what the loader says of it. Lies in .rodata. */
struct pktmeta_binding {
	__u8 type; /* 0 until the loader has looked the name up */
	__u8 size; /* must be what the field is registered with */
};

/*
 * Names a field of the registry: an unsigned integer, or for an address or bytes an array of __u8
 * in a struct. Values of integers are in host order here.
 */
#define PKTMETA_FIELD(name, value_type)                                                            \
	typedef value_type pktmeta_value_of_##name;                                                \
	const volatile struct pktmeta_binding pktmeta_field_##name = {                             \
		.size = sizeof(value_type),                                                        \
	}

/* Bytes that a program reserves for the record in front of a packet; the loader sets it. */
__weak const volatile __u32 pktmeta_area = 64;

/*
 * Copies a field's value to *value: 0, or
 *   -ENODATA  the packet has no record, or bytes of somebody else's in its place
 *   -ENOENT   the record does not have the field, or the program was loaded without its number
 */
#define pktmeta_get(ctx, field, value)                                                             \
	({                                                                                         \
		pktmeta_value_of_##field *__value = (value);                                       \
		__u8 __type = pktmeta_field_##field.type;                                          \
		__u32 __at = _Generic((ctx),                                                       \
			struct xdp_md *: pktmeta_xdp_find,                                         \
			struct __sk_buff *: pktmeta_skb_find)((ctx), __type);                      \
		pktmeta_get_at((void *)(long)(ctx)->data_meta, (void *)(long)(ctx)->data, __at,    \
			       __value, sizeof(*__value));                                         \
	})

/*
 * Sets a field to value: 0, or
 *   -ENODATA  TC: the packet has no record, and only XDP can reserve room for one
 *   -EBADMSG  bytes of somebody else's stand in the record's place; they are left alone
 *   -ENOSPC   the area is full
 *   -ENOENT   the program was loaded without the field's number
 *   others    the kernel's, from bpf_xdp_adjust_meta (the driver cannot reserve room) or from
 *             bpf_dynptr_write (TC: the packet is shared, with tcpdump for one)
 * Pointers into the packet must be loaded anew after it.
 */
#define pktmeta_set(ctx, field, value)                                                             \
	({                                                                                         \
		const pktmeta_value_of_##field __value = (value);                                  \
		_Generic((ctx),                                                                    \
			struct xdp_md *: pktmeta_xdp_set_bytes,                                    \
			struct __sk_buff *: pktmeta_skb_set_bytes)(                                \
			(ctx), pktmeta_field_##field.type, &__value, sizeof(__value));             \
	})

/*
 * XDP: adds a field that the record does not have, in a fraction of the time of pktmeta_set(), which
 * looks for it first. Errors are the same. A second field of the same type is never read.
 */
#define pktmeta_add(ctx, field, value)                                                             \
	({                                                                                         \
		const pktmeta_value_of_##field __value = (value);                                  \
		pktmeta_xdp_add_bytes((ctx), pktmeta_field_##field.type, &__value,                 \
				      sizeof(__value));                                            \
	})

/* 1 if a record stands in front of the packet. */
#define pktmeta_has_record(ctx)                                                                    \
	(pktmeta_record_length((void *)(long)(ctx)->data_meta, (void *)(long)(ctx)->data) != 0)

extern int bpf_dynptr_from_skb_meta(struct __sk_buff *skb, __u64 flags,
				    struct bpf_dynptr *ptr) __ksym __weak;

/*
 * Where a field's TLV is in the record of a packet, its offset; 0 if it is not there. Functions of
 * their own and not static: the verifier walks each once in an object, not once for each field.
 */
__weak __noinline __u32 pktmeta_xdp_find(struct xdp_md *ctx, __u8 type)
{
	return pktmeta_record_find((void *)(long)ctx->data_meta, (void *)(long)ctx->data, type);
}

__weak __noinline __u32 pktmeta_skb_find(struct __sk_buff *skb, __u8 type)
{
	return pktmeta_record_find((void *)(long)skb->data_meta, (void *)(long)skb->data, type);
}

/*
 * The TLV at an offset: one pointer from one bounded number, that the compiler may not take apart
 * and the verifier can follow.
 */
static __always_inline struct pktmeta_tlv *pktmeta_tlv_at(void *record, __u32 at)
{
	struct pktmeta_tlv *tlv;

	barrier_var(at);
	if (at > PKTMETA_RECORD_MAX)
		return (void *)0;
	tlv = record + at;
	barrier_var(tlv);
	return tlv;
}

static __always_inline long pktmeta_get_at(const void *record, const void *end, __u32 at,
					   void *value, __u32 size)
{
	const struct pktmeta_tlv *tlv;

	tlv = pktmeta_tlv_at((void *)record, at);
	if (!at || !tlv)
		return pktmeta_record_length(record, end) ? -PKTMETA_ENOENT : -PKTMETA_ENODATA;
	if ((const void *)(tlv + 1) + size > end || tlv->size != size)
		return -PKTMETA_ENOENT;
	pktmeta_copy(value, tlv + 1, size);
	return 0;
}

/* Reserves the area in front of a packet and puts an empty record there. */
static __always_inline long pktmeta_xdp_reserve(struct xdp_md *ctx)
{
	struct pktmeta_header *header;
	void *area, *end;
	__u32 at;
	long err;

	err = bpf_xdp_adjust_meta(ctx, -(int)pktmeta_area);
	if (err)
		return err;
	area = (void *)(long)ctx->data_meta;
	end = (void *)(long)ctx->data;
	/* GRO compares the whole area, and what stood there is the kernel's. */
	for (at = 0; at < PKTMETA_RECORD_MAX; at += sizeof(__u32)) {
		if (area + at + sizeof(__u32) > end)
			break;
		*(__u32 *)(area + at) = 0;
	}
	header = area;
	if ((void *)(header + 1) > end)
		return -PKTMETA_ENOSPC;
	*header = (struct pktmeta_header){
		.magic = { PKTMETA_MAGIC_0, PKTMETA_MAGIC_1 },
		.version = PKTMETA_RECORD_VERSION << 4,
		.length = sizeof(*header),
	};
	return 0;
}

/*
 * Finds the field's place in a packet's record, made if it is not there, or without looking: the
 * TLV, or NULL and *err.
 * The place is as large as it says, but the verifier has to be shown that again.
 */
static __always_inline struct pktmeta_tlv *pktmeta_xdp_place(struct xdp_md *ctx, __u8 type,
							     __u32 size, int look, long *err)
{
	struct pktmeta_header *header;
	struct pktmeta_tlv *tlv = (void *)0;
	void *record, *end;
	__u32 length, at;

	*err = -PKTMETA_ENOENT;
	if (type == PKTMETA_TYPE_VOID)
		return tlv;
	if (ctx->data_meta >= ctx->data) {
		*err = pktmeta_xdp_reserve(ctx);
		if (*err)
			return tlv;
	}
	at = look ? pktmeta_xdp_find(ctx, type) : 0;
	record = (void *)(long)ctx->data_meta;
	end = (void *)(long)ctx->data;
	length = pktmeta_record_length(record, end);
	*err = -PKTMETA_EBADMSG;
	if (!length)
		return tlv;
	tlv = pktmeta_tlv_at((void *)record, at ?: length);
	if (!tlv)
		return tlv;
	*err = -PKTMETA_ENOSPC;
	if ((void *)(tlv + 1) > end)
		return (void *)0;
	barrier_var(tlv); /* both tests: one shows the TLV, the other the value, if size varies */
	if ((void *)(tlv + 1) + size > end)
		return (void *)0;
	if (!at) {
		header = record;
		header->length = length + sizeof(*tlv) + size;
		tlv->type = type;
		tlv->size = size;
	}
	*err = -PKTMETA_EINVAL;
	if (tlv->size != size)
		return (void *)0;
	*err = 0;
	return tlv;
}

static __always_inline long pktmeta_xdp_put_bytes(struct xdp_md *ctx, __u8 type, const void *value,
						  __u32 size, int look)
{
	struct pktmeta_tlv *tlv;
	long err;

	tlv = pktmeta_xdp_place(ctx, type, size, look, &err);
	if (!tlv)
		return err;
	if ((void *)(tlv + 1) + size > (void *)(long)ctx->data)
		return -PKTMETA_ENOSPC;
	pktmeta_copy(tlv + 1, value, size);
	return 0;
}

static __always_inline long pktmeta_xdp_set_bytes(struct xdp_md *ctx, __u8 type, const void *value,
						  __u32 size)
{
	return pktmeta_xdp_put_bytes(ctx, type, value, size, 1);
}

static __always_inline long pktmeta_xdp_add_bytes(struct xdp_md *ctx, __u8 type, const void *value,
						  __u32 size)
{
	return pktmeta_xdp_put_bytes(ctx, type, value, size, 0);
}

/*
 * TC. Writes go through the dynptr where the kernel has it (6.18): a program that stores through
 * data_meta makes the kernel unclone shared packets before its first instruction, and their
 * metadata is gone (bpf_unclone_prologue). The verifier never sees the stores of a branch that it
 * knows is not taken.
 */
static __always_inline long pktmeta_skb_store(struct __sk_buff *skb, const void *record,
					      const void *end, __u32 at, const void *from,
					      __u32 size)
{
	if (bpf_ksym_exists(bpf_dynptr_from_skb_meta)) {
		struct bpf_dynptr area;
		long err;

		err = bpf_dynptr_from_skb_meta(skb, 0, &area);
		if (err)
			return err;
		return bpf_dynptr_write(&area, at, (void *)from, size, 0);
	} else {
		__u8 *to = (void *)pktmeta_tlv_at((void *)record, at);

		if (!to || (const void *)(to + size) > end)
			return -PKTMETA_ENOSPC;
		__builtin_memcpy(to, from, size);
		return 0;
	}
}

static __always_inline long pktmeta_skb_set_bytes(struct __sk_buff *skb, __u8 type,
						  const void *value, __u32 size)
{
	__u32 at = pktmeta_skb_find(skb, type);
	const void *record = (void *)(long)skb->data_meta;
	const void *end = (void *)(long)skb->data;
	__u32 length = pktmeta_record_length(record, end);
	const struct pktmeta_tlv *tlv;
	struct {
		struct pktmeta_tlv tlv;
		__u8 value[PKTMETA_VALUE_MAX];
	} new;
	long err;

	if (!length)
		return record < end ? -PKTMETA_EBADMSG : -PKTMETA_ENODATA;
	if (type == PKTMETA_TYPE_VOID)
		return -PKTMETA_ENOENT;
	if (size > sizeof(new.value))
		return -PKTMETA_EINVAL;
	tlv = pktmeta_tlv_at((void *)record, at ?: length);
	if (!tlv || (const void *)(tlv + 1) + size > end)
		return -PKTMETA_ENOSPC;
	if (at) {
		if (tlv->size != size)
			return -PKTMETA_EINVAL;
		return pktmeta_skb_store(skb, record, end, at + sizeof(*tlv), value, size);
	}
	new.tlv = (struct pktmeta_tlv){ .type = type, .size = size };
	__builtin_memcpy(new.value, value, size);
	err = pktmeta_skb_store(skb, record, end, length, &new, sizeof(new.tlv) + size);
	if (err)
		return err;
	length += sizeof(new.tlv) + size;
	return pktmeta_skb_store(skb, record, end, offsetof(struct pktmeta_header, length), &length,
				 1);
}

#endif
