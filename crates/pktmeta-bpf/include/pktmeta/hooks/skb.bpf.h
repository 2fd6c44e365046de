/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Fields in TC programs. They read through data_meta, and write through the dynptr where the kernel
 * has it (6.18): a program that stores through data_meta makes the kernel unclone shared packets
 * before its first instruction, and their metadata is gone (bpf_unclone_prologue). The verifier
 * never sees the stores of a branch that it knows is not taken.
 */
#ifndef PKTMETA_SKB_BPF_H
#define PKTMETA_SKB_BPF_H

extern int bpf_dynptr_from_skb_meta(struct __sk_buff *skb, __u64 flags,
				    struct bpf_dynptr *ptr) __ksym __weak;

__weak __noinline __u32 pktmeta_skb_find(struct __sk_buff *skb, __u8 tag, __u8 from)
{
	return pktmeta_record_find((void *)(long)skb->data_meta, (void *)(long)skb->data, tag,
				   from);
}

/* Writes size bytes at an offset of the record. max is 0 if size is a constant. */
static __always_inline long pktmeta_skb_store(struct __sk_buff *skb, __u32 at, const void *from,
					      __u32 size, __u32 max)
{
	if (bpf_ksym_exists(bpf_dynptr_from_skb_meta)) {
		struct bpf_dynptr area;
		long err;

		err = bpf_dynptr_from_skb_meta(skb, 0, &area);
		if (err)
			return err;
		return bpf_dynptr_write(&area, at, (void *)from, size, 0);
	} else {
		void *end = (void *)(long)skb->data;
		__u8 *to = pktmeta_at((void *)(long)skb->data_meta, at);

		if (!to)
			return -PKTMETA_ENOSPC;
		if (max)
			return pktmeta_copy_some(to, end, from, from + max, size, max);
		if ((void *)(to + size) > end)
			return -PKTMETA_ENOSPC;
		__builtin_memcpy(to, from, size);
		return 0;
	}
}

/* What a TLV of a registered field can be, at most. */
struct pktmeta_tlv {
	__u8 bytes[2 + PKTMETA_VALUE_MAX];
};

/* Deletes the field at an offset: what follows it, 0 if nothing does, or -errno. */
__weak __noinline long pktmeta_skb_delete_at(struct __sk_buff *skb, __u8 at)
{
	const void *record = (void *)(long)skb->data_meta, *end = (void *)(long)skb->data;
	__u32 length = pktmeta_record_length(record, end);
	__u32 next = pktmeta_record_next(record, end, at, length);
	__u32 size = next - at;
	const __u8 *tlv = pktmeta_at(record, at);
	struct pktmeta_tlv none = {};
	long err;

	if (!next || !tlv || (const void *)(tlv + 2) > end)
		return -PKTMETA_EBADMSG;
	barrier_var(size);
	if (size > sizeof(none.bytes))
		return -PKTMETA_EINVAL;
	if (next != length) {
		none.bytes[0] = *tlv & ~PKTMETA_TAG_TYPE;
		if (pktmeta_tlv_header(*tlv) == 2)
			none.bytes[1] = tlv[1];
	}
	err = pktmeta_skb_store(skb, at, none.bytes, size, sizeof(none.bytes));
	if (err)
		return err;
	if (next != length)
		return next;
	return pktmeta_skb_store(skb, offsetof(struct pktmeta_header, length), &at, 1, 0);
}

/* Makes room for a TLV, which is to be written at the offset that this is, or -errno. */
__weak __noinline long pktmeta_skb_make(struct __sk_buff *skb, __u8 tag, __u8 size)
{
	__u32 at = pktmeta_skb_find(skb, tag, sizeof(struct pktmeta_header));
	__u8 length;
	int grow;
	long to, err;

	to = pktmeta_record_room((void *)(long)skb->data_meta, (void *)(long)skb->data, at, tag,
				 size, &grow);
	if (to < 0 || !grow)
		return to;
	if (at) {
		err = pktmeta_skb_delete_at(skb, at);
		if (err < 0)
			return err;
	}
	length = to + pktmeta_tlv_header(tag) + size;
	err = pktmeta_skb_store(skb, offsetof(struct pktmeta_header, length), &length, 1, 0);
	return err ?: to;
}

