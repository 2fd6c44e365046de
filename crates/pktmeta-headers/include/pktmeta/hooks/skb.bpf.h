/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Fields in programs whose context is a struct __sk_buff. received.bpf.h reads fields above TC; the
 * rest of this file is for TC programs. They read through data_meta. They write through the dynptr,
 * if the kernel has it (6.18): for a program that stores through data_meta, the kernel unclones a
 * shared packet before the first instruction and drops its metadata (bpf_unclone_prologue). Both
 * ways are compiled; the verifier does not look at the branch that it knows is not taken.
 */
#ifndef PKTMETA_SKB_BPF_H
#define PKTMETA_SKB_BPF_H

#include <pktmeta/pktmeta.bpf.h>

extern int bpf_dynptr_from_skb_meta(struct __sk_buff *skb, __u64 flags,
				    struct bpf_dynptr *ptr) __ksym __weak;

/*
 * Whether to write through the dynptr. PKTMETA_NO_SKB_META makes kernels look as if they had none.
 */
#if defined(PKTMETA_NO_SKB_META) || defined(PKTMETA_NO_KFUNCS)
#define PKTMETA_SKB_META 0
#else
#define PKTMETA_SKB_META bpf_ksym_exists(bpf_dynptr_from_skb_meta)
#endif

#ifndef bpf_ksym_exists /* libbpf before 1.2 has none */
#define bpf_ksym_exists(symbol) (!!(symbol))
#endif

__weak __noinline __u32 pktmeta_skb_find(struct __sk_buff *skb, __u32 tag, __u8 from)
{
	const void *record = PKTMETA_POINTER(skb, data_meta), *end = PKTMETA_POINTER(skb, data);

	if (!pktmeta_sealed(record, end))
		return PKTMETA_UNSEALED;
	return pktmeta_record_find(record, end, tag, from);
}

static __always_inline int pktmeta_skb_has_record(struct __sk_buff *skb)
{
	if (!pktmeta_layout.secret)
		return 0;
#ifndef PKTMETA_NO_KFUNCS
	if (pktmeta_skb_access != PKTMETA_SKB_DIRECT)
		return pktmeta_skb_has_received(skb);
#endif
	return pktmeta_sealed(PKTMETA_POINTER(skb, data_meta), PKTMETA_POINTER(skb, data)) != 0;
}

/*
 * Writes size bytes at an offset of the record. max is 0 if size is a constant, else its maximum.
 */
