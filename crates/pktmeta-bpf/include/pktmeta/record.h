/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * The record codec in C: for BPF programs, on memory that the verifier knows as record .. end (the
 * metadata area, a map value), and for programs on the host. pktmeta_core::Record is the same in
 * Rust, and a test feeds both the same bytes and operations.
 */
#ifndef PKTMETA_RECORD_H
#define PKTMETA_RECORD_H

#ifdef __bpf__
#include <bpf/bpf_helpers.h>
#else
#include <string.h>
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef barrier_var
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif
#endif
#include <pktmeta/abi.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pktmeta: machines with big-endian byte order are not supported yet"
#endif

/* Most TLVs that a record has room for, of no bytes each; the verifier wants a bound. */
#define PKTMETA_TLVS_MAX ((PKTMETA_RECORD_MAX - 4) / 2)

/* Values that differ from errno.h's in no way, for programs that include no libc header. */
#define PKTMETA_EPERM 1
#define PKTMETA_ENOENT 2
#define PKTMETA_EINVAL 22
#define PKTMETA_ENOSPC 28
#define PKTMETA_ENODATA 61
#define PKTMETA_EBADMSG 74

/* The header as one number, without flags and length; and what masks those out. */
#define PKTMETA_MAGIC                                                                              \
	(PKTMETA_MAGIC_0 | PKTMETA_MAGIC_1 << 8 | PKTMETA_RECORD_VERSION << 4 << 16)
#define PKTMETA_MAGIC_MASK 0x00f0ffff

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

/* The same of fields whose values all have this size. A constant if size is one. */
static __always_inline __u32 pktmeta_fixed_header(__u32 size)
{
	return size == 2 || size == 4 || size == 8 ? 1 : 2;
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

/* Offset of what follows the TLV at an offset, within a record of this length; 0 if that is torn. */
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

/*
 * Offset of the first TLV with this tag, at or behind from, where one must start; 0 if there is
 * none. What lies behind a TLV that runs past the record's end is not read.
 *
 * A branch for each size is faster than to compute the next offset: the processor guesses it and
 * need not wait for the tag. And the verifier walks every branch of every turn, unless it has been
 * there knowing no more: so it must not know where the walk starts, nor count its turns.
 */
static __always_inline __u32 pktmeta_record_find(const void *record, const void *end, __u8 tag,
						 __u32 from)
{
	__u32 length = pktmeta_record_length(record, end);
	const void *behind = record + 1; /* of a tag at offset 0 */
	__u32 at = from;

	if (!(tag & PKTMETA_TAG_TYPE))
		return 0;
	pktmeta_forget(at, length);
	barrier_var(behind);
	while (at < length) {
		const __u8 *size = behind + at;
		__u32 found;

		barrier_var(size);
		if ((const void *)size > end)
			return 0;
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
				return 0;
			at += 2 + *size;
		}
		barrier_var(at); /* or the compiler makes one addition of them */
	}
	return pktmeta_record_next(record, end, at, length) ? at : 0;
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
		return pktmeta_record_length(record, end) ? -PKTMETA_ENOENT : -PKTMETA_ENODATA;
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
		return pktmeta_record_length(record, end) ? -PKTMETA_ENOENT : -PKTMETA_ENODATA;
	if ((const void *)(tlv + 2) > end)
		return -PKTMETA_ENOENT;
	size = tlv[1];
	if (size > max)
		return -PKTMETA_ENOENT;
	*(__u8 *)value = size;
	return pktmeta_copy_some(value + 1, value + 1 + max, tlv + 2, end, size, max);
}

/*
 * Deletes the TLV at an offset: it becomes a void, or if it is the last, the record ends before it.
 * The offset of what follows, or 0 if nothing does.
 */
