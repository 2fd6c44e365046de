/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * The record codec in C: for BPF programs, on memory that the verifier knows as record .. end (the
 * metadata area, a map value), and for programs on the host. pktmeta_core::Record is the same in
 * Rust, and a test feeds both the same bytes and operations.
 */
#ifndef PKTMETA_RECORD_H
#define PKTMETA_RECORD_H

#include <pktmeta/abi.h>
#ifdef __bpf__
#include <bpf/bpf_helpers.h>
#else
#include <string.h>
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef barrier_var
#define barrier_var(var) __asm__ volatile("" : "+r"(var))
#endif
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pktmeta: machines with big-endian byte order are not supported yet"
#endif

/* Most TLVs that a record has room for, of no bytes each; the verifier wants a bound. */
#define PKTMETA_TLVS_MAX ((PKTMETA_RECORD_MAX - 4) / 2)

/* Values that differ from errno.h's in no way, for programs that include no libc header. */
#define PKTMETA_EPERM 1
#define PKTMETA_ENOENT 2
#define PKTMETA_EAGAIN 11
#define PKTMETA_EINVAL 22
#define PKTMETA_ENOSPC 28
#define PKTMETA_ENODATA 61
#define PKTMETA_EBADMSG 74
#define PKTMETA_ESTALE 116

/*
 * A record out of its carrier, behind whose length anything may stand. For the verifier there is
 * more than the longest one has: what a tag at its very end would have behind it.
 */
struct pktmeta_copy {
	__u8 bytes[PKTMETA_RECORD_MAX + 8];
} __attribute__((aligned(8)));

/*
 * The header of an area as one number, and the mask of its constant bits. The rest are the area's
 * size in byte 1, flags, and the record's length.
 */
#define PKTMETA_AREA_MAGIC (PKTMETA_MAGIC_0 | PKTMETA_RECORD_VERSION << 4 << 16)
#define PKTMETA_AREA_MAGIC_MASK 0x00f000ff

/*
 * The same of a record, whose byte 1 is constant. BPF programs have records of areas too: they look
 * at byte 1 where a record comes in, when the seal is checked or an application gives one, and not
 * where this is used.
 */
#ifdef __bpf__
#define PKTMETA_MAGIC PKTMETA_AREA_MAGIC
#define PKTMETA_MAGIC_MASK PKTMETA_AREA_MAGIC_MASK
#else
#define PKTMETA_MAGIC (PKTMETA_AREA_MAGIC | PKTMETA_MAGIC_1 << 8)
#define PKTMETA_MAGIC_MASK (PKTMETA_AREA_MAGIC_MASK | 0xff << 8)
#endif

/* What of the header two records with the same places have in common. */
#define PKTMETA_PLACES_MASK 0x00ffffff
#define PKTMETA_NO_PLACES_BITS 40 /* of 64, those that are not masked in */

/*
 * Copies size bytes, a constant. Nothing in a record is aligned, so the BPF target would copy it
 * byte by byte: the sizes that have an instruction of their own use it.
 */
static __always_inline void pktmeta_copy(void *to, const void *from, __u32 size)
{
#ifdef __bpf__
	switch (size) {
	case 1:
		*(__u8 *)to = *(const __u8 *)from;
		return;
	case 2:
		*(__u16 *)to = *(const __u16 *)from;
		return;
	case 4:
		*(__u32 *)to = *(const __u32 *)from;
		return;
	case 8:
		*(__u64 *)to = *(const __u64 *)from;
		return;
	case 16:
		((__u64 *)to)[0] = ((const __u64 *)from)[0];
		((__u64 *)to)[1] = ((const __u64 *)from)[1];
		return;
	}
#endif
	__builtin_memcpy(to, from, size);
}

/* Length that a header gives its record in a carrier of this capacity; 0 if it is no header. */
static __always_inline __u32 pktmeta_header_length(const struct pktmeta_header *header,
						   __u64 capacity)
{
	__u32 word;
	__u32 length;

	pktmeta_copy(&word, header, sizeof(word));
	length = word >> 24;
	if ((word & PKTMETA_MAGIC_MASK) != PKTMETA_MAGIC)
		return 0;
	if (length < sizeof(*header) || length > capacity)
		return 0;
	/* The compiler must not fold the next test into the last: the verifier learns from it. */
	barrier_var(length);
	if (length > PKTMETA_RECORD_MAX)
		return 0;
	return length;
}

