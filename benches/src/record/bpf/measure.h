/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * How every operation is measured. An operation is a function
 *
 *	static __always_inline long get_hot(struct xdp_md *ctx, __u64 *value);
 *
 * that is 0 if it worked; one that reads leaves what it read in *value. XDP_OPERATION makes three
 * programs of it: xdp_loop_NAME does it OPERATIONS times, for the clock; so does xdp_apart_NAME,
 * but keeps the processor from beginning one before the last is done; xdp_once_NAME does it once,
 * to count instructions. TC_OPERATION makes loop and once, and its loop looks at the clock itself.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Operations in one run of a loop; mod.rs divides by it. */
#define OPERATIONS 256

/* What fields have before; a reader must find it. Rust writes the same. */
#define HOT(n) (0x01010101u * ((n) + 1))
#define COLD(n) (0x0101010101010101ull * ((n) + 1))

/* What is set; Rust looks for it behind a run. */
#define SET_4 0x5e5e5e5eu
#define SET_8 0x5e5e5e5e5e5e5e5eull

#define RECORD(ctx) ((void *)(long)(ctx)->data_meta)
#define END(ctx) ((void *)(long)(ctx)->data)

/*
 * One operation as if it were the only one in its program: nothing that was loaded from the packet
 * or its context before is still known, and what it read is wanted.
 */
#define ONE(operation)                                                                             \
	({                                                                                         \
		long __err;                                                                        \
                                                                                                   \
		(void)ctx;                                                                         \
		barrier();                                                                         \
		__err = operation(ctx, &value);                                                    \
		asm volatile("" ::"r"(value));                                                     \
		__err;                                                                             \
	})

#define NO_UNROLL _Pragma("clang loop unroll(disable)")

#define FOUR(one, operation) (one(operation) || one(operation) || one(operation) || one(operation))

/* A locked instruction waits for what was stored, and what is loaded next waits for it. */
#define ONE_APART(operation)                                                                       \
	({                                                                                         \
		__sync_fetch_and_add(&lock, 1);                                                    \
		ONE(operation);                                                                    \
	})

#define XDP_LOOP(name, one, operation, expected)                                                   \
	SEC("xdp") int name(struct xdp_md *ctx)                                                    \
	{                                                                                          \
		__u64 value = 0, lock = 0;                                                         \
		int turn;                                                                          \
                                                                                                   \
		(void)lock;                                                                        \
		NO_UNROLL                                                                          \
		for (turn = 0; turn < OPERATIONS / 4; turn++)                                      \
			if (FOUR(one, operation))                                                  \
				return XDP_ABORTED;                                                \
		return value == (expected) ? XDP_PASS : XDP_ABORTED;                               \
	}

#define XDP_OPERATION(name, operation, expected)                                                   \
	XDP_LOOP(xdp_loop_##name, ONE, operation, expected)                                        \
	XDP_LOOP(xdp_apart_##name, ONE_APART, operation, expected)                                 \
	SEC("xdp") int xdp_once_##name(struct xdp_md *ctx)                                         \
	{                                                                                          \
		__u64 value = 0;                                                                   \
                                                                                                   \
		return ONE(operation) ? XDP_ABORTED : XDP_PASS;                                    \
	}

/*
 * One that makes metadata, which can only be done once in a run: what the run before left is taken
 * away first. The program to compare with only does that.
 */
#define XDP_CREATION(name, operation)                                                              \
	SEC("xdp") int xdp_loop_##name(struct xdp_md *ctx)                                         \
	{                                                                                          \
		__u64 value = 0;                                                                   \
                                                                                                   \
		if (bpf_xdp_adjust_meta(ctx, ctx->data - ctx->data_meta))                          \
			return XDP_ABORTED;                                                        \
		return ONE(operation) ? XDP_ABORTED : XDP_PASS;                                    \
	}                                                                                          \
	SEC("xdp") int xdp_once_##name(struct xdp_md *ctx)                                         \
	{                                                                                          \
		__u64 value = 0;                                                                   \
                                                                                                   \
		return ONE(operation) ? XDP_ABORTED : XDP_PASS;                                    \
	}

/* What loops at TC took; who wants to know sets it to 0 before. */
struct spent {
	__u64 nanoseconds;
	__u64 runs;
};

#define SPENT_MAP                                                                                  \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, struct spent);                                                       \
	} spent SEC(".maps")

/* No operation. A macro: it is for both contexts. */
#define nothing(ctx, value) 0L

/*
 * A run in which an operation fails is not counted, nor one without metadata: somebody else's. What
 * is expected is read by another operation behind the loop, if the one measured does not read.
 */
#define TC_OPERATION(name, operation, check, expected)                                             \
	SEC("tcx/ingress") int tc_loop_##name(struct __sk_buff *ctx)                               \
	{                                                                                          \
		__u32 zero = 0;                                                                    \
		struct spent *sum = bpf_map_lookup_elem(&spent, &zero);                            \
		__u64 value = 0, start;                                                            \
		int turn;                                                                          \
                                                                                                   \
		if (!sum || ctx->data_meta >= ctx->data)                                           \
			return TCX_NEXT;                                                           \
		start = bpf_ktime_get_ns();                                                        \
		NO_UNROLL                                                                          \
		for (turn = 0; turn < OPERATIONS / 4; turn++)                                      \
			if (FOUR(ONE, operation))                                                  \
				return TCX_DROP;                                                   \
		start = bpf_ktime_get_ns() - start;                                                \
		if (check(ctx, &value) || value != (expected))                                     \
			return TCX_DROP;                                                           \
		sum->nanoseconds += start;                                                         \
		sum->runs++;                                                                       \
		return TCX_DROP;                                                                   \
	}                                                                                          \
	SEC("tcx/ingress") int tc_once_##name(struct __sk_buff *ctx)                               \
	{                                                                                          \
		__u64 value = 0;                                                                   \
                                                                                                   \
		return ONE(operation) ? TCX_DROP : TCX_NEXT;                                       \
	}

#endif
