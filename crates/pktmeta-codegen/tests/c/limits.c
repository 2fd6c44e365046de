/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What does not fit into a record, and what is no value, is refused and changes nothing. */
#include "lab.pktmeta.h"

#include <stdio.h>

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "line %d: %s\n", __LINE__, #what);                         \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

int main(void)
{
	lab_blob_t full = { .size = LAB_BLOB_SIZE, .bytes = { 7 } }, empty = { .size = 0 }, found;
	lab_blob_t some = { .size = 13 }, wrong = { .size = LAB_BLOB_SIZE + 1 };
	__u8 record[PKTMETA_SCHEMA_RECORD_MAX] = {};
	__u8 before[PKTMETA_SCHEMA_RECORD_MAX];
	__u8 type;

	CHECK(lab_blob_put(record, 1, full) == -EINVAL); /* no record yet */
	pktmeta_schema_begin(record);
	CHECK(lab_blob_put(record, 0, full) == -EINVAL);
	CHECK(lab_blob_put(record, 64, full) == -EINVAL);
	CHECK(lab_blob_put(record, 1, wrong) == -EINVAL);
	CHECK(record[3] == 4);
	for (type = 1; type <= 3; type++)
		CHECK(lab_blob_put(record, type, full) == 0);
	CHECK(record[3] == 4 + 3 * 66);
	memcpy(before, record, sizeof(record));
	CHECK(lab_blob_put(record, 4, some) == -ENOSPC);
	CHECK(!memcmp(before, record, sizeof(record)));
	/* One that is there needs the room of what it has more. */
	CHECK(lab_blob_put(record, 1, empty) == 0);
	CHECK(record[3] == 4 + 2 + 2 * 66);
	CHECK(lab_blob_put(record, 4, some) == 0);
	CHECK(lab_blob_get(record, record[3], 1, &found) == 0 && found.size == 0);
	CHECK(lab_blob_get(record, record[3], 2, &found) == 0 && found.bytes[0] == 7);
	CHECK(lab_blob_get(record, record[3], 3, &found) == 0 && found.size == LAB_BLOB_SIZE);
	CHECK(lab_blob_get(record, record[3], 4, &found) == 0 && found.size == 13);
	return 0;
}