__weak __noinline long pktmeta_skb_compact(struct __sk_buff *skb)
{
	const void *record = (void *)(long)skb->data_meta, *end = (void *)(long)skb->data;
	__u32 length = pktmeta_record_length(record, end);
	__u8 copy[PKTMETA_RECORD_MAX] = {};
	long err;

	if (!length)
		return -PKTMETA_ENODATA;
	err = pktmeta_copy_some(copy, copy + sizeof(copy), record, end, length, sizeof(copy));
	err = err ?: pktmeta_record_compact(copy, copy + sizeof(copy));
	barrier_var(length);
	if (length > sizeof(copy))
		return -PKTMETA_EBADMSG;
	return err ?: pktmeta_skb_store(skb, 0, copy, length, sizeof(copy));
}

static __always_inline long pktmeta_skb_get(struct __sk_buff *skb,
					    const volatile struct pktmeta_binding *field,
					    void *value, __u32 size, int variable)
{
	const void *record = (void *)(long)skb->data_meta, *end = (void *)(long)skb->data;
	__u8 tag = field->tag;
	const __u8 *tlv = (void *)0;
	__u32 at;

	if (!variable)
		tlv = pktmeta_place(record, end, tag, field->place, size, 0);
	if (tlv) {
		pktmeta_copy(value, tlv + pktmeta_fixed_header(size), size);
		return 0;
	}
	at = pktmeta_skb_find(skb, tag, sizeof(struct pktmeta_header));
	record = (void *)(long)skb->data_meta;
	end = (void *)(long)skb->data;
	if (!variable)
		return pktmeta_record_get_at(record, end, at, tag, value, size);
	return pktmeta_record_get_variable(record, end, at, value, size);
}

static __always_inline long pktmeta_skb_set(struct __sk_buff *skb,
					    const volatile struct pktmeta_binding *field,
					    const void *value, __u32 size, int variable)
{
	const void *record = (void *)(long)skb->data_meta, *end = (void *)(long)skb->data;
	__u32 header = variable ? 2 : pktmeta_fixed_header(size);
	__u32 max = variable ? size : 0;
	struct pktmeta_tlv new = {};
	__u8 tag = field->tag;
	long at;

	if (record >= end)
		return -PKTMETA_ENODATA;
	if (!(tag & PKTMETA_TAG_TYPE))
		return -PKTMETA_ENOENT;
	if (!(field->flags & PKTMETA_BINDING_TC))
		return -PKTMETA_EPERM;
	if (variable) {
		size = *(const __u8 *)value;
		value += 1;
		barrier_var(size);
		if (size > max)
			return -PKTMETA_EINVAL;
	}
	new.bytes[0] = tag;
	new.bytes[1] = size; /* in a TLV that has it */
	__builtin_memcpy(new.bytes + header, value, variable ? max : size);
	if (!variable && pktmeta_place(record, end, tag, field->place, size, 1))
		return pktmeta_skb_store(skb, field->place, new.bytes, header + size, 0);

	at = pktmeta_skb_make(skb, tag, size);
	if (at < 0)
		return at;
	return pktmeta_skb_store(skb, at, new.bytes, header + size, max ? sizeof(new.bytes) : 0);
}

static __always_inline long pktmeta_skb_delete(struct __sk_buff *skb,
					       const volatile struct pktmeta_binding *field)
{
	long at = sizeof(struct pktmeta_header);
	__u8 tag = field->tag;
	int found = 0, i;

	if (!(tag & PKTMETA_TAG_TYPE))
		return -PKTMETA_ENOENT;
	if (!(field->flags & PKTMETA_BINDING_TC))
		return -PKTMETA_EPERM;
	/* All: one that is there twice would come back. */
	for (i = 0; i < PKTMETA_TLVS_MAX && at > 0; i++) {
		at = pktmeta_skb_find(skb, tag, at);
		if (!at)
			break;
		found = 1;
		at = pktmeta_skb_delete_at(skb, at);
	}
	if (at < 0)
		return at;
	return found ? 0 : -PKTMETA_ENOENT;
}

#endif