/* Length of the record that starts at record; 0 if none does, or not a whole one. */
static __always_inline __u32 pktmeta_record_length(const void *record, const void *end)
{
	const struct pktmeta_header *header = record;
	__u32 length;

	if ((const void *)(header + 1) > end)
		return 0;
	length = pktmeta_header_length(header, PKTMETA_RECORD_MAX);
	return record + length > end ? 0 : length;
}

/* Bytes in front of a value: 1 if the tag says its size, else 2. */
static __always_inline __u32 pktmeta_tlv_header(__u8 tag)
{
	return tag >> PKTMETA_TAG_SIZE_SHIFT == PKTMETA_SIZE_BYTE ? 2 : 1;
}

/*
 * The same of fields whose values all have this size. A constant if size is one: of comparisons
 * that || joins, clang for BPF makes one that it cannot fold.
 */
static __always_inline __u32 pktmeta_fixed_header(__u32 size)
{
	switch (size) {
	case 2:
	case 4:
	case 8:
		return 1;
	}
	return 2;
}

/*
 * A byte of a record at an offset: one pointer from one bounded number, that the compiler may not
 * take apart and the verifier can follow.
 */
static __always_inline __u8 *pktmeta_at(const void *record, __u32 at)
{
	__u8 *byte;

	barrier_var(at);
	if (at > PKTMETA_RECORD_MAX)
		return (void *)0;
	byte = (__u8 *)record + at;
	barrier_var(byte);
	return byte;
}

/* Copies up to max bytes. What the compiler knows the verifier has to be shown again. */
static __always_inline long pktmeta_copy_some(void *to, const void *to_end, const void *from,
					      const void *from_end, __u32 size, __u32 max)
{
	__u32 i;

	for (i = 0; i < max && i < size; i++) {
		__u8 *to_byte = to + i;
		const __u8 *from_byte = from + i;

		barrier_var(to_byte);
		barrier_var(from_byte);
		if ((void *)(to_byte + 1) > to_end || (void *)(from_byte + 1) > from_end)
			return -PKTMETA_ENOSPC;
		*to_byte = *from_byte;
	}
	return 0;
}

/*
 * Offset of what follows the TLV at an offset, within a record of this length; 0 if that is torn.
 */
static __always_inline __u32 pktmeta_record_next(const void *record, const void *end, __u32 at,
						 __u32 length)
{
	const __u8 *tlv = pktmeta_at(record, at);
	__u32 next;

	if (!tlv || (const void *)(tlv + 2) > end)
		return 0;
	if (pktmeta_tlv_header(*tlv) == 2)
		next = at + 2 + tlv[1];
	else
		next = at + 1 + (1 << (*tlv >> PKTMETA_TAG_SIZE_SHIFT));
	return next <= length ? next : 0;
}

/* Hides from the verifier what it knows of a number, with the help of one that it does not know. */
#define pktmeta_forget(number, unknown)                                                            \
	({                                                                                         \
		number ^= unknown;                                                                 \
		barrier_var(number);                                                               \
		number ^= unknown;                                                                 \
		barrier_var(number);                                                               \
	})

/* What is no TLV's tag: who looks for it learns whether the record is whole. */
#define PKTMETA_NO_TAG 0x13f

/* Where no TLV is: found by who looked for one and met a torn one. More than any offset. */
#define PKTMETA_TORN 0xff

/* The same, found by who looked for one where no seal proves a record. */
#define PKTMETA_UNSEALED 0xfe

/*
 * Offset of the first TLV with this tag, at or behind from, where one must start; 0 if there is
 * none, PKTMETA_TORN if there is none before a TLV that runs past the record's end.
 *
 * A branch for each size is faster than to compute the next offset: the processor guesses it and
 * need not wait for the tag. And the verifier walks every branch of every turn, unless it has been
 * there knowing no more: so it must not know where the walk starts, nor count its turns.
 */
