/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Sets every field of the pool, and compares what is read with what was written. A function for
 * each field and hook that is not static: the verifier walks it once, and alone.
 */
#ifndef PATHS_CHECK_H
#define PATHS_CHECK_H

#include "paths.h"

#define EIO 5
#define ENOENT 2
#define ENODATA 61
#define UNBOUND VERDICTS

/* The last finding of this CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct finding);
} scratch SEC(".maps");

static __always_inline struct finding *this_finding(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

/* What this CPU is at: programs have little stack. */
struct room {
	__u64 got[1 + VALUE_MAX / 8], right[1 + VALUE_MAX / 8];
	__u8 header[40];
	union tail tail;
	struct identity who;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct room);
} rooms SEC(".maps");

static __always_inline struct room *this_room(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&rooms, &zero);
}

/* What the answer of pktmeta_get() is worth. same: the value is the one that was written. */
static __always_inline int judge(long result, int written, int same, __u32 field, const void *got,
				 __u32 size)
{
	struct finding *finding;

	if (result == -ENODATA)
		return NO_RECORD;
	if (result == -ENOENT)
		return written ? ABSENT : RIGHT;
	if (result)
		return REFUSED;
	if (written && same)
		return RIGHT;
	finding = this_finding();
	if (finding) {
		finding->field = field;
		finding->result = result;
		finding->size = size;
		__builtin_memcpy(finding->got, got, size);
	}
	return WRONG;
}

/*
 * Puts into this CPU's room what a packet of this seed has in a field, behind its size, and zeroes
 * what is read next: 0, or 1 if the packet does not have the field.
 */
__noinline int make_right(__u64 seed, __u32 field, __u32 max, __u32 mask, int variable)
{
	struct room *room = this_room();
	__u32 size, at;
	__u8 *bytes;

	if (!room)
		return 1;
	__builtin_memset(room->got, 0, sizeof(room->got));
	__builtin_memset(room->right, 0, sizeof(room->right));
	bytes = (__u8 *)(room->right + 1);
	size = variable ? length_of(seed, field, max) : max;
	for (at = 0; at < VALUE_MAX && at < size; at++)
		bytes[at] = number_of(seed, field, 2 + at / 8) >> at % 8 * 8;
	bytes[0] &= mask;
	if (variable)
		bytes[-1] = size;
	return !is_set(seed, field);
}

static __always_inline int is_right(const struct room *room)
{
	__u64 differ = 0;
	__u32 at;

	for (at = 0; at < sizeof(room->got) / sizeof(__u64); at++)
		differ |= room->got[at] ^ room->right[at];
	return !differ;
}

/* A value in the room; one that varies in size has that in front. */
#define FIXED_IN(name, words) ((pktmeta_value_of_##name *)((words) + 1))
#define VARIABLE_IN(name, words) ((pktmeta_value_of_##name *)((void *)(words) + 7))

