// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Two programs of an author who knows a field's name, and nothing of its number or place. */
#include <pktmeta/pktmeta.bpf.h>

PKTMETA_FIELD(tenant, __u32);

/* XDP: every packet that comes in here is tenant 7's. */
SEC("xdp")
int label(struct xdp_md *ctx)
{
	return pktmeta_set(ctx, tenant, 7) ? XDP_ABORTED : XDP_PASS;
}

/* TC: a tenant's packets get the tenant's number as their priority. */
SEC("tcx/ingress")
int steer(struct __sk_buff *skb)
{
	__u32 tenant;

	if (!pktmeta_get(skb, tenant, &tenant))
		skb->priority = tenant;
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
