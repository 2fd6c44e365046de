/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * The record codec in C. BPF programs use it on memory whose bounds, record and end, the verifier
 * knows: the metadata area, a map value. Programs on the host use it on any memory.
 * pktmeta_core::Record is the same codec in Rust; the fuzzer of the repository compares the two.
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

/* The most TLVs that fit a record, with empty values: the verifier wants loops to have a bound. */
#define PKTMETA_TLVS_MAX ((PKTMETA_RECORD_MAX - 4) / 2)

/* The numbers of errno.h, for programs that include no header of a libc. */
#define PKTMETA_EPERM 1
#define PKTMETA_ENOENT 2
#define PKTMETA_EAGAIN 11
#define PKTMETA_EINVAL 22
#define PKTMETA_ENOSPC 28
#define PKTMETA_ENODATA 61
#define PKTMETA_EBADMSG 74
#define PKTMETA_ESTALE 116

/*
 * A copy of a record. The bytes behind the record's length are undefined. The array is longer than
 * the longest record, because the codec reads bytes behind a tag, and the verifier believes that a
 * tag can be a record's last byte.
 */
struct pktmeta_copy {
	__u8 bytes[PKTMETA_RECORD_MAX + 8];
} __attribute__((aligned(8)));

/*
 * The header of a record in an area as a number, and the mask of the bits that are the same in all.
 * The other bits are the area's size (byte 1), the flags, and the record's length.
 */
#define PKTMETA_AREA_MAGIC (PKTMETA_MAGIC_0 | PKTMETA_RECORD_VERSION << 4 << 16)
#define PKTMETA_AREA_MAGIC_MASK 0x00f000ff

/*
 * The same of a record outside an area, whose byte 1 is constant. BPF programs use the codec for
 * records of both kinds, so it leaves byte 1 out there: pktmeta_sealed_room() checks it in an area,
 * and the datapath checks it in a record that an application gave.
 */
#ifdef __bpf__
#define PKTMETA_MAGIC PKTMETA_AREA_MAGIC
#define PKTMETA_MAGIC_MASK PKTMETA_AREA_MAGIC_MASK
#else
#define PKTMETA_MAGIC (PKTMETA_AREA_MAGIC | PKTMETA_MAGIC_1 << 8)
#define PKTMETA_MAGIC_MASK (PKTMETA_AREA_MAGIC_MASK | 0xff << 8)
#endif

/* The bits of the header in which two records with the same places are equal. */
#define PKTMETA_PLACES_MASK 0x00ffffff
#define PKTMETA_NO_PLACES_BITS 40 /* of a __u64, the bits that the mask leaves out */

/*
 * Copies size bytes, a constant. Values in a record are not aligned, so clang for BPF would copy
 * them byte by byte. The kernel permits unaligned access: one instruction copies 2, 4 or 8 bytes.
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

/* Returns the record's length, or 0 if this is no header or the record exceeds the capacity. */
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
	/*
	 * The compiler must not merge the next test with the last: it gives the verifier a bound.
	 */
	barrier_var(length);
	if (length > PKTMETA_RECORD_MAX)
		return 0;
	return length;
}

/* Returns the length of the record that starts at record, or 0 if there is none before end. */
static __always_inline __u32 pktmeta_record_length(const void *record, const void *end)
{
	const struct pktmeta_header *header = record;
	__u32 length;

	if ((const void *)(header + 1) > end)
		return 0;
	length = pktmeta_header_length(header, PKTMETA_RECORD_MAX);
	return record + length > end ? 0 : length;
}

/* Returns the bytes in front of a value: 1 if the tag has the value's size, else 2. */
static __always_inline __u32 pktmeta_tlv_header(__u8 tag)
{
	return tag >> PKTMETA_TAG_SIZE_SHIFT == PKTMETA_SIZE_BYTE ? 2 : 1;
}

/*
 * The same for a field whose values all have this size. A switch, because clang for BPF does not
 * fold comparisons joined by || to a constant if size is one.
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
 * Returns the byte at an offset of a record, or NULL. The barriers make the compiler test the
 * offset and add it to the pointer in one place each, which the verifier can follow.
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

/*
 * Copies size bytes, max at most. The verifier needs the tests that the compiler could leave out.
 */
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
 * Returns the offset behind the TLV at an offset of a record of this length, or 0 if the TLV is
 * torn: it runs past the record's end.
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

/*
 * Returns the number, of which the verifier then knows nothing, as it knows nothing of the other
 * one, unknown.
 */
static __always_inline __u32 pktmeta_forget(__u32 number, __u32 unknown)
{
	number ^= unknown;
	barrier_var(number);
	number ^= unknown;
	barrier_var(number);
	return number;
}

/* The tag of no TLV: a search for it walks the whole record, and so validates it. */
#define PKTMETA_NO_TAG 0x13f

/* Returned by a search that met a torn TLV before the tag. More than any offset. */
#define PKTMETA_TORN 0xff

