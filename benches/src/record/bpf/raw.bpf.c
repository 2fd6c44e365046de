// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT
/*
 * The floor: a struct that both sides have agreed on, every field of it always there. Nothing says
 * whose bytes they are.
 */
#include "measure.h"

SPENT_MAP;

struct raw {
	__u32 hot[4];
	__u64 cold[8];
};

extern int bpf_dynptr_from_skb_meta(struct __sk_buff *skb, __u64 flags,
				    struct bpf_dynptr *ptr) __ksym;

/* Macros, where the same is done at both hooks. */
#define get(ctx, value, field)                                                                     \
	({                                                                                         \
		const struct raw *raw = RECORD(ctx);                                               \
		long err = -1;                                                                     \
                                                                                                   \
		if ((const void *)(raw + 1) <= END(ctx)) {                                         \
			*(value) = raw->field;                                                     \
			err = 0;                                                                   \
		}                                                                                  \
		err;                                                                               \
	})

#define set(ctx, field, new)                                                                       \
	({                                                                                         \
		struct raw *raw = RECORD(ctx);                                                     \
		long err = -1;                                                                     \
                                                                                                   \
		if ((const void *)(raw + 1) <= END(ctx)) {                                         \
			raw->field = (new);                                                        \
			err = 0;                                                                   \
		}                                                                                  \
		err;                                                                               \
	})

#define get_hot(ctx, value) get(ctx, value, hot[2])
#define get_first(ctx, value) get(ctx, value, cold[0])
#define get_last(ctx, value) get(ctx, value, cold[7])
#define set_hot(ctx, value) set(ctx, hot[2], SET_4)
#define set_last(ctx, value) set(ctx, cold[7], SET_8)

static __always_inline long create(struct xdp_md *ctx, __u64 *value)
{
	__u32 *hot;

	(void)value;
	if (bpf_xdp_adjust_meta(ctx, -(int)(4 * sizeof(*hot))))
		return -1;
	hot = RECORD(ctx);
	if ((void *)(hot + 4) > END(ctx))
		return -1;
	hot[0] = HOT(0);
	hot[1] = HOT(1);
	hot[2] = SET_4;
	hot[3] = HOT(3);
	return 0;
}

/* As people have to since 6.18 if the packet may be shared. */
static __always_inline long set_hot_dynptr(struct __sk_buff *ctx, __u64 *value)
{
	struct bpf_dynptr area;
	__u32 new = SET_4;

	(void)value;
	if (bpf_dynptr_from_skb_meta(ctx, 0, &area))
		return -1;
	return bpf_dynptr_write(&area, __builtin_offsetof(struct raw, hot[2]), &new, sizeof(new),
				0);
}

XDP_OPERATION(get_hot, get_hot, HOT(2))
XDP_OPERATION(set_hot, set_hot, 0)
XDP_OPERATION(get_first, get_first, COLD(0))
XDP_OPERATION(get_last, get_last, COLD(7))
XDP_OPERATION(set_last, set_last, 0)
XDP_CREATION(create, create)
TC_OPERATION(get_hot, get_hot, nothing, HOT(2))
TC_OPERATION(get_last, get_last, nothing, COLD(7))
TC_OPERATION(set_hot, set_hot, get_hot, SET_4)
TC_OPERATION(set_hot_dynptr, set_hot_dynptr, get_hot, SET_4)

char LICENSE[] SEC("license") = "GPL";
