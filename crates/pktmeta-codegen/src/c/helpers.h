/* Once, however many generated headers are included. */
#ifndef PKTMETA_SCHEMA_HELPERS
#define PKTMETA_SCHEMA_HELPERS

#ifdef __cplusplus
#define PKTMETA_STATIC_ASSERT static_assert
#else
#define PKTMETA_STATIC_ASSERT _Static_assert
#endif

#if !defined(PKTMETA_BPF_H) && !defined(__bpf__)
#include <errno.h>
#include <stddef.h>
#include <string.h>

/*
 * Finds the value of the field with a number and a size code: 1, 2 or 3 if all its values have 2, 4
 * or 8 bytes, else 0. Returns the value's size, or
 *   -ENODATA  the bytes are not a whole record, and nothing of them may be used
 *   -ENOENT   the record does not have the field
 */
static inline int pktmeta_schema_find(const void *record, size_t length, __u8 type, __u8 size_code,
				      const __u8 **value)
{
	const __u8 *bytes = (const __u8 *)record;
	int found = -ENOENT;
	size_t at = 4;

	if (length < 4 || bytes[0] != 'P' || bytes[1] != 'M' || bytes[2] >> 4 != 1)
		return -ENODATA;
	if (bytes[3] < 4 || bytes[3] > 216 || bytes[3] > length)
		return -ENODATA;
	length = bytes[3];
	/* To the end even if the field is found: one that is broken spoils them all. */
	while (at < length) {
		__u8 tag = bytes[at++];
		size_t size = (size_t)1 << (tag >> 6);

		if (tag >> 6 == 0) {
			if (at == length)
				return -ENODATA;
			size = bytes[at++];
		}
		if (size > length - at)
			return -ENODATA;
		if (found < 0 && type && type < 64 && tag == (type | size_code << 6)) {
			*value = bytes + at;
			found = (int)size;
		}
		at += size;
	}
	return found;
}

/* Integers are little-endian in a record and aligned to nothing. */
static inline __u64 pktmeta_schema_integer(const __u8 *bytes, int size)
{
	__u64 value = 0;

	while (size)
		value = value << 8 | bytes[--size];
	return value;
}
#endif

#endif
