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
		pktmeta_get_bytes((void *)(long)(ctx)->data_meta, (void *)(long)(ctx)->data,       \
				  pktmeta_field_##field.type, __value, sizeof(*__value));          \
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

/* 1 if a record stands in front of the packet. */
#define pktmeta_has_record(ctx)                                                                    \
	(pktmeta_record_length((void *)(long)(ctx)->data_meta, (void *)(long)(ctx)->data) != 0)

extern int bpf_dynptr_from_skb_meta(struct __sk_buff *skb, __u64 flags,
				    struct bpf_dynptr *ptr) __ksym __weak;

static __always_inline long pktmeta_get_bytes(const void *record, const void *end, __u8 type,
					      void *value, __u32 size)
{
	__u32 length = pktmeta_record_length(record, end);
	const struct pktmeta_tlv *tlv;
	__u32 at;

	if (!length)
		return -PKTMETA_ENODATA;
	if (type == PKTMETA_TYPE_VOID)
		return -PKTMETA_ENOENT;
	at = pktmeta_record_find(record, end, length, type);
	if (!at || at + sizeof(*tlv) + size > length)
		return -PKTMETA_ENOENT;
	tlv = record + at;
	barrier_var(tlv); /* see pktmeta_record_find() */
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

static __always_inline long pktmeta_xdp_set_bytes(struct xdp_md *ctx, __u8 type, const void *value,
						  __u32 size)
{
	struct pktmeta_header *header;
	struct pktmeta_tlv *tlv;
	void *record, *end;
	__u32 length, at;
	long err;

	if (type == PKTMETA_TYPE_VOID)
		return -PKTMETA_ENOENT;
	if (ctx->data_meta >= ctx->data) {
		err = pktmeta_xdp_reserve(ctx);
		if (err)
			return err;
	}
	record = (void *)(long)ctx->data_meta;
	end = (void *)(long)ctx->data;
	length = pktmeta_record_length(record, end);
	if (!length)
		return -PKTMETA_EBADMSG;
	at = pktmeta_record_find(record, end, length, type);
	tlv = record + (at ?: length);
	barrier_var(tlv); /* one pointer, tested and used: not the same sum twice */
	if ((void *)(tlv + 1) + size > end)
		return -PKTMETA_ENOSPC;
	if (!at) {
		header = record;
		if ((void *)(header + 1) > end)
			return -PKTMETA_EBADMSG;
		header->length = length + sizeof(*tlv) + size;
		tlv->type = type;
		tlv->size = size;
	} else if (tlv->size != size) {
		return -PKTMETA_EINVAL;
	}
	pktmeta_copy(tlv + 1, value, size);
	return 0;
}

/*
 * TC. Writes go through the dynptr where the kernel has it (6.18): a program that stores through
 * data_meta makes the kernel unclone shared packets before its first instruction, and their
 * metadata is gone (bpf_unclone_prologue). The verifier never sees the stores of a branch that it
 * knows is not taken.
 */
static __always_inline long pktmeta_skb_store(struct __sk_buff *skb, __u32 at, const void *from,
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
		void *to = (void *)(long)skb->data_meta + at;
		__u32 i;

		for (i = 0; i < size; i++) {
			if (to + i + 1 > (void *)(long)skb->data)
				return -PKTMETA_ENOSPC;
			((__u8 *)to)[i] = ((const __u8 *)from)[i];
		}
		return 0;
	}
}

static __always_inline long pktmeta_skb_set_bytes(struct __sk_buff *skb, __u8 type,
						  const void *value, __u32 size)
{
	const void *record = (void *)(long)skb->data_meta;
	const void *end = (void *)(long)skb->data;
	__u32 length = pktmeta_record_length(record, end);
	const struct pktmeta_tlv *tlv;
	struct {
		struct pktmeta_tlv tlv;
		__u8 value[PKTMETA_VALUE_MAX];
	} new;
	__u32 at;
	long err;

	if (!length)
		return record < end ? -PKTMETA_EBADMSG : -PKTMETA_ENODATA;
	if (type == PKTMETA_TYPE_VOID)
		return -PKTMETA_ENOENT;
	if (size > sizeof(new.value))
		return -PKTMETA_EINVAL;
	at = pktmeta_record_find(record, end, length, type);
	tlv = record + (at ?: length);
	barrier_var(tlv);
	if ((const void *)(tlv + 1) + size > end)
		return -PKTMETA_ENOSPC;
	if (at) {
		if (tlv->size != size)
			return -PKTMETA_EINVAL;
		return pktmeta_skb_store(skb, at + sizeof(*tlv), value, size);
	}
	new.tlv = (struct pktmeta_tlv){ .type = type, .size = size };
	__builtin_memcpy(new.value, value, size);
	err = pktmeta_skb_store(skb, length, &new, sizeof(new.tlv) + size);
	if (err)
		return err;
	length += sizeof(new.tlv) + size;
	return pktmeta_skb_store(skb, offsetof(struct pktmeta_header, length), &length, 1);
}

#endif
