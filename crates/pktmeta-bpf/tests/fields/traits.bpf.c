// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Traits: what each call says, at XDP, and at TC, where there is no record. */
#include <pktmeta/traits.bpf.h>

PKTMETA_TRAIT(0);
PKTMETA_TRAIT(7); /* in no schema */
PKTMETA_TRAIT(63);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __s64);
} answers SEC(".maps");

#define SAY(answer)                                                                                \
	({                                                                                         \
		__s64 __answer = (answer);                                                         \
		bpf_map_update_elem(&answers, &at, &__answer, BPF_ANY);                            \
		at++;                                                                              \
	})

SEC("xdp")
int traits_xdp(struct xdp_md *ctx)
{
	__u64 long_value = 0x1122334455667788, read = 0;
	__u8 longest[16] = { 9 }, short_buffer[4];
	__u32 value = 42, at = 0;

	SAY(pktmeta_trait_get(ctx, 0, &read, sizeof(read)));
	SAY(pktmeta_trait_set(ctx, 0, &value, sizeof(value), 1));
	SAY(pktmeta_trait_set(ctx, 0, longest, 3, 0));
	SAY(pktmeta_trait_set(ctx, 0, &value, sizeof(value), 0));
	SAY(pktmeta_trait_set(ctx, 0, &long_value, sizeof(long_value), 0));
	SAY(pktmeta_trait_get(ctx, 0, &read, sizeof(read)));
	SAY(read);
	SAY(pktmeta_trait_set(ctx, 63, longest, sizeof(longest), 0));
	SAY(pktmeta_trait_get(ctx, 63, short_buffer, sizeof(short_buffer)));
	SAY(pktmeta_trait_is_set(ctx, 63));
	SAY(pktmeta_trait_del(ctx, 63));
	SAY(pktmeta_trait_del(ctx, 63));
	SAY(pktmeta_trait_is_set(ctx, 63));
	SAY(pktmeta_trait_set(ctx, 63, &value, 0, 0));
	SAY(pktmeta_trait_is_set(ctx, 63));
	SAY(pktmeta_trait_set(ctx, 7, &value, sizeof(value), 0));
	SAY(pktmeta_trait_get(ctx, 7, &read, sizeof(read)));
	return XDP_PASS;
}

SEC("tc")
int traits_tc(struct __sk_buff *skb)
{
	__u32 value = 42, at = 0;

	SAY(pktmeta_trait_set(skb, 0, &value, sizeof(value), 0));
	SAY(pktmeta_trait_get(skb, 0, &value, sizeof(value)));
	SAY(pktmeta_trait_del(skb, 0));
	SAY(pktmeta_trait_is_set(skb, 0));
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