static __always_inline long pktmeta_skb_store(struct __sk_buff *skb, __u32 at, const void *from,
					      __u32 size, __u32 max)
{
	if (PKTMETA_SKB_META) {
		struct bpf_dynptr area;
		long err;

		err = bpf_dynptr_from_skb_meta(skb, 0, &area);
		if (err)
			return err;
		return bpf_dynptr_write(&area, at, (void *)from, size, 0);
	} else {
		void *record = PKTMETA_POINTER(skb, data_meta), *end = PKTMETA_POINTER(skb, data);
		__u8 *to = pktmeta_at(record, at);

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

/* Overwrites deleted fields. Not on the stack, of which programs have little. */
static const __u8 pktmeta_zeros[PKTMETA_RECORD_MAX] = {};

/* Deletes the field at an offset. Returns the offset behind it, 0 if it was the last, or -errno. */
__weak __noinline long pktmeta_skb_delete_at(struct __sk_buff *skb, __u8 at)
{
	const void *record = PKTMETA_POINTER(skb, data_meta), *end = PKTMETA_POINTER(skb, data);
	__u32 length = pktmeta_record_length(record, end);
	__u32 next = pktmeta_record_next(record, end, at, length);
	const __u8 *tlv = pktmeta_at(record, at);
	struct pktmeta_header header = {};
	__u32 kept = 0, size;
	__u8 tag;
	long err;

	if (!next || !tlv || (const void *)(tlv + 2) > end)
		return -PKTMETA_EBADMSG;
	tag = *tlv & ~PKTMETA_TAG_TYPE;
	if (next != length)
		kept = pktmeta_tlv_header(tag);
	size = next - at - kept;
	barrier_var(size);
	if (size > sizeof(pktmeta_zeros))
		return -PKTMETA_EBADMSG;
	err = pktmeta_skb_store(skb, at + kept, pktmeta_zeros, size, sizeof(pktmeta_zeros));
	if (err)
		return err;
	if (next != length)
		return pktmeta_skb_store(skb, at, &tag, 1, 0) ?: next;
	header.length = at;
	pktmeta_record_forget_places(&header);
	return pktmeta_skb_store(skb, offsetof(struct pktmeta_header, version), &header.version, 2,
				 0);
}

/* Deletes every field with a tag: of two, the second would come back. Returns 0, or -errno. */
__weak __noinline long pktmeta_skb_remove(struct __sk_buff *skb, __u8 tag)
{
	long at = sizeof(struct pktmeta_header), err = -PKTMETA_ENOENT;
	int i;

	for (i = 0; i < PKTMETA_TLVS_MAX && at > 0; i++) {
		at = pktmeta_skb_find(skb, tag, at);
		if (!at || at == PKTMETA_TORN || at == PKTMETA_UNSEALED)
			break;
		at = pktmeta_skb_delete_at(skb, at);
		err = at < 0 ? at : 0;
	}
	return err;
}

/* Makes room for a TLV. Returns the offset to write it at, or -errno. */
__weak __noinline long pktmeta_skb_make(struct __sk_buff *skb, __u8 tag, __u8 size)
{
	__u32 at = pktmeta_skb_find(skb, tag, sizeof(struct pktmeta_header));
	const void *record = PKTMETA_POINTER(skb, data_meta), *end = PKTMETA_POINTER(skb, data);
	__u32 room = pktmeta_sealed(record, end);
	__u8 length;
	int grow;
	long to, err;

	to = pktmeta_record_room(record, end, room, at, tag, size, &grow);
	if (to < 0 || !grow)
		return to;
	if (at) {
		if (pktmeta_skb_find(skb, PKTMETA_NO_TAG, sizeof(struct pktmeta_header)))
			return -PKTMETA_EBADMSG;
		err = pktmeta_skb_remove(skb, tag);
		if (err)
			return err;
	}
	to = pktmeta_record_length(PKTMETA_POINTER(skb, data_meta), PKTMETA_POINTER(skb, data));
	length = to + pktmeta_tlv_header(tag) + size;
	err = pktmeta_skb_store(skb, offsetof(struct pktmeta_header, length), &length, 1, 0);
	return err ?: to;
}

/* A function of its own: inlined, the verifier would track every byte of the copy on the stack. */
__weak __noinline long pktmeta_compact_copy(struct pktmeta_copy *copy)
{
	return copy ? pktmeta_record_compact(copy, copy + 1) : -PKTMETA_EBADMSG;
}

__weak __noinline long pktmeta_skb_compact(struct __sk_buff *skb)
{
	const void *record = PKTMETA_POINTER(skb, data_meta), *end = PKTMETA_POINTER(skb, data);
	__u32 length = pktmeta_record_length(record, end);
	struct pktmeta_copy copy = {};
	long err;

	if (record >= end)
		return -PKTMETA_ENODATA;
	if (!pktmeta_sealed(record, end))
		return -PKTMETA_EBADMSG;
	if (!PKTMETA_SKB_META)
		return pktmeta_record_compact((void *)record, (void *)end);
	err = pktmeta_copy_some(&copy, &copy + 1, record, end, length, PKTMETA_RECORD_MAX);
	err = err ?: pktmeta_compact_copy(&copy);
	barrier_var(length);
	if (length > PKTMETA_RECORD_MAX)
		return -PKTMETA_EBADMSG;
	return err ?: pktmeta_skb_store(skb, 0, &copy, length, PKTMETA_RECORD_MAX);
}

static __always_inline long pktmeta_skb_get(struct __sk_buff *skb,
					    const volatile struct pktmeta_binding *field,
					    void *value, __u32 size, int variable)
{
	const __u8 *from = (void *)0;
	const void *record, *end;
	__u8 tag = field->tag;
	__u32 at;

	if (!(tag & PKTMETA_TAG_TYPE))
		return -PKTMETA_ENOENT;
#ifndef PKTMETA_NO_KFUNCS
	if (pktmeta_skb_access != PKTMETA_SKB_DIRECT)
		return pktmeta_skb_get_received(skb, field, value, size, variable);
#endif
	record = PKTMETA_POINTER(skb, data_meta);
	end = PKTMETA_POINTER(skb, data);
	if (!variable)
		from = pktmeta_place(record, end, field->until, tag, size, 0);
	if (from) {
		pktmeta_copy(value, from, size);
		return 0;
	}
	at = pktmeta_skb_find(skb, tag, sizeof(struct pktmeta_header));
	record = PKTMETA_POINTER(skb, data_meta);
	end = PKTMETA_POINTER(skb, data);
	if (!variable)
		return pktmeta_record_get_at(record, end, at, tag, value, size);
	return pktmeta_record_get_variable(record, end, at, value, size);
}

/* A TLV of a value whose size is a constant. */
struct pktmeta_tlv {
	__u8 bytes[2 + PKTMETA_VALUE_MAX];
};

static __always_inline long pktmeta_skb_set(struct __sk_buff *skb,
					    const volatile struct pktmeta_binding *field,
					    const void *value, __u32 size, int variable)
{
	const void *record = PKTMETA_POINTER(skb, data_meta), *end = PKTMETA_POINTER(skb, data);
	__u32 header = variable ? 2 : pktmeta_fixed_header(size);
	__u32 max = size;
	struct pktmeta_tlv new = {};
	__u8 tag = field->tag;
	long at, err;

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
	new.bytes[1] = size; /* overwritten below if the tag has the size */
	if (!variable)
		__builtin_memcpy(new.bytes + header, value, size);
	if (!variable && pktmeta_place(record, end, field->until, tag, size, 1))
		return pktmeta_skb_store(skb, field->until - size - header, new.bytes,
					 header + size, 0);

	at = pktmeta_skb_make(skb, tag, size);
	if (at < 0)
		return at;
	if (!variable)
		return pktmeta_skb_store(skb, at, new.bytes, header + size, 0);
	/* Two writes: one would need a copy of the whole value on the stack. */
	err = pktmeta_skb_store(skb, at, new.bytes, header, 0);
	return err ?: pktmeta_skb_store(skb, at + header, value, size, max);
}

static __always_inline long pktmeta_skb_delete(struct __sk_buff *skb,
					       const volatile struct pktmeta_binding *field)
{
	__u8 tag = field->tag;

	if (!(tag & PKTMETA_TAG_TYPE))
		return -PKTMETA_ENOENT;
	if (!(field->flags & PKTMETA_BINDING_TC))
		return -PKTMETA_EPERM;
	return pktmeta_skb_remove(skb, tag);
}

#endif
