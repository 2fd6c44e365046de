// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT
/* One operation on one field, both out of a map, by an XDP and a TC program. */
#include <pktmeta/pktmeta.bpf.h>
#include "fields.h"

#define ETHERTYPE 0x88b5 /* for local experiments */
#define TCX_NEXT -1

enum operation {
	GET,
	SET,
	DELETE,
	COMPACT,
	HAS_RECORD,
};

/* What is to be done, and what came of it. */
struct exchange {
	__u32 operation;
	__u32 field;
	__s64 result;
	__u32 metadata_size;
	__u8 value[2 + PKTMETA_VALUE_MAX];
	__u8 metadata[PKTMETA_RECORD_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exchange);
} exchanges SEC(".maps");

/* A function for each field and hook: inline, their stacks would add up. */
#define OPERATE_ON(hook, context, name)                                                            \
	static __noinline long hook##_##name(context *ctx, struct exchange *exchange)              \
	{                                                                                          \
		pktmeta_value_of_##name value;                                                     \
		long result;                                                                       \
                                                                                                   \
		__builtin_memcpy(&value, exchange->value, sizeof(value));                          \
		if (exchange->operation == SET)                                                    \
			return pktmeta_set(ctx, name, value);                                      \
		if (exchange->operation == DELETE)                                                 \
			return pktmeta_delete(ctx, name);                                          \
		result = pktmeta_get(ctx, name, &value);                                           \
		__builtin_memcpy(exchange->value, &value, sizeof(value));                          \
		return result;                                                                     \
	}
#define XDP_ON(number, name) OPERATE_ON(xdp, struct xdp_md, name)
#define TC_ON(number, name) OPERATE_ON(tc, struct __sk_buff, name)

FIELDS(XDP_ON)
FIELDS(TC_ON)

#define XDP_CASE(number, name)                                                                     \
	case number:                                                                               \
		exchange->result = xdp_##name(ctx, exchange);                                      \
		break;
#define TC_CASE(number, name)                                                                      \
	case number:                                                                               \
		exchange->result = tc_##name(ctx, exchange);                                       \
		break;

#define OPERATE(ctx, exchange, CASE)                                                               \
	({                                                                                         \
		if (exchange->operation == COMPACT)                                                \
			exchange->result = pktmeta_compact(ctx);                                   \
		else if (exchange->operation == HAS_RECORD)                                        \
			exchange->result = pktmeta_has_record(ctx);                                \
		else                                                                               \
			switch (exchange->field) {                                                 \
				FIELDS(CASE)                                                       \
			}                                                                          \
	})

static __always_inline void copy_metadata(struct exchange *exchange, const void *from,
					  const void *end)
{
	__u32 i;

	for (i = 0; i < sizeof(exchange->metadata); i++) {
		const __u8 *byte = from + i;

		barrier_var(byte);
		if ((const void *)(byte + 1) > end)
			break;
		exchange->metadata[i] = *byte;
	}
	exchange->metadata_size = i;
}

SEC("xdp")
int operate_xdp(struct xdp_md *ctx)
{
	struct exchange *exchange;
	__u32 zero = 0;

	exchange = bpf_map_lookup_elem(&exchanges, &zero);
	if (!exchange)
		return XDP_ABORTED;
	OPERATE(ctx, exchange, XDP_CASE);
	copy_metadata(exchange, (void *)(long)ctx->data_meta, (void *)(long)ctx->data);
	return XDP_PASS;
}

/* Only on the test's own packets: the kernel sends some too. */
SEC("tc")
int operate_tc(struct __sk_buff *ctx)
{
	struct exchange *exchange;
	__u32 zero = 0;

	exchange = bpf_map_lookup_elem(&exchanges, &zero);
	if (!exchange || ctx->protocol != __builtin_bswap16(ETHERTYPE))
		return TCX_NEXT;
	OPERATE(ctx, exchange, TC_CASE);
	copy_metadata(exchange, (void *)(long)ctx->data_meta, (void *)(long)ctx->data);
	return TCX_NEXT;
}

SEC("xdp")
int pass(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
