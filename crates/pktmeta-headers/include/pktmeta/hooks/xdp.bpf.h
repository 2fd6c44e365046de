/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/* Fields in XDP programs, which can read and write a packet's metadata as memory. */
#ifndef PKTMETA_XDP_BPF_H
#define PKTMETA_XDP_BPF_H

#include <pktmeta/pktmeta.bpf.h>

/*
 * The functions that take the verifier long are not static: it walks each once in an object, and
 * not once for each field.
 */
__weak __noinline __u32 pktmeta_xdp_find(struct xdp_md *ctx, __u32 tag, __u8 from)
{
	const void *record = PKTMETA_POINTER(ctx, data_meta), *end = PKTMETA_POINTER(ctx, data);

	if (!pktmeta_sealed(record, end))
		return PKTMETA_UNSEALED;
	return pktmeta_record_find(record, end, tag, from);
}

static __always_inline int pktmeta_xdp_has_record(struct xdp_md *ctx)
{
	return pktmeta_sealed(PKTMETA_POINTER(ctx, data_meta), PKTMETA_POINTER(ctx, data)) != 0;
}

/*
 * Reserves the area in front of a packet without metadata and puts a record without fields there.
 */
__weak __noinline long pktmeta_xdp_reserve(struct xdp_md *ctx)
{
	const volatile __u64 *template = (const volatile __u64 *)pktmeta_layout.template;
	__u32 area = pktmeta_layout.area;
	void *record, *end;
	__u32 at;
	long err;

	if (!area)
		return -PKTMETA_ENOENT;
	err = bpf_xdp_adjust_meta(ctx, -(int)area);
	if (err)
		return err;
	record = PKTMETA_POINTER(ctx, data_meta);
	end = PKTMETA_POINTER(ctx, data);
	if (area > PKTMETA_RECORD_MAX || record + area > end)
		return -PKTMETA_ENOSPC;
	/*
	 * Writes all of the area, and with it the seal: GRO compares all bytes, and the old ones
	 * can be of kernel memory. The verifier knows area: two instructions remain for 8 bytes.
	 */
#pragma unroll
	for (at = 0; at < PKTMETA_RECORD_MAX; at += sizeof(__u64))
		if (area > at)
			*(__u64 *)(record + at) = template[at / sizeof(__u64)];
	return 0;
}

/* Returns the bytes of metadata. Only privileged programs may subtract the two pointers. */
static __always_inline __u32 pktmeta_xdp_metadata(struct xdp_md *ctx)
{
	const void *from = PKTMETA_POINTER(ctx, data_meta), *end = PKTMETA_POINTER(ctx, data);
	__u32 size = 0, step;

#pragma unroll
	for (step = 128; step >= 4; step /= 2) {
		const void *behind = from + size + step;

		barrier_var(behind);
		if (behind <= end)
			size += step;
	}
	return size;
}

/*
 * Gives a packet a record without fields in place of foreign metadata, which no seal proves. For
 * the datapath's own program: no program behind it on this interface has a use for metadata that
 * came with a packet by XDP_REDIRECT.
 */
__weak __noinline long pktmeta_xdp_replace(struct xdp_md *ctx)
{
	long err;

	if (!pktmeta_layout.area)
		return -PKTMETA_ENOENT;
	err = bpf_xdp_adjust_meta(ctx, pktmeta_xdp_metadata(ctx));
	return err ?: pktmeta_xdp_reserve(ctx);
}

/*
 * Deletes the first field with a tag at or behind from. Returns the offset behind it, 1 if it was
 * the last in the record, or 0 if there is none.
 */
__weak __noinline __u32 pktmeta_xdp_delete_next(struct xdp_md *ctx, __u8 tag, __u8 from)
{
	void *record = PKTMETA_POINTER(ctx, data_meta), *end = PKTMETA_POINTER(ctx, data);
	__u32 at;

	if (!pktmeta_sealed(record, end))
		return 0;
	at = pktmeta_record_find(record, end, tag, from);
	if (!at || at == PKTMETA_TORN)
		return 0;
	return pktmeta_record_delete(record, end, at) ?: 1;
}

/* Deletes every field with a tag: of two, the second would come back. Returns 0, or -ENOENT. */
__weak __noinline long pktmeta_xdp_remove(struct xdp_md *ctx, __u8 tag)
{
	__u32 from = sizeof(struct pktmeta_header);
	long err = -PKTMETA_ENOENT;
	int i;

	for (i = 0; i < PKTMETA_TLVS_MAX && from > 1; i++) {
		from = pktmeta_xdp_delete_next(ctx, tag, from);
		if (!from)
			break;
		err = 0;
	}
	return err;
}

/*
 * Makes a TLV. Returns the offset to write its value at, or -errno. This function and the deletion
 * search for the field themselves: a call costs as much as walking over several fields.
 */