static __always_inline __u32 pktmeta_record_find(const void *record, const void *end, __u32 tag,
						 __u32 from)
{
	__u32 length = pktmeta_record_length(record, end);
	const void *behind = record + 1; /* of a tag at offset 0 */
	__u32 at = from;

	if (!length || !(tag & PKTMETA_TAG_TYPE))
		return 0;
	pktmeta_forget(at, length);
	barrier_var(behind);
	while (at < length) {
		const __u8 *size = behind + at;
		__u32 found;

		barrier_var(size);
		if ((const void *)size > end)
			return PKTMETA_TORN;
		found = size[-1];
		if (found == tag)
			break;
		if (found >= PKTMETA_SIZE_8 << PKTMETA_TAG_SIZE_SHIFT) {
			at += 1 + 8;
		} else if (found >= PKTMETA_SIZE_4 << PKTMETA_TAG_SIZE_SHIFT) {
			at += 1 + 4;
		} else if (found >= PKTMETA_SIZE_2 << PKTMETA_TAG_SIZE_SHIFT) {
			at += 1 + 2;
		} else {
			if ((const void *)(size + 1) > end)
				return PKTMETA_TORN;
			at += 2 + *size;
		}
		barrier_var(at); /* or the compiler makes one addition of them */
	}
	if (at == length)
		return 0;
	return pktmeta_record_next(record, end, at, length) ? at : PKTMETA_TORN;
}

/* 1 if a whole record starts at record: no TLV runs past its end. */
static __always_inline int pktmeta_record_check(const void *record, const void *end)
{
	return pktmeta_record_length(record, end) &&
	       !pktmeta_record_find(record, end, PKTMETA_NO_TAG, sizeof(struct pktmeta_header));
}

/* Why there is no TLV at what pktmeta_record_find() gave. */
static __always_inline long pktmeta_record_absent(const void *record, const void *end, __u32 at)
{
	if (at == PKTMETA_UNSEALED || !pktmeta_record_length(record, end))
		return -PKTMETA_ENODATA;
	return -PKTMETA_ENOENT;
}

/*
 * Copies the value of the TLV at an offset, which pktmeta_record_find() gave. 0, or
 *   -ENODATA  there is no record
 *   -ENOENT   it does not have the field, or with another size
 */
static __always_inline long pktmeta_record_get_at(const void *record, const void *end, __u32 at,
						  __u8 tag, void *value, __u32 size)
{
	const __u8 *tlv = pktmeta_at(record, at);

	if (!at || !tlv)
		return pktmeta_record_absent(record, end, at);
	if ((const void *)(tlv + pktmeta_tlv_header(tag) + size) > end)
		return -PKTMETA_ENOENT;
	if (pktmeta_tlv_header(tag) == 2 && tlv[1] != size)
		return -PKTMETA_ENOENT;
	pktmeta_copy(value, tlv + pktmeta_tlv_header(tag), size);
	return 0;
}

/* As pktmeta_record_get_at(), of up to max bytes: value is their size, and behind it they. */
static __always_inline long pktmeta_record_get_variable(const void *record, const void *end,
							__u32 at, void *value, __u32 max)
{
	const __u8 *tlv = pktmeta_at(record, at);
	__u8 size;

	if (!at || !tlv)
		return pktmeta_record_absent(record, end, at);
	if ((const void *)(tlv + 2) > end)
		return -PKTMETA_ENOENT;
	size = tlv[1];
	if (size > max)
		return -PKTMETA_ENOENT;
	*(__u8 *)value = size;
	return pktmeta_copy_some(value + 1, value + 1 + max, tlv + 2, end, size, max);
}

/* Zeroes the value of a TLV that is known to be whole. */
static __always_inline void pktmeta_zero_value(__u8 *tlv, const void *end)
{
	__u32 size, i;

	if ((const void *)(tlv + 2) > end)
		return;
	switch (*tlv >> PKTMETA_TAG_SIZE_SHIFT) {
	case PKTMETA_SIZE_2:
		if ((const void *)(tlv + 1 + 2) <= end)
			pktmeta_copy(tlv + 1, &(__u16){ 0 }, 2);
		return;
	case PKTMETA_SIZE_4:
		if ((const void *)(tlv + 1 + 4) <= end)
			pktmeta_copy(tlv + 1, &(__u32){ 0 }, 4);
		return;
	case PKTMETA_SIZE_8:
		if ((const void *)(tlv + 1 + 8) <= end)
			pktmeta_copy(tlv + 1, &(__u64){ 0 }, 8);
		return;
	}
	size = tlv[1];
	for (i = 0; i < PKTMETA_RECORD_MAX && i < size; i++) {
		__u8 *byte = tlv + 2 + i;

		barrier_var(byte);
		if ((const void *)(byte + 1) > end)
			return;
		*byte = 0;
	}
}

