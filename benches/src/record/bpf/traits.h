/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * The layout of the packet traits that were proposed for the kernel, first version, in BPF: 64
 * keys, values of 2, 4 or 8 bytes that stand packed in the order of their keys behind two words. A
 * key's bits in the words are a code for the size of its value: high 4, low 2, both 8.
 *
 * Keys and sizes are constants for the compiler.
 */
#ifndef TRAITS_H
#define TRAITS_H

#include "measure.h"

struct traits {
	__u64 high, low;
};

/* More than any metadata area has. */
#define TRAITS_MAX 256

#define TRAITS_BIT(key) (1ull << (key))
#define TRAITS_HIGH(key, size) ((size) >= 4 ? TRAITS_BIT(key) : 0)
#define TRAITS_LOW(key, size) ((size) != 4 ? TRAITS_BIT(key) : 0)

/*
 * Bytes of the values that these words tell of: 4 for each bit in high, 2 for each in low, 2 more
 * for each in both. BPF has no instruction that counts bits, so three counts are made side by side.
 */
static __always_inline __u32 traits_length(__u64 high, __u64 low)
{
	const __u64 ones = 0x5555555555555555ull, twos = 0x3333333333333333ull;
	const __u64 fours = 0x0f0f0f0f0f0f0f0full;
	__u64 both = high & low;

	high -= (high >> 1) & ones;
	low -= (low >> 1) & ones;
	both -= (both >> 1) & ones;
	high = (high & twos) + ((high >> 2) & twos);
	low = (low & twos) + ((low >> 2) & twos);
	both = (both & twos) + ((both >> 2) & twos);
	low += both; /* at most 8 in each 4 bits */
	high = (high & fours) + ((high >> 4) & fours);
	low = (low & fours) + ((low >> 4) & fours);
	return (((2 * high + low) * 0x0101010101010101ull) >> 56) * 2;
}

/* The same of words with no more than 16 bits: all three counts in one word. */
static __always_inline __u32 traits_length_16(__u64 high, __u64 low)
{
	const __u64 ones = 0x5555555555555555ull, twos = 0x3333333333333333ull;
	const __u64 fours = 0x0f0f0f0f0f0f0f0full;
	__u64 bits = high | low << 16 | (high & low) << 32;

	bits -= (bits >> 1) & ones;
	bits = (bits & twos) + ((bits >> 2) & twos);
	bits = (bits + (bits >> 4)) & fours;
	/* The highest byte of the product: the bytes' sum, those of high twice. */
	return ((bits * 0x0202010101010000ull) >> 56) * 2;
}

/* Where the value of a key stands, or would. */
static __always_inline __u32 traits_offset(__u64 high, __u64 low, __u32 key)
{
	const __u64 before = TRAITS_BIT(key) - 1;

	if (key <= 16)
		return sizeof(struct traits) + traits_length_16(high & before, low & before);
	return sizeof(struct traits) + traits_length(high & before, low & before);
}

/* size bytes at an offset, if there are as many; in one piece for compiler and verifier. */
static __always_inline void *traits_at(void *record, void *end, __u32 at, __u32 size)
{
	void *value;

	barrier_var(at);
	if (at > TRAITS_MAX)
		return (void *)0;
	value = record + at;
	barrier_var(value);
	return value + size <= end ? value : (void *)0;
}

static __always_inline void traits_copy(void *to, const void *from, __u32 size)
{
	if (size == 8)
		*(__u64 *)to = *(const __u64 *)from;
	else if (size == 4)
		*(__u32 *)to = *(const __u32 *)from;
	else
		*(__u16 *)to = *(const __u16 *)from;
}

static __always_inline long traits_get(void *record, void *end, __u32 key, void *value, __u32 size)
{
	const __u64 bit = TRAITS_BIT(key);
	struct traits *traits = record;
	__u64 high, low;
	void *at;

	if ((void *)(traits + 1) > end)
		return -1;
	high = traits->high;
	low = traits->low;
	if ((high & bit) != TRAITS_HIGH(key, size) || (low & bit) != TRAITS_LOW(key, size))
		return -1;
	at = traits_at(record, end, traits_offset(high, low, key), size);
	if (!at)
		return -1;
	traits_copy(value, at, size);
	return 0;
}

