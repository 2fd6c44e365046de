/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reads records from stdin, a line of hexadecimal digits each. Prints the values that the generated
 * functions find in a record, the record that they make of these values, and the first record again
 * after they have set the same values in it. The arguments are the numbers of the fields, in the
 * order below, which an application asks getsockopt() for.
 */
#include "edge.pktmeta.h"
#include "lab.pktmeta.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

static void print_hex(const void *value, size_t size)
{
	const unsigned char *bytes = value;

	while (size--)
		printf("%02x", *bytes++);
}

static __u8 again[PKTMETA_SCHEMA_RECORD_MAX], kept[PKTMETA_SCHEMA_RECORD_MAX];
static const __u8 *record;
static size_t length;
static char **numbers;

/* 1 if there is a value to print. */
static int said(const char *name, int result)
{
	printf("%s %s", name,
	       result == 0	  ? "" :
	       result == -ENOENT  ? "absent" :
	       result == -ENODATA ? "none" :
				    "?");
	return result == 0;
}

static void put(int result)
{
	if (result)
		exit(1);
}

/* How each value is printed. */
#define UNSIGNED printf("%llu", (unsigned long long)value)
#define SIGNED printf("%lld", (long long)value)
#define WIDE printf("%016llx%016llx", (unsigned long long)value.hi, (unsigned long long)value.lo)
#define ADDRESS4 printf("%08x", ntohl(value))
#define OCTETS print_hex(&value, sizeof(value))
#define SOCKET (print_hex(value.address, 16), printf(" %d", ntohs(value.port)))
#define VARIABLE print_hex(value.bytes, value.size)

#define PRINT(field, how)                                                                          \
	do {                                                                                       \
		field##_t value, other;                                                            \
		int type = atoi(*numbers++);                                                       \
                                                                                                   \
		memset(&other, 0, sizeof(other));                                                  \
		if (said(#field, field##_get(record, length, type, &value))) {                     \
			how;                                                                       \
			put(field##_put(again, type, other));                                      \
			put(field##_put(again, type, value));                                      \
			put(field##_put(kept, type, value));                                       \
		}                                                                                  \
		printf("\n");                                                                      \
	} while (0)

#define PRINT_FLAG(field)                                                                          \
	do {                                                                                       \
		int type = atoi(*numbers++);                                                       \
                                                                                                   \
		if (said(#field, field##_get(record, length, type))) {                             \
			printf("set");                                                             \
			put(field##_put(again, type));                                             \
			put(field##_put(kept, type));                                              \
		}                                                                                  \
		printf("\n");                                                                      \
	} while (0)

static void print_fields(void)
{
	PRINT(edge_tenant, UNSIGNED);
	PRINT(edge_verdict, UNSIGNED);
	PRINT(edge_seen, UNSIGNED);
	PRINT(edge_rx_time, UNSIGNED);
	PRINT(edge_original_destination, SOCKET);
	PRINT(edge_client, ADDRESS4);
	PRINT(edge_client6, OCTETS);
	PRINT(edge_next_hop, OCTETS);
	PRINT(edge_trace_id, WIDE);
	PRINT(edge_cookie, VARIABLE);
	PRINT_FLAG(edge_sampled);
	PRINT(lab_type, UNSIGNED);
	PRINT(lab_int, UNSIGNED);
	PRINT(lab_self, UNSIGNED);
	PRINT(lab_new, SIGNED);
	PRINT(lab_linux, SIGNED);
	PRINT(lab_delta, SIGNED);
	PRINT(lab_offset_ns, SIGNED);
	PRINT(lab_wide, WIDE);
	PRINT(lab_option, UNSIGNED);
	PRINT(lab_big, UNSIGNED);
	PRINT(lab_b, UNSIGNED);
	PRINT(lab_bits, UNSIGNED);
	PRINT(lab_flags, UNSIGNED);
	PRINT(lab_match, UNSIGNED);
	PRINT(lab_digest, OCTETS);
	PRINT(lab_blob, VARIABLE);
}

int main(int argc, char **argv)
{
	char line[1024];
	int whole;

	while (argc > 1 && fgets(line, sizeof(line), stdin)) {
		__u8 *copy;
		size_t i;

		length = strcspn(line, "\n") / 2;
		/* Of its very size, so that a sanitizer sees what is read beyond. */
		copy = malloc(length ? length : 1);
		if (!copy)
			return 1;
		for (i = 0; i < length; i++) {
			unsigned int byte;

			if (sscanf(line + 2 * i, "%2x", &byte) != 1)
				return 1;
			copy[i] = (__u8)byte;
		}
		record = copy;
		numbers = argv + 1;
		pktmeta_schema_begin(again);
		whole = pktmeta_schema_find(record, length, 0, 0, NULL) != -ENODATA;
		if (whole)
			memcpy(kept, record, record[3]);
		print_fields();
		printf("again ");
		if (whole)
			print_hex(again, again[3]);
		else
			printf("none");
		printf("\nkept ");
		if (whole)
			print_hex(kept, kept[3]);
		else
			printf("none");
		printf("\n");
		free(copy);
	}
	return 0;
}
