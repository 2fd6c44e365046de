/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/* The functions of record.h under names that Rust can link to. */
#include <stddef.h>
#include <pktmeta/record.h>

int codec_check(const void *record, size_t capacity)
{
	return pktmeta_record_check(record, (const char *)record + capacity);
}

__u32 codec_length(const void *record, size_t capacity)
{
	return pktmeta_record_length(record, (const char *)record + capacity);
}

__u32 codec_find(const void *record, size_t capacity, __u8 tag)
{
	return pktmeta_record_find(record, (const char *)record + capacity, tag,
				   sizeof(struct pktmeta_header));
}

/* Value is 256 bytes: of a tag that does not say the size, that and the value. */
long codec_get(const void *record, size_t capacity, __u8 tag, void *value)
{
	const void *end = (const char *)record + capacity;
	__u32 at = pktmeta_record_find(record, end, tag, sizeof(struct pktmeta_header));

	if (pktmeta_tlv_header(tag) == 2)
		return pktmeta_record_get_variable(record, end, at, value, 255);
	return pktmeta_record_get_at(record, end, at, tag, value,
				     1 << (tag >> PKTMETA_TAG_SIZE_SHIFT));
}

/* Of a field whose values all have this size, 0 to 255. */
long codec_get_fixed(const void *record, size_t capacity, __u8 tag, void *value, __u32 size)
{
	const void *end = (const char *)record + capacity;
	__u32 at = pktmeta_record_find(record, end, tag, sizeof(struct pktmeta_header));

	return pktmeta_record_get_at(record, end, at, tag, value, size);
}

long codec_set(void *record, size_t capacity, __u8 tag, const void *value, size_t size)
{
	return pktmeta_record_set(record, (char *)record + capacity, tag, value, size);
}

long codec_remove(void *record, size_t capacity, __u8 tag)
{
	return pktmeta_record_remove(record, (char *)record + capacity, tag);
}

long codec_compact(void *record, size_t capacity)
{
	return pktmeta_record_compact(record, (char *)record + capacity);
}

long codec_merge(void *record, size_t capacity, const void *other, size_t other_capacity)
{
	return pktmeta_record_merge(record, (char *)record + capacity, other,
				    (const char *)other + other_capacity);
}