/* The record's fields no longer stand at the places that its header says they do. */
static __always_inline void pktmeta_record_forget_places(struct pktmeta_header *header)
{
	header->version = PKTMETA_RECORD_VERSION << 4;
}

/*
 * Deletes the TLV at an offset: it becomes a void, or if it is the last, the record ends before it,
 * and may then end before places: what is added there need not start where they do. The offset of
 * what follows, or 0 if nothing does.
 */
static __always_inline __u32 pktmeta_record_delete(void *record, const void *end, __u32 at)
{
	__u32 length = pktmeta_record_length(record, end);
	__u32 next = pktmeta_record_next(record, end, at, length);
	__u8 *tlv = pktmeta_at(record, at);

	if (!next || !tlv || (const void *)(tlv + 2) > end ||
	    record + sizeof(struct pktmeta_header) > end)
		return 0;
	pktmeta_zero_value(tlv, end);
	if (next == length) {
		pktmeta_record_forget_places(record);
		((struct pktmeta_header *)record)->length = at;
		if (pktmeta_tlv_header(*tlv) == 2)
			tlv[1] = 0;
		*tlv = 0;
	} else {
		*tlv &= ~PKTMETA_TAG_TYPE;
	}
	return next == length ? 0 : next;
}

/*
 * Where a TLV with this tag and a value of size bytes goes, if the first one there is at an offset,
 * as pktmeta_record_find() gave it: in its place if it has this size, which *grow is 0 for; else at
 * the end, if the record is whole (or a torn TLV would become so), once all with this tag are
 * deleted. The record may become as long as room. Or
 *   -EBADMSG  there is no record, or it is known not to be whole
 *   -ENOSPC   there is no room
 */
static __always_inline long pktmeta_record_room(const void *record, const void *end, __u32 room,
						__u32 at, __u8 tag, __u32 size, int *grow)
{
	__u32 length = pktmeta_record_length(record, end);
	__u32 next = length, to = length;

	*grow = 0;
	if (!length || at == PKTMETA_TORN || at == PKTMETA_UNSEALED)
		return -PKTMETA_EBADMSG;
	size += pktmeta_tlv_header(tag);
	if (at) {
		next = pktmeta_record_next(record, end, at, length);
		if (next == at + size)
			return at;
		if (next == length)
			to = at; /* it is the last, and makes room itself */
	}
	*grow = 1;
	return to + size > room ? -PKTMETA_ENOSPC : (long)to;
}

/* Makes a TLV at the end, where there is room: the offset of its value, to be written next. */
static __always_inline long pktmeta_record_append(void *record, const void *end, __u8 tag,
						  __u32 size)
{
	__u32 header = pktmeta_tlv_header(tag);
	__u32 length = pktmeta_record_length(record, end);
	__u8 *tlv = pktmeta_at(record, length);

	if (!tlv || (const void *)(tlv + 2) > end || record + sizeof(struct pktmeta_header) > end)
		return -PKTMETA_ENOSPC;
	*tlv = tag;
	if (header == 2)
		tlv[1] = size;
	((struct pktmeta_header *)record)->length = length + header + size;
	return length + header;
}

/*
 * Closes the voids of a record; what is behind its new end is zero. -EBADMSG: there is no record,
 * or not a whole one. One loop, a byte a turn, of which the verifier knows as little as of that in
 * pktmeta_record_find().
 */
