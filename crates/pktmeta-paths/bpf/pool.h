/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * The fields of which schemas are made, in the order of src/schema/pool.rs, and their values, which
 * follow from a packet's seed: src/schema/values.rs makes the same.
 */
#ifndef PATHS_POOL_H
#define PATHS_POOL_H

#include <pktmeta/pktmeta.bpf.h>

#define VALUE_MAX 64 /* of a value, at most */

/* FIXED(number, name, size, mask of the first byte), VARIABLE(number, name, most bytes), FLAG */
#define POOL(FIXED, VARIABLE, FLAG)                                                                \
	FIXED(0, a_u8, 1, 0xff)                                                                    \
	FIXED(1, b_u8, 1, 0xff)                                                                    \
	FIXED(2, a_u16, 2, 0xff)                                                                   \
	FIXED(3, b_u16, 2, 0xff)                                                                   \
	FIXED(4, a_u32, 4, 0xff)                                                                   \
	FIXED(5, b_u32, 4, 0xff)                                                                   \
	FIXED(6, c_u32, 4, 0xff)                                                                   \
	FIXED(7, a_u64, 8, 0xff)                                                                   \
	FIXED(8, b_u64, 8, 0xff)                                                                   \
	FIXED(9, a_u128, 16, 0xff)                                                                 \
	FIXED(10, a_i32, 4, 0xff)                                                                  \
	FIXED(11, a_bool, 1, 0x01)                                                                 \
	FIXED(12, an_enum, 1, 0x03)                                                                \
	FIXED(13, a_set, 2, 0xff)                                                                  \
	FIXED(14, an_ipv4, 4, 0xff)                                                                \
	FIXED(15, an_ipv6, 16, 0xff)                                                               \
	FIXED(16, a_mac, 6, 0xff)                                                                  \
	FIXED(17, a_socket, 18, 0xff)                                                              \
	FIXED(18, a_time, 8, 0xff)                                                                 \
	FIXED(19, five, 5, 0xff)                                                                   \
	FIXED(20, many, 40, 0xff)                                                                  \
	VARIABLE(21, up_to_nine, 9)                                                                \
	VARIABLE(22, up_to_more, 16)                                                               \
	FLAG(23, a_flag)                                                                           \
	FLAG(24, b_flag)

#define POOL_SIZE 25

#define DECLARE_FIXED(number, name, length, mask)                                                  \
	struct name {                                                                              \
		__u8 bytes[length];                                                                \
	};                                                                                         \
	PKTMETA_FIELD(name, struct name);
#define DECLARE_VARIABLE(number, name, max) PKTMETA_FIELD_BYTES(name, max);
#define DECLARE_FLAG(number, name) PKTMETA_FIELD_FLAG(name);
POOL(DECLARE_FIXED, DECLARE_VARIABLE, DECLARE_FLAG)

/* SplitMix64's mixing of a number. */
static __always_inline __u64 mix(__u64 number)
{
	number += 0x9e3779b97f4a7c15;
	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
	number = (number ^ number >> 27) * 0x94d049bb133111eb;
	return number ^ number >> 31;
}

/* Every second packet has every field, and of variable ones the longest values. */
static __always_inline int is_full(__u64 seed)
{
	return seed & 1;
}

/* A number of a field in a packet: 0 says whether it is set, 1 how long it is, then its bytes. */
static __always_inline __u64 number_of(__u64 seed, __u32 field, __u32 which)
{
	return mix(seed + ((__u64)field << 8 | which));
}

static __always_inline int is_set(__u64 seed, __u32 field)
{
	return is_full(seed) || number_of(seed, field, 0) & 1;
}

static __always_inline __u32 length_of(__u64 seed, __u32 field, __u32 max)
{
	return is_full(seed) ? max : (number_of(seed, field, 1) & 0xffff) % (max + 1);
}

#endif
