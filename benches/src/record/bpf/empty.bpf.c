// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT
/* What the loops themselves take. */
#include "measure.h"

SPENT_MAP;

XDP_OPERATION(empty, nothing, 0)
XDP_CREATION(empty_create, nothing)
TC_OPERATION(empty, nothing, nothing, 0)

/*
 * Whose turn it is. To put a program into a map is fast; to attach it, or to run one by PROG_RUN
 * that is not attached, waits for all CPUs twice.
 */
#define TURN_MAP                                                                                   \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);                                             \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, __u32);                                                              \
	}

TURN_MAP xdp_turn SEC(".maps");
TURN_MAP tc_turn SEC(".maps");

SEC("xdp") int xdp_dispatch(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &xdp_turn, 0);
	return XDP_ABORTED;
}

SEC("tcx/ingress") int tc_dispatch(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &tc_turn, 0);
	return TCX_NEXT;
}

/* What brings packets with metadata to TC. */
SEC("xdp") int xdp_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