static __always_inline long pktmeta_record_compact(void *record, void *end)
{
	__u32 length = pktmeta_record_length(record, end);
	__u32 from = sizeof(struct pktmeta_header), to = from;
	__u32 rest = 0; /* bytes of this TLV that are still to come */
	__u32 keep = 0; /* 1 if it is no void */

	if (!pktmeta_record_check(record, end))
		return -PKTMETA_EBADMSG;
	pktmeta_forget(from, length);
	pktmeta_forget(to, length);
	pktmeta_forget(rest, length);
	while (from < length && to < length) {
		__u8 *source = record + from, *sink = record + to;
		__u32 byte;

		barrier_var(source);
		barrier_var(sink);
		if ((void *)(source + 1) > end || (void *)(sink + 1) > end)
			break;
		byte = *source;
		if (!rest) {
			keep = ((byte & PKTMETA_TAG_TYPE) + PKTMETA_TAG_TYPE) >>
			       PKTMETA_TAG_SIZE_SHIFT;
			rest = 1 + (1 << (byte >> PKTMETA_TAG_SIZE_SHIFT));
			if (pktmeta_tlv_header(byte) == 2) {
				if ((void *)(source + 2) > end)
					break;
				rest = 2 + source[1];
			}
		}
		rest--;
		*source = 0;
		*sink = byte & -keep; /* what is behind to is zero already */
		to += keep;
		from++;
		barrier_var(from);
		barrier_var(to);
	}
	pktmeta_record_forget_places(record);
	((struct pktmeta_header *)record)->length = to;
	return 0;
}

#ifndef __bpf__
/* The rest is for programs on the host: one call for each operation on a record in memory. */

/* Deletes every TLV with this tag: 0, or -ENOENT if there is none. */
static inline long pktmeta_record_remove(void *record, const void *end, __u8 tag)
{
	__u32 at = pktmeta_record_find(record, end, tag, sizeof(struct pktmeta_header));
	long err = -PKTMETA_ENOENT;

	while (at && at != PKTMETA_TORN) {
		err = 0;
		at = pktmeta_record_delete(record, end, at);
		if (at)
			at = pktmeta_record_find(record, end, tag, at);
	}
	return err;
}

/*
 * Sets a field to size bytes. 0, or an error of pktmeta_record_room(), or -EINVAL: the tag stands
 * for values of another size.
 */
static inline long pktmeta_record_set(void *record, const void *end, __u8 tag, const void *value,
				      __u32 size)
{
	__u64 room = (const char *)end - (const char *)record;
	__u32 header = pktmeta_tlv_header(tag);
	__u32 at;
	int grow;
	long to;

	if (room > PKTMETA_RECORD_MAX)
		room = PKTMETA_RECORD_MAX;
	if (!(tag & PKTMETA_TAG_TYPE) || size > 0xff)
		return -PKTMETA_EINVAL;
	if (header == 1 && size != 1u << (tag >> PKTMETA_TAG_SIZE_SHIFT))
		return -PKTMETA_EINVAL;
	at = pktmeta_record_find(record, end, tag, sizeof(struct pktmeta_header));
	to = pktmeta_record_room(record, end, room, at, tag, size, &grow);
	if (to < 0)
		return to;
	if (grow) {
		if (!pktmeta_record_check(record, end))
			return -PKTMETA_EBADMSG;
		pktmeta_record_remove(record, end, tag);
		to = pktmeta_record_append(record, end, tag, size);
	} else {
		to += header;
	}
	if (size)
		memcpy((__u8 *)record + to, value, size);
	return 0;
}

/*
 * Sets every field of another record, in its order; of one that is there twice the first counts.
 * 0, or the error of the first field that could not be set: those before it are.
 */
static inline long pktmeta_record_merge(void *record, const void *end, const void *other,
					const void *other_end)
{
	__u32 length = pktmeta_record_length(other, other_end);
	const __u32 first = sizeof(struct pktmeta_header);
	__u32 at, next;
	long err = 0;

	if (!pktmeta_record_check(record, end) || !pktmeta_record_check(other, other_end))
		return -PKTMETA_EBADMSG;
	for (at = first; at < length && !err; at = next) {
		const __u8 *tlv = (const __u8 *)other + at;

		next = pktmeta_record_next(other, other_end, at, length);
		if (!(*tlv & PKTMETA_TAG_TYPE) ||
		    pktmeta_record_find(other, other_end, *tlv, first) != at)
			continue;
		tlv += pktmeta_tlv_header(*tlv);
		err = pktmeta_record_set(record, end, ((const __u8 *)other)[at], tlv,
					 (const __u8 *)other + next - tlv);
	}
	return err;
}
#endif /* !__bpf__ */

#endif
