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
#include <sys/socket.h>

/* Numbers of docs/abi.md, under names that no other header has. */
/* CONSTANTS */

/*
 * The number that this host gave to a field, asked for on any socket. Or
 *   -ENOENT       the host has no field of that name and type
 *   -ENOPROTOOPT  no datapath delivers to the sockets of this cgroup; an IPv4 socket says
 *   -EOPNOTSUPP   for that
 */
static inline int pktmeta_schema_number(int fd, const char *name, __u8 kind, __u8 size)
{
	struct {
		char name[PKTMETA_SCHEMA_NAME_SIZE], owner[PKTMETA_SCHEMA_NAME_SIZE];
		__u8 type, kind, size, place;
		__u32 policy;
	} info;
	int type;

	for (type = 1; type <= PKTMETA_SCHEMA_TAG_TYPE; type = info.type + 1) {
		socklen_t length = sizeof(info);

		/* That field or the next. */
		if (getsockopt(fd, PKTMETA_SCHEMA_SOL, PKTMETA_SCHEMA_FIELD_INFO + type, &info,
			       &length))
			return errno == ENODATA ? -ENOENT : -errno;
		if (!strncmp(info.name, name, sizeof(info.name)))
			return info.kind == kind && info.size == size ? info.type : -ENOENT;
	}
	return -ENOENT;
}

/* Who told numbers. To be zeroed before it is first used. */
struct pktmeta_schema_host {
	__u32 instance;
	__u64 schema;
};

/*
 * Whether the last answer on a socket came from who told the numbers. Another datapath (`pktmeta
 * down`, `up`) has numbers of its own: ask after each call that uses some. 1, or 0: it did not, and
 * host is who answers now; ask for the numbers, and do the call again. Or a negative errno.
 */
static inline int pktmeta_schema_same(int fd, struct pktmeta_schema_host *host)
{
	struct {
		__u32 version, instance, slots, features;
		__u64 cgroup, schema;
	} info;
	socklen_t length = sizeof(info);
	int same;

	if (getsockopt(fd, PKTMETA_SCHEMA_SOL, PKTMETA_SCHEMA_INFO, &info, &length))
		return -errno;
	same = info.instance == host->instance && info.schema == host->schema;
	host->instance = info.instance;
	host->schema = info.schema;
	return same;
}

/* Length of the record at the start of so many bytes; 0 if none is there. */
static inline size_t pktmeta_schema_length(const __u8 *bytes, size_t length)
{
	if (length < PKTMETA_SCHEMA_HEADER || bytes[0] != PKTMETA_SCHEMA_MAGIC_0 ||
	    bytes[1] != PKTMETA_SCHEMA_MAGIC_1 || bytes[2] >> 4 != PKTMETA_SCHEMA_RECORD_VERSION)
		return 0;
	if (bytes[3] < PKTMETA_SCHEMA_HEADER || bytes[3] > PKTMETA_SCHEMA_RECORD_MAX ||
	    bytes[3] > length)
		return 0;
	return bytes[3];
}

/*
 * What follows the field that starts at an offset of a record of this length, and where its value
 * starts; 0 if it runs past the end.
 */
static inline size_t pktmeta_schema_next(const __u8 *bytes, size_t length, size_t at, size_t *value)
{
	__u8 tag = bytes[at++];
	size_t size = (size_t)1 << (tag >> 6);

	if (tag >> 6 == 0) {
		if (at == length)
			return 0;
		size = bytes[at++];
	}
	*value = at;
	return size > length - at ? 0 : at + size;
}

/*
 * Finds the value of the first field with this number and size code: 1, 2 or 3 for fields whose
 * values all have 2, 4 or 8 bytes, 0 for others. Returns the value's size, or
 *   -ENODATA  the bytes are not a whole record, and nothing of them may be used
 *   -ENOENT   the record does not have the field
 */
static inline int pktmeta_schema_find(const void *record, size_t length, __u8 type, __u8 size_code,
				      const __u8 **value)
{
	const __u8 *bytes = (const __u8 *)record;
	size_t at = PKTMETA_SCHEMA_HEADER, next, start = 0;
	int found = -ENOENT;

	length = pktmeta_schema_length(bytes, length);
	if (!length)
		return -ENODATA;
	/* To the end even if the field is found: one that is broken spoils them all. */
	for (; at < length; at = next) {
		next = pktmeta_schema_next(bytes, length, at, &start);
		if (!next)
			return -ENODATA;
		if (found < 0 && type && type <= PKTMETA_SCHEMA_TAG_TYPE &&
		    bytes[at] == (type | size_code << 6)) {
			*value = bytes + start;
			found = (int)(next - start);
		}
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

static inline int pktmeta_schema_store(__u8 *bytes, __u64 value, int size)
{
	int i;

	for (i = 0; i < size; i++, value >>= 8)
		bytes[i] = (__u8)value;
	return size;
}

/* Makes a record without fields of PKTMETA_SCHEMA_RECORD_MAX bytes. */
static inline void pktmeta_schema_begin(void *record)
{
	__u8 *bytes = (__u8 *)record;

	bytes[0] = PKTMETA_SCHEMA_MAGIC_0;
	bytes[1] = PKTMETA_SCHEMA_MAGIC_1;
	bytes[2] = PKTMETA_SCHEMA_RECORD_VERSION << 4;
	bytes[3] = PKTMETA_SCHEMA_HEADER;
}

/*
 * Sets a field of a record that has room for PKTMETA_SCHEMA_RECORD_MAX bytes. Of one that is there
 * twice all go: the other would count.
 */
static inline int pktmeta_schema_put(void *record, __u8 type, __u8 size_code, const __u8 *value,
				     size_t size)
{
	__u8 *bytes = (__u8 *)record, tag = (__u8)(type | size_code << 6);
	size_t header = size_code ? 1 : 2, kept = PKTMETA_SCHEMA_HEADER;
	size_t length, at, next, start = 0;
	__u8 others[PKTMETA_SCHEMA_RECORD_MAX];
	const __u8 *old = 0;

	if (!type || type > PKTMETA_SCHEMA_TAG_TYPE)
		return -EINVAL;
	if (pktmeta_schema_find(record, PKTMETA_SCHEMA_RECORD_MAX, type, size_code, &old) ==
	    -ENODATA)
		return -EINVAL;
	length = bytes[3];
	for (at = PKTMETA_SCHEMA_HEADER; at < length; at = next) {
		next = pktmeta_schema_next(bytes, length, at, &start);
		if (bytes[at] == tag)
			continue;
		memcpy(others + kept, bytes + at, next - at);
		kept += next - at;
	}
	if (kept + header + size > PKTMETA_SCHEMA_RECORD_MAX)
		return -ENOSPC;
	memcpy(bytes + PKTMETA_SCHEMA_HEADER, others + PKTMETA_SCHEMA_HEADER,
	       kept - PKTMETA_SCHEMA_HEADER);
	bytes[kept] = tag;
	if (!size_code)
		bytes[kept + 1] = (__u8)size;
	if (size)
		memcpy(bytes + kept + header, value, size);
	bytes[2] = PKTMETA_SCHEMA_RECORD_VERSION << 4; /* what stands where may have changed */
	bytes[3] = (__u8)(kept + header + size);
	return 0;
}
#endif

#endif
