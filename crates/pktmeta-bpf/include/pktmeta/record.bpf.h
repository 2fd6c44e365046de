/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * The record codec, on a record that lies in memory the verifier knows as record .. end: the
 * metadata area in front of a packet, or a map value.
 */
#ifndef PKTMETA_RECORD_BPF_H
#define PKTMETA_RECORD_BPF_H

#include <bpf/bpf_helpers.h>
#include <pktmeta/abi.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pktmeta: BPF programs for big-endian machines are not supported yet"
#endif

/* Most TLVs that a record has room for, of one byte each; the verifier wants a bound. */
#define PKTMETA_TLVS_MAX ((PKTMETA_RECORD_MAX - 4) / 3)

/* Values that differ from errno.h's in no way, for programs that include no libc header. */
#define PKTMETA_ENOENT 2
#define PKTMETA_EINVAL 22
#define PKTMETA_ENOSPC 28
#define PKTMETA_ENODATA 61
#define PKTMETA_EBADMSG 74

/* Length that a header gives its record in a carrier of this capacity; 0 if it is no header. */
static __always_inline __u32 pktmeta_header_length(const struct pktmeta_header *header,
						   __u64 capacity)
{
	__u32 length = header->length;

	if (header->magic[0] != PKTMETA_MAGIC_0 || header->magic[1] != PKTMETA_MAGIC_1 ||
	    header->version >> 4 != PKTMETA_RECORD_VERSION)
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

/* Offset of the TLV with this type in the record that starts at record; 0 if there is none. */
static __always_inline __u32 pktmeta_record_find(const void *record, const void *end, __u8 type)
{
	__u32 length = pktmeta_record_length(record, end);
	__u32 at = sizeof(struct pktmeta_header);
	int i;

	if (type == PKTMETA_TYPE_VOID)
		return 0;
	for (i = 0; i < PKTMETA_TLVS_MAX; i++) {
		const struct pktmeta_tlv *tlv;

		if (at + sizeof(*tlv) > length || at > PKTMETA_RECORD_MAX - sizeof(*tlv))
			return 0;
		/*
		 * The compiler knows that the next test holds and would leave it out; the verifier
		 * does not, and wants to see it.
		 */
		tlv = record + at;
		barrier_var(tlv);
		if ((const void *)(tlv + 1) > end)
			return 0;
		if (tlv->type == type)
			return at + sizeof(*tlv) + tlv->size > length ? 0 : at;
		at += sizeof(*tlv) + tlv->size;
	}
	return 0;
}

/*
 * Copies size bytes, a constant. TLV values are unaligned: the BPF target would copy them byte by
 * byte, so the sizes that have an instruction of their own use it.
 */
static __always_inline void pktmeta_copy(void *to, const void *from, __u32 size)
{
	switch (size) {
	case 1:
		*(__u8 *)to = *(const __u8 *)from;
		break;
	case 2:
		*(__u16 *)to = *(const __u16 *)from;
		break;
	case 4:
		*(__u32 *)to = *(const __u32 *)from;
		break;
	case 8:
		*(__u64 *)to = *(const __u64 *)from;
		break;
	default:
		__builtin_memcpy(to, from, size);
	}
}

#endif