/* Returned by a search in metadata that no seal proves to be a record. */
#define PKTMETA_UNSEALED 0xfe

/*
 * Returns the offset of the first TLV with this tag at or behind from, where a TLV must start; 0 if
 * there is none; or PKTMETA_TORN if a TLV before it is torn.
 *
 * A branch for each size is faster than an addition of the size: the processor predicts the branch
 * and does not wait for the tag. The verifier walks all branches of a turn again unless it knew as
 * little in an earlier turn. So it must not know the offset at the start, and no counter bounds the
 * loop.
 */
static __always_inline __u32 pktmeta_record_find(const void *record, const void *end, __u32 tag,
						 __u32 from)
{
	__u32 length = pktmeta_record_length(record, end);
	const void *behind = record + 1; /* of a tag at offset 0 */
	__u32 at = from;

	if (!length || !(tag & PKTMETA_TAG_TYPE))
		return 0;
	at = pktmeta_forget(at, length);
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
		barrier_var(at); /* or the compiler merges the four additions */
	}
	if (at == length)
		return 0;
	return pktmeta_record_next(record, end, at, length) ? at : PKTMETA_TORN;
}

/* Returns 1 if a whole record starts at record: none of its TLVs is torn. */
static __always_inline int pktmeta_record_check(const void *record, const void *end)
{
	return pktmeta_record_length(record, end) &&
	       !pktmeta_record_find(record, end, PKTMETA_NO_TAG, sizeof(struct pktmeta_header));
}

/* Returns the error for an offset that stands for no TLV, as pktmeta_record_find() returned it. */
static __always_inline long pktmeta_record_absent(const void *record, const void *end, __u32 at)
{
	if (at == PKTMETA_UNSEALED || !pktmeta_record_length(record, end))
		return -PKTMETA_ENODATA;
	return -PKTMETA_ENOENT;
}

/*
 * Copies the value of the TLV at an offset that pktmeta_record_find() returned. Returns 0, or
 *   -ENODATA  there is no record
 *   -ENOENT   the record does not have the field, or has it with another size
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

/*
 * As pktmeta_record_get_at(), for a value of up to max bytes: its size goes to the first byte of
 * value, its bytes go behind that.
 */
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

/* Zeroes the value of a whole TLV. */
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

/* Clears the flags of a header which say that fields stand at their places. */
static __always_inline void pktmeta_record_forget_places(struct pktmeta_header *header)
{
	header->version = PKTMETA_RECORD_VERSION << 4;
}

/*
 * Deletes the TLV at an offset. It becomes a void. If it is the last one, the record ends before it
 * instead and loses its places: fields that are added later may start elsewhere. Returns the offset
 * of the next TLV, or 0 if there is none.
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
 * Returns the offset for a TLV with this tag and a value of size bytes. The record may grow to room
 * bytes. at is the offset of the first TLV with this tag, as pktmeta_record_find() returned it.
 * If that TLV has the same size, *grow is 0, and the new value replaces the old one. Else *grow is
 * 1, and the caller appends the TLV after deleting all TLVs with this tag. It must first check that
 * the record is whole: an appended TLV would complete a torn one. Or returns
 *   -EBADMSG  there is no record, or the search met a torn TLV
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
			to = at; /* the last one makes room for the new one */
	}
	*grow = 1;
	return to + size > room ? -PKTMETA_ENOSPC : (long)to;
}

/* Appends a TLV, for which there is room. Returns the offset of its value, still to be written. */
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
 * Removes the voids of a record, and zeroes the bytes behind its new end. Returns 0, or -EBADMSG if
 * there is no whole record. The loop moves one byte a turn; as in pktmeta_record_find(), the
 * verifier must not know the offsets.
 */
static __always_inline long pktmeta_record_compact(void *record, void *end)
{
	__u32 length = pktmeta_record_length(record, end);
	__u32 from = sizeof(struct pktmeta_header), to = from;
	__u32 rest = 0; /* bytes of the current TLV that are not moved yet */
	__u32 keep = 0; /* 1 if the current TLV is no void */

	if (!pktmeta_record_check(record, end))
		return -PKTMETA_EBADMSG;
	from = pktmeta_forget(from, length);
	to = pktmeta_forget(to, length);
	rest = pktmeta_forget(rest, length);
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
		*sink = byte & -keep; /* for a void, 0 over a byte that is 0 */
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
/* The rest is for programs on the host: a function for each operation on a record in memory. */

/* Deletes every TLV with this tag. Returns 0, or -ENOENT if there is none. */
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
 * Sets a field to size bytes. Returns 0, an error of pktmeta_record_room(), or -EINVAL if values
 * with this tag have another size.
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
 * Sets every field of another record, in that record's order. If a field is there twice, the first
 * value counts. Returns 0, or the error of the first field that could not be set: all fields before
 * that one are set.
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
