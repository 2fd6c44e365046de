// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Two programs of an author who knows a field's name, and nothing of its number or place. Older
 * loaders know no section "tcx/ingress"; what is in "tc" attaches to TCX all the same.
 */
#include <pktmeta/pktmeta.bpf.h>

PKTMETA_FIELD(tenant, __u32);

/* XDP: every packet that comes in here is tenant 7's. */
SEC("xdp")
int label(struct xdp_md *ctx)
{
	/* Better an unlabelled packet than none. */
	pktmeta_set(ctx, tenant, 7);
	return XDP_PASS;
}

/* TC: a tenant's packets get the tenant's number as their priority. */
SEC("tc")
int steer(struct __sk_buff *skb)
{
	__u32 tenant;

	if (!pktmeta_get(skb, tenant, &tenant))
		skb->priority = tenant;
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
