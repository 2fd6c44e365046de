// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT
#include "traits.h"

SPENT_MAP;

#define get(ctx, value, key, type)                                                                 \
	({                                                                                         \
		type found = 0;                                                                    \
		long err = traits_get(RECORD(ctx), END(ctx), key, &found, sizeof(found));          \
                                                                                                   \
		*(value) = found;                                                                  \
		err;                                                                               \
	})

/* Hot fields are keys 0 to 3, or where there are only cold ones, these keys 0 to 7. */
#define get_hot(ctx, value) get(ctx, value, 2, __u32)
#define get_first(ctx, value) get(ctx, value, 0, __u64)
#define get_last(ctx, value) get(ctx, value, 7, __u64)
#define get_last_behind_hot(ctx, value) get(ctx, value, 11, __u64)
#define get_absent(ctx, value) !get(ctx, value, 8, __u64)

static __always_inline long set_hot(struct xdp_md *ctx, __u64 *value)
{
	__u32 new = SET_4;

	(void)value;
	return traits_set(ctx, 2, &new, sizeof(new));
}

static __always_inline long set_last(struct xdp_md *ctx, __u64 *value)
{
	__u64 new = SET_8;

	(void)value;
	return traits_set(ctx, 7, &new, sizeof(new));
}

/* Makes set_hot add the value anew. Where the fourth stands then does not matter to the clock. */
static __always_inline long forget_hot(struct xdp_md *ctx, __u64 *value)
{
	struct traits *traits = RECORD(ctx);

	(void)value;
	if ((void *)(traits + 1) > END(ctx))
		return -1;
	traits->high = TRAITS_BIT(0) | TRAITS_BIT(1) | TRAITS_BIT(3);
	return 0;
}

static __always_inline long set_hot_anew(struct xdp_md *ctx, __u64 *value)
{
	return forget_hot(ctx, value) ?: set_hot(ctx, value);
}

/* Keys 1 to 8 have values. */
static __always_inline long move(struct xdp_md *ctx, __u64 *value)
{
	__u64 new = SET_8;

	(void)value;
	return traits_set(ctx, 0, &new, sizeof(new)) ?: traits_delete(ctx, 0, sizeof(new));
}

static __always_inline long create(struct xdp_md *ctx, __u64 *value)
{
	__u32 new[4] = { HOT(0), HOT(1), SET_4, HOT(3) };
	struct traits *traits;
	long err;

	(void)value;
	if (bpf_xdp_adjust_meta(ctx, -(int)(sizeof(*traits) + sizeof(new))))
		return -1;
	traits = RECORD(ctx);
	if ((void *)(traits + 1) > END(ctx))
		return -1;
	traits->high = 0;
	traits->low = 0;
	err = traits_set(ctx, 0, &new[0], 4);
	err = err ?: traits_set(ctx, 1, &new[1], 4);
	err = err ?: traits_set(ctx, 2, &new[2], 4);
	return err ?: traits_set(ctx, 3, &new[3], 4);
}

XDP_OPERATION(get_hot, get_hot, HOT(2))
XDP_OPERATION(set_hot, set_hot, 0)
XDP_OPERATION(forget_hot, forget_hot, 0)
XDP_OPERATION(set_hot_anew, set_hot_anew, 0)
XDP_OPERATION(get_first, get_first, COLD(0))
XDP_OPERATION(get_last, get_last, COLD(7))
XDP_OPERATION(get_last_behind_hot, get_last_behind_hot, COLD(7))
XDP_OPERATION(get_absent, get_absent, 0)
XDP_OPERATION(set_last, set_last, 0)
XDP_OPERATION(move, move, 0)
XDP_CREATION(create, create)
TC_OPERATION(get_hot, get_hot, nothing, HOT(2))
TC_OPERATION(get_last, get_last, nothing, COLD(7))

char LICENSE[] SEC("license") = "GPL";
