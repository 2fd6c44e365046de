// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT
/* pktmeta, used as its users do. */
#include "measure.h"
#include <pktmeta/pktmeta.bpf.h>

SPENT_MAP;

PKTMETA_FIELD(hot_0, __u32);
PKTMETA_FIELD(hot_1, __u32);
PKTMETA_FIELD(hot_2, __u32);
PKTMETA_FIELD(hot_3, __u32);
PKTMETA_FIELD(cold_0, __u64);
PKTMETA_FIELD(cold_7, __u64);
PKTMETA_FIELD(mixed_7, __u64);
PKTMETA_FIELD(other, __u64);

#define get(ctx, value, field)                                                                     \
	({                                                                                         \
		pktmeta_value_of_##field found = 0;                                                \
		long err = pktmeta_get(ctx, field, &found);                                        \
                                                                                                   \
		*(value) = found;                                                                  \
		err;                                                                               \
	})

#define get_hot(ctx, value) get(ctx, value, hot_2)
#define get_first(ctx, value) get(ctx, value, cold_0)
#define get_last(ctx, value) get(ctx, value, cold_7)
#define get_mixed(ctx, value) get(ctx, value, mixed_7)
#define get_absent(ctx, value) (get(ctx, value, other) != -PKTMETA_ENOENT)
#define set_hot(ctx, value) pktmeta_set(ctx, hot_2, SET_4)
#define set_last(ctx, value) pktmeta_set(ctx, cold_7, SET_8)
#define move(ctx, value) (pktmeta_set(ctx, other, SET_8) ?: pktmeta_delete(ctx, other))
#define move_hot(ctx, value) (pktmeta_set(ctx, hot_2, SET_4) ?: pktmeta_delete(ctx, hot_2))

/* Puts back the void that stands where hot_2 was not set: third of four, 5 bytes each. */
static __always_inline long forget_hot(struct xdp_md *ctx, __u64 *value)
{
	__u8 *record = RECORD(ctx), *tag = record + sizeof(struct pktmeta_header) + 2 * 5;

	(void)value;
	if ((void *)(tag + 1) > END(ctx))
		return -1;
	*tag = PKTMETA_SIZE_4 << PKTMETA_TAG_SIZE_SHIFT;
	return 0;
}

static __always_inline long set_hot_anew(struct xdp_md *ctx, __u64 *value)
{
	return forget_hot(ctx, value) ?: set_hot(ctx, value);
}

static __always_inline long create(struct xdp_md *ctx, __u64 *value)
{
	long err;

	(void)value;
	err = pktmeta_set(ctx, hot_0, HOT(0));
	err = err ?: pktmeta_set(ctx, hot_1, HOT(1));
	err = err ?: pktmeta_set(ctx, hot_2, SET_4);
	return err ?: pktmeta_set(ctx, hot_3, HOT(3));
}

XDP_OPERATION(get_hot, get_hot, HOT(2))
XDP_OPERATION(set_hot, set_hot, 0)
XDP_OPERATION(forget_hot, forget_hot, 0)
XDP_OPERATION(set_hot_anew, set_hot_anew, 0)
XDP_OPERATION(get_first, get_first, COLD(0))
XDP_OPERATION(get_last, get_last, COLD(7))
XDP_OPERATION(get_mixed, get_mixed, COLD(7))
XDP_OPERATION(get_absent, get_absent, 0)
XDP_OPERATION(set_last, set_last, 0)
XDP_OPERATION(move, move, 0)
XDP_OPERATION(move_hot, move_hot, 0)
XDP_CREATION(create, create)
TC_OPERATION(get_hot, get_hot, nothing, HOT(2))
TC_OPERATION(get_last, get_last, nothing, COLD(7))
TC_OPERATION(set_hot, set_hot, get_hot, SET_4)

char LICENSE[] SEC("license") = "GPL";
