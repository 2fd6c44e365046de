/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reads records from stdin, a line of hexadecimal digits each, with record.h. Prints a line for
 * each tag that the arguments list, in hexadecimal digits: "none" if the line is no whole record,
 * "absent" if the record has no TLV with the tag, else the value. Then prints what becomes of the
 * record: merged into an empty one, and without the tags, before and after it is compacted.
 */
#include <pktmeta/record.h>

#include <stdio.h>
#include <stdlib.h>

/* Reads a byte of two digits from a line: 1, or 0 at the end of the line. */
static int read_byte(const char *line, size_t at, __u8 *byte)
{
	char digits[3] = { line[2 * at], line[2 * at] ? line[2 * at + 1] : 0, 0 };
	char *end;

	*byte = strtoul(digits, &end, 16);
	return end == digits + 2;
}

static void print_value(const __u8 *record, const __u8 *end, __u8 tag)
{
	const __u32 first = sizeof(struct pktmeta_header);
	__u8 value[1 + 0xff], *bytes = value;
	__u32 size = 1 << (tag >> PKTMETA_TAG_SIZE_SHIFT), at, i;
	long err;

	if (!pktmeta_record_check(record, end)) {
		printf("none\n");
		return;
	}
	at = pktmeta_record_find(record, end, tag, first);
	if (pktmeta_tlv_header(tag) == 1) {
		err = pktmeta_record_get_at(record, end, at, tag, value, size);
	} else {
		err = pktmeta_record_get_variable(record, end, at, value, 0xff);
		size = err ? 0 : *bytes++;
	}
	if (err) {
		printf("absent\n");
		return;
	}
	for (i = 0; i < size; i++)
		printf("%02x", bytes[i]);
	printf("\n");
}

static void print_record(const void *record)
{
	const __u8 *bytes = record;
	__u32 length = bytes[3], i;

	for (i = 0; i < length; i++)
		printf("%02x", bytes[i]);
	printf("\n");
}

static void print_changes(const __u8 *record, const __u8 *end, char **tags)
{
	__u8 changed[PKTMETA_RECORD_MAX] = { PKTMETA_MAGIC_0, PKTMETA_MAGIC_1,
					     PKTMETA_RECORD_VERSION << 4,
					     sizeof(struct pktmeta_header) };
	__u32 length = pktmeta_record_length(record, end);

	if (!pktmeta_record_check(record, end)) {
		printf("none\n");
		return;
	}
	pktmeta_record_merge(changed, changed + sizeof(changed), record, end);
	print_record(changed);
	memcpy(changed, record, length);
	for (; *tags; tags++)
		pktmeta_record_remove(changed, changed + sizeof(changed), strtoul(*tags, 0, 16));
	print_record(changed);
	pktmeta_record_compact(changed, changed + sizeof(changed));
	print_record(changed);
}

int main(int argc, char **argv)
{
	char line[2048];
	int i;

	while (fgets(line, sizeof(line), stdin)) {
		size_t length = 0;
		__u8 byte, *record;

		while (read_byte(line, length, &byte))
			length++;
		/* Exactly as large as the record: the sanitizer sees every byte behind it. */
		record = malloc(length ? length : 1);
		if (!record)
			return 1;
		for (length = 0; read_byte(line, length, &byte); length++)
			record[length] = byte;
		for (i = 1; i < argc; i++)
			print_value(record, record + length, strtoul(argv[i], 0, 16));
		print_changes(record, record + length, argv + 1);
		free(record);
	}
	return 0;
}
