// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Owner edge writes tenant, its own, and reads zone: all it knows of that is a line in dns.toml.
 *
 * TC programs are in section "tc" here: tools of before TCX know it, and what is in it attaches to
 * TCX all the same.
 */
#include <pktmeta/pktmeta.bpf.h>
#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/ip.h>

PKTMETA_FIELD(tenant, __u32);
PKTMETA_FIELD(zone, __u16);

/* XDP: what comes from 192.0.2.0/24 is tenant 7's. */
SEC("xdp")
int edge_label(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	/* Better an unlabelled packet than none: what this returns is not looked at. */
	if ((ip->saddr & bpf_htonl(0xffffff00)) == bpf_htonl(0xc0000200))
		pktmeta_set(ctx, tenant, 7);
	return XDP_PASS;
}

/* TC, behind dns_zone: a packet's zone is its priority. */
SEC("tc")
int edge_route(struct __sk_buff *skb)
{
	__u16 zone;

	if (!pktmeta_get(skb, zone, &zone))
		skb->priority = zone;
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