#define BYTES_ON(context, hook, number, name, size, mask, variable, IN)                            \
	__noinline int hook##_check_##name(struct context *ctx, __u64 seed, int labelled)          \
	{                                                                                          \
		struct room *room = this_room();                                                   \
		int written;                                                                       \
		long result;                                                                       \
                                                                                                   \
		if (!pktmeta_field_##name.tag || !room)                                            \
			return UNBOUND;                                                            \
		written = !make_right(seed, number, size, mask, variable) && labelled;             \
		result = pktmeta_get(ctx, name, IN(name, room->got));                              \
		return judge(result, written, is_right(room), number, room->got + 1, size);        \
	}                                                                                          \
	__noinline int hook##_set_##name(struct context *ctx, __u64 seed)                          \
	{                                                                                          \
		struct room *room = this_room();                                                   \
                                                                                                   \
		if (!pktmeta_field_##name.tag || !room)                                            \
			return 0;                                                                  \
		if (make_right(seed, number, size, mask, variable))                                \
			return 0;                                                                  \
		return pktmeta_set(ctx, name, *IN(name, room->right));                             \
	}

#define FIXED_ON(context, hook, number, name, size, mask)                                          \
	BYTES_ON(context, hook, number, name, size, mask, 0, FIXED_IN)
#define VARIABLE_ON(context, hook, number, name, max)                                              \
	BYTES_ON(context, hook, number, name, max, 0xff, 1, VARIABLE_IN)

#define FLAG_ON(context, hook, number, name)                                                       \
	__noinline int hook##_check_##name(struct context *ctx, __u64 seed, int labelled)          \
	{                                                                                          \
		struct pktmeta_flag got;                                                           \
                                                                                                   \
		if (!pktmeta_field_##name.tag)                                                     \
			return UNBOUND;                                                            \
		return judge(pktmeta_get(ctx, name, &got), labelled && is_set(seed, number), 1,    \
			     number, &got, 0);                                                     \
	}                                                                                          \
	__noinline int hook##_set_##name(struct context *ctx, __u64 seed)                          \
	{                                                                                          \
		if (!pktmeta_field_##name.tag || !is_set(seed, number))                            \
			return 0;                                                                  \
		return pktmeta_set(ctx, name, (struct pktmeta_flag){});                            \
	}

#define XDP_FIXED(...) FIXED_ON(xdp_md, xdp, __VA_ARGS__)
#define XDP_VARIABLE(...) VARIABLE_ON(xdp_md, xdp, __VA_ARGS__)
#define XDP_FLAG(...) FLAG_ON(xdp_md, xdp, __VA_ARGS__)
POOL(XDP_FIXED, XDP_VARIABLE, XDP_FLAG)

#define TC_FIXED(...) FIXED_ON(__sk_buff, tc, __VA_ARGS__)
#define TC_VARIABLE(...) VARIABLE_ON(__sk_buff, tc, __VA_ARGS__)
#define TC_FLAG(...) FLAG_ON(__sk_buff, tc, __VA_ARGS__)
POOL(TC_FIXED, TC_VARIABLE, TC_FLAG)

/*
 * The verdict over all fields is the worst of theirs; that there is a record must agree with it. A
 * set of the verdicts, not the worst so far: the verifier would follow every branch of each.
 */
#define CHECK_ONE(hook, name) seen |= 1 << (hook##_check_##name(ctx, seed, labelled) & 7);
#define CHECK_XDP(number, name, ...) CHECK_ONE(xdp, name)
#define CHECK_TC(number, name, ...) CHECK_ONE(tc, name)
#define SET_XDP(number, name, ...) failed |= xdp_set_##name(ctx, seed);
#define SET_TC(number, name, ...) failed |= tc_set_##name(ctx, seed);

static __always_inline int worst_of(__u32 seen, int has_record, int labelled)
{
	int found = !(seen & 1 << NO_RECORD);
	struct finding *finding;

	if (seen & 1 << WRONG)
		return WRONG;
	if (found == has_record && (labelled || !found)) {
		if (seen & 1 << REFUSED)
			return REFUSED;
		if (!found)
			return NO_RECORD;
		return seen & 1 << ABSENT ? ABSENT : RIGHT;
	}
	finding = this_finding();
	if (finding) {
		finding->field = POOL_SIZE;
		finding->result = found;
		finding->size = 0;
	}
	return WRONG;
}

#define ALL_ON(context, hook, CHECK, SET)                                                          \
	__noinline int hook##_check(struct context *ctx, __u64 seed, int labelled)                 \
	{                                                                                          \
		__u32 seen = 0;                                                                    \
                                                                                                   \
		POOL(CHECK, CHECK, CHECK)                                                          \
		return worst_of(seen, pktmeta_has_record(ctx), labelled);                          \
	}                                                                                          \
	/* 0 if every field could be set. */                                                       \
	__noinline int hook##_set(struct context *ctx, __u64 seed)                                 \
	{                                                                                          \
		int failed = 0;                                                                    \
                                                                                                   \
		POOL(SET, SET, SET)                                                                \
		return failed;                                                                     \
	}

ALL_ON(xdp_md, xdp, CHECK_XDP, SET_XDP)
ALL_ON(__sk_buff, tc, CHECK_TC, SET_TC)

#endif
