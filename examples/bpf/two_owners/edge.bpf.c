// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Owner edge writes tenant, its own, and reads zone: all it knows of that is a line in dns.toml.
 *
 * TC programs are in section "tc" here: tools of before TCX know it, and what is in it attaches to
 * TCX all the same.
 */
#include <pktmeta/pktmeta.bpf.h>

PKTMETA_FIELD(tenant, __u32);
PKTMETA_FIELD(zone, __u16);

/* XDP: every packet that comes in here is tenant 7's. */
SEC("xdp")
int edge_label(struct xdp_md *ctx)
{
	/* Better an unlabelled packet than none. */
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