/* Moves what stands from an offset on, up to the end of all values, by so many bytes up. */
__noinline long traits_move_up(struct xdp_md *ctx, __u32 from, __u32 by)
{
	void *record = RECORD(ctx), *end = END(ctx);
	struct traits *traits = record;
	__u32 at, i;

	if ((void *)(traits + 1) > end)
		return -1;
	at = sizeof(*traits) + traits_length(traits->high, traits->low);
	if (by > 8 || !traits_at(record, end, at + by, 0))
		return -1;
	/* From the end, or what comes next would be overwritten. */
	for (i = 0; i < TRAITS_MAX / 8 && at >= from + 8; i++) {
		__u64 *source = traits_at(record, end, at -= 8, 8);
		__u64 *sink = traits_at(record, end, at + by, 8);

		if (!source || !sink)
			return -1;
		*sink = *source;
	}
	if (at >= from + 4) {
		__u32 *source = traits_at(record, end, at -= 4, 4);
		__u32 *sink = traits_at(record, end, at + by, 4);

		if (!source || !sink)
			return -1;
		*sink = *source;
	}
	if (at >= from + 2) {
		__u16 *source = traits_at(record, end, at -= 2, 2);
		__u16 *sink = traits_at(record, end, at + by, 2);

		if (!source || !sink)
			return -1;
		*sink = *source;
	}
	return 0;
}

/* Moves what stands by bytes behind an offset, up to the end of all values, to it. */
__noinline long traits_move_down(struct xdp_md *ctx, __u32 to, __u32 by)
{
	void *record = RECORD(ctx), *end = END(ctx);
	struct traits *traits = record;
	__u32 until, i;

	if ((void *)(traits + 1) > end || by > 8)
		return -1;
	until = sizeof(*traits) + traits_length(traits->high, traits->low) - by;
	for (i = 0; i < TRAITS_MAX / 8 && to + 8 <= until; i++, to += 8) {
		__u64 *source = traits_at(record, end, to + by, 8);
		__u64 *sink = traits_at(record, end, to, 8);

		if (!source || !sink)
			return -1;
		*sink = *source;
	}
	if (to + 4 <= until) {
		__u32 *source = traits_at(record, end, to + by, 4);
		__u32 *sink = traits_at(record, end, to, 4);

		if (!source || !sink)
			return -1;
		*sink = *source;
		to += 4;
	}
	if (to + 2 <= until) {
		__u16 *source = traits_at(record, end, to + by, 2);
		__u16 *sink = traits_at(record, end, to, 2);

		if (!source || !sink)
			return -1;
		*sink = *source;
	}
	return 0;
}

/* Overwrites a value; a new one goes between those of lower and higher keys. */
static __always_inline long traits_set(struct xdp_md *ctx, __u32 key, const void *value, __u32 size)
{
	const __u64 bit = TRAITS_BIT(key);
	void *record = RECORD(ctx), *end = END(ctx);
	struct traits *traits = record;
	__u64 high, low;
	__u32 offset;
	void *at;

	if ((void *)(traits + 1) > end)
		return -1;
	high = traits->high;
	low = traits->low;
	offset = traits_offset(high, low, key);
	if ((high | low) & bit) {
		if ((high & bit) != TRAITS_HIGH(key, size) || (low & bit) != TRAITS_LOW(key, size))
			return -1;
	} else {
		/* Nothing moves for the highest key. */
		if ((high | low) >> key) {
			if (traits_move_up(ctx, offset, size))
				return -1;
			record = RECORD(ctx);
			end = END(ctx);
			traits = record;
			if ((void *)(traits + 1) > end)
				return -1;
		}
		traits->high = high | TRAITS_HIGH(key, size);
		traits->low = low | TRAITS_LOW(key, size);
	}
	at = traits_at(record, end, offset, size);
	if (!at)
		return -1;
	traits_copy(at, value, size);
	return 0;
}

/* Takes out a value of this size. */
static __always_inline long traits_delete(struct xdp_md *ctx, __u32 key, __u32 size)
{
	const __u64 bit = TRAITS_BIT(key);
	struct traits *traits = RECORD(ctx);
	__u64 high, low;

	if ((void *)(traits + 1) > END(ctx))
		return -1;
	high = traits->high;
	low = traits->low;
	if ((high & bit) != TRAITS_HIGH(key, size) || (low & bit) != TRAITS_LOW(key, size))
		return -1;
	if (((high | low) & ~bit) >> key) {
		if (traits_move_down(ctx, traits_offset(high, low, key), size))
			return -1;
		traits = RECORD(ctx);
		if ((void *)(traits + 1) > END(ctx))
			return -1;
	}
	traits->high = high & ~bit;
	traits->low = low & ~bit;
	return 0;
}

#endif