static __always_inline __u32 pktmeta_record_delete(void *record, const void *end, __u32 at)
{
	__u32 length = pktmeta_record_length(record, end);
	__u32 next = pktmeta_record_next(record, end, at, length);
	__u8 *tlv = pktmeta_at(record, at);
	__u32 kept = 0, i;

	if (!next || !tlv || (const void *)(tlv + 2) > end ||
	    record + sizeof(struct pktmeta_header) > end)
		return 0;
	if (next == length) {
		((struct pktmeta_header *)record)->length = at;
	} else {
		*tlv &= ~PKTMETA_TAG_TYPE;
		kept = pktmeta_tlv_header(*tlv);
	}
	for (i = kept; i < PKTMETA_RECORD_MAX && at + i < next; i++) {
		__u8 *byte = tlv + i;

		barrier_var(byte);
		if ((const void *)(byte + 1) > end)
			return 0;
		*byte = 0;
	}
	return next == length ? 0 : next;
}

/*
 * Where a TLV with this tag and a value of size bytes goes: in the place of the one that is there if
 * that has this size, which *grow is 0 for; else at the end, after which that one has to be deleted.
 * Or
 *   -EBADMSG  there is no record
 *   -ENOSPC   there is no room
 */
static __always_inline long pktmeta_record_room(const void *record, const void *end, __u32 at,
						__u8 tag, __u32 size, int *grow)
{
	__u32 length = pktmeta_record_length(record, end);
	__u32 next = length, to = length;

	*grow = 0;
	if (!length)
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
	barrier_var(size); /* whatever the compiler knows of it, the verifier has to be shown */
	if (size > PKTMETA_RECORD_MAX || to + size > PKTMETA_RECORD_MAX || record + to + size > end)
		return -PKTMETA_ENOSPC;
	return to;
}

/*
 * Makes a TLV for a value of size bytes, new or in place of the one at an offset, 0 for none: the
 * offset of the value, to be written next, or an error of pktmeta_record_room().
 */
static __always_inline long pktmeta_record_make(void *record, const void *end, __u32 at, __u8 tag,
						__u32 size)
{
	__u32 header = pktmeta_tlv_header(tag);
	__u8 *tlv;
	int grow;
	long to;

	to = pktmeta_record_room(record, end, at, tag, size, &grow);
	if (to < 0)
		return to;
	if (grow && at)
		pktmeta_record_delete(record, end, at);
	tlv = pktmeta_at(record, to);
	barrier_var(record);
	if (!tlv || (const void *)(tlv + 2) > end || record + sizeof(struct pktmeta_header) > end)
		return -PKTMETA_ENOSPC;
	*tlv = tag;
	if (header == 2)
		tlv[1] = size;
	if (grow)
		((struct pktmeta_header *)record)->length = to + header + size;
	return to + header;
}

/* Closes the voids of a record; what is behind its new end is zero. One loop, a byte a turn. */
static __always_inline long pktmeta_record_compact(void *record, void *end)
{
	__u32 length = pktmeta_record_length(record, end);
	__u32 from, to = sizeof(struct pktmeta_header);
	__u32 rest = 0; /* bytes of this TLV that are still to come */
	__u32 keep = 0; /* 1 if it is no void */

	if (!length)
		return -PKTMETA_EBADMSG;
	for (from = sizeof(struct pktmeta_header); from < PKTMETA_RECORD_MAX; from++) {
		__u8 *source = record + from, *sink;
		__u32 byte;

		if (from >= length || (void *)(source + 1) > end)
			break;
		byte = *source;
		if (!rest) {
			keep = !!(byte & PKTMETA_TAG_TYPE);
			rest = 1 + (1 << (byte >> PKTMETA_TAG_SIZE_SHIFT));
			if (pktmeta_tlv_header(byte) == 2) {
				if ((void *)(source + 2) > end)
					break;
				rest = 2 + source[1];
			}
		}
		rest--;
		*source = 0;
		sink = pktmeta_at(record, to);
		if (!sink || (void *)(sink + 1) > end)
			break;
		if (keep) {
			*sink = byte;
			to++;
		}
	}
	((struct pktmeta_header *)record)->length = to;
	return 0;
}

#endif
