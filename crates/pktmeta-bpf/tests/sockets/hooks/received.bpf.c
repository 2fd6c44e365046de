// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Programs at every hook that has received packets. Each counts them by whose they are, which the
 * source address says, and by what pktmeta_get() says.
 */
#include <pktmeta/pktmeta.bpf.h>
#include "seen.h"

/* Whose a packet is. */
static __always_inline __u32 owner_of(struct sk_buff___pktmeta *skb)
{
	const unsigned char *network = skb->head + skb->network_header;
	__u64 first = pktmeta_peek(network);

	switch (first >> 4 & 0xf) {
	case 4:
		return tenant_of(pktmeta_peek(network + 12) >> 24);
	case 6:
		return tenant_of(pktmeta_peek(network + 16) >> 56);
	}
	return 0;
}

#define COUNT(hook, ctx, packet)                                                                   \
	({                                                                                         \
		__u32 tenant = 1;                                                                  \
		long err = pktmeta_get(ctx, tenant, &tenant);                                      \
                                                                                                   \
		count(hook, owner_of(packet), err, tenant, pktmeta_has_record(ctx));               \
	})

#define HOOK(section, context, hook, packet, verdict)                                              \
	SEC(section) int at_##hook(context *ctx)                                                   \
	{                                                                                          \
		COUNT(hook, ctx, packet(ctx));                                                     \
		return verdict;                                                                    \
	}

HOOK("tc", struct __sk_buff, tc_ingress, pktmeta_skb_packet, TCX_NEXT)
HOOK("tc", struct __sk_buff, tc_egress, pktmeta_skb_packet, TCX_NEXT)
HOOK("cgroup_skb/egress", struct __sk_buff, cgroup_egress, pktmeta_skb_packet, 1)
HOOK("socket", struct __sk_buff, socket_filter, pktmeta_skb_packet, ctx->len)
HOOK("lwt_in", struct __sk_buff, lwt_in, pktmeta_skb_packet, BPF_OK)
HOOK("lwt_out", struct __sk_buff, lwt_out, pktmeta_skb_packet, BPF_OK)
HOOK("lwt_xmit", struct __sk_buff, lwt_xmit, pktmeta_skb_packet, BPF_OK)
HOOK("sk_skb/stream_parser", struct __sk_buff, sk_skb_parser, pktmeta_skb_packet, ctx->len)
HOOK("sk_skb/stream_verdict", struct __sk_buff, sk_skb_verdict, pktmeta_skb_packet, SK_PASS)
HOOK("sk_reuseport", struct sk_reuseport_md, sk_reuseport, pktmeta_sk_reuseport_packet, SK_PASS)
HOOK("netfilter", struct bpf_nf_ctx, netfilter, pktmeta_netfilter_packet, 1)
HOOK("netfilter", struct bpf_nf_ctx, netfilter_forward, pktmeta_netfilter_packet, 1)

/* The record of the last packet at cgroup_skb/ingress; zeros if it had none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_copy);
} last SEC(".maps");

SEC("cgroup_skb/ingress")
int at_cgroup_ingress(struct __sk_buff *ctx)
{
	struct pktmeta_place place = pktmeta_find_record(pktmeta_skb_packet(ctx));
	__u32 zero = 0;
	struct pktmeta_copy *copy = bpf_map_lookup_elem(&last, &zero);

	COUNT(cgroup_ingress, ctx, pktmeta_skb_packet(ctx));
	if (copy)
		*(__u32 *)copy = 0;
	if (copy && place.length)
		pktmeta_read_record(place, (__u64 *)copy);
	return 1;
}

/* The segment that ended a handshake, at the server. */
SEC("sockops")
int at_sockops(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		COUNT(sockops, ctx, pktmeta_sockops_packet(ctx));
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