__weak __noinline long pktmeta_xdp_make(struct xdp_md *ctx, __u8 tag, __u8 size)
{
	void *record = PKTMETA_POINTER(ctx, data_meta), *end = PKTMETA_POINTER(ctx, data);
	__u32 room = pktmeta_sealed(record, end), at;
	int grow;
	long to;

	if (!room)
		return -PKTMETA_EBADMSG;
	at = pktmeta_record_find(record, end, tag, sizeof(struct pktmeta_header));
	to = pktmeta_record_room(record, end, room, at, tag, size, &grow);
	if (to < 0)
		return to;
	if (!grow)
		return to + pktmeta_tlv_header(tag);
	if (at) {
		if (pktmeta_xdp_find(ctx, PKTMETA_NO_TAG, sizeof(struct pktmeta_header)))
			return -PKTMETA_EBADMSG;
		pktmeta_xdp_remove(ctx, tag);
	}
	return pktmeta_record_append(PKTMETA_POINTER(ctx, data_meta), PKTMETA_POINTER(ctx, data),
				     tag, size);
}

__weak __noinline long pktmeta_xdp_compact(struct xdp_md *ctx)
{
	void *record = PKTMETA_POINTER(ctx, data_meta), *end = PKTMETA_POINTER(ctx, data);

	if (record >= end)
		return -PKTMETA_ENODATA;
	return pktmeta_sealed(record, end) ? pktmeta_record_compact(record, end) : -PKTMETA_EBADMSG;
}

static __always_inline long pktmeta_xdp_get(struct xdp_md *ctx,
					    const volatile struct pktmeta_binding *field,
					    void *value, __u32 size, int variable)
{
	const void *record = PKTMETA_POINTER(ctx, data_meta), *end = PKTMETA_POINTER(ctx, data);
	__u8 tag = field->tag;
	const __u8 *from = (void *)0;
	__u32 at;

	if (!(tag & PKTMETA_TAG_TYPE))
		return -PKTMETA_ENOENT;
	if (!variable)
		from = pktmeta_place(record, end, field->until, tag, size, 0);
	if (from) {
		pktmeta_copy(value, from, size);
		return 0;
	}
	at = pktmeta_xdp_find(ctx, tag, sizeof(struct pktmeta_header));
	record = PKTMETA_POINTER(ctx, data_meta);
	end = PKTMETA_POINTER(ctx, data);
	if (!variable)
		return pktmeta_record_get_at(record, end, at, tag, value, size);
	return pktmeta_record_get_variable(record, end, at, value, size);
}

static __always_inline long pktmeta_xdp_set(struct xdp_md *ctx,
					    const volatile struct pktmeta_binding *field,
					    const void *value, __u32 size, int variable)
{
	__u32 max = size;
	void *record, *end;
	__u8 tag = field->tag;
	__u8 *to = (void *)0;
	long at;

	if (!(tag & PKTMETA_TAG_TYPE))
		return -PKTMETA_ENOENT;
	if (!(field->flags & PKTMETA_BINDING_XDP))
		return -PKTMETA_EPERM;
	if (variable) {
		size = *(const __u8 *)value;
		value += 1;
		if (size > max)
			return -PKTMETA_EINVAL;
	}
	record = PKTMETA_POINTER(ctx, data_meta);
	end = PKTMETA_POINTER(ctx, data);
	if (record >= end) {
		at = pktmeta_xdp_reserve(ctx);
		if (at)
			return at;
		record = PKTMETA_POINTER(ctx, data_meta);
		end = PKTMETA_POINTER(ctx, data);
	}
	if (!variable)
		to = pktmeta_place(record, end, field->until, tag, size, 1);
	if (to) {
		*(to - pktmeta_fixed_header(size)) = tag;
		pktmeta_copy(to, value, size);
		return 0;
	}
	at = pktmeta_xdp_make(ctx, tag, size);
	if (at < 0)
		return at;
	to = pktmeta_at(PKTMETA_POINTER(ctx, data_meta), at);
	end = PKTMETA_POINTER(ctx, data);
	if (!to)
		return -PKTMETA_ENOSPC;
	if (variable)
		return pktmeta_copy_some(to, end, value, value + max, size, max);
	if ((void *)to + size > end)
		return -PKTMETA_ENOSPC;
	pktmeta_copy(to, value, size);
	return 0;
}

static __always_inline long pktmeta_xdp_delete(struct xdp_md *ctx,
					       const volatile struct pktmeta_binding *field)
{
	__u8 tag = field->tag;
	__u32 next;

	if (!(tag & PKTMETA_TAG_TYPE))
		return -PKTMETA_ENOENT;
	if (!(field->flags & PKTMETA_BINDING_XDP))
		return -PKTMETA_EPERM;
	next = pktmeta_xdp_delete_next(ctx, tag, sizeof(struct pktmeta_header));
	if (next > 1)
		pktmeta_xdp_remove(ctx, tag);
	return next ? 0 : -PKTMETA_ENOENT;
}

#endif
