/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/* The fields of fields.toml, in its order, and one that is in no schema. */
struct sixteen {
	__u8 bytes[16];
};

PKTMETA_FIELD(hot_u32, __u32);
PKTMETA_FIELD(hot_u8, __u8);
PKTMETA_FIELD_FLAG(hot_flag);
PKTMETA_FIELD(hot_u128, struct sixteen);
PKTMETA_FIELD(cold_u8, __u8);
PKTMETA_FIELD(cold_u16, __u16);
PKTMETA_FIELD(cold_u32, __u32);
PKTMETA_FIELD(cold_u64, __u64);
PKTMETA_FIELD(cold_u128, struct sixteen);
PKTMETA_FIELD_FLAG(cold_flag);
PKTMETA_FIELD_BYTES(cookie, 12);
PKTMETA_FIELD_BYTES(blob, 64);
PKTMETA_FIELD(read_only, __u32);
PKTMETA_FIELD(unbound, __u32);

#define FIELDS(ON)                                                                                 \
	ON(0, hot_u32)                                                                             \
	ON(1, hot_u8)                                                                              \
	ON(2, hot_flag)                                                                            \
	ON(3, hot_u128)                                                                            \
	ON(4, cold_u8)                                                                             \
	ON(5, cold_u16)                                                                            \
	ON(6, cold_u32)                                                                            \
	ON(7, cold_u64)                                                                            \
	ON(8, cold_u128)                                                                           \
	ON(9, cold_flag)                                                                           \
	ON(10, cookie)                                                                             \
	ON(11, blob)                                                                               \
	ON(12, read_only)                                                                          \
	ON(13, unbound)
