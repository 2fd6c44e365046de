// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Owner dns reads edge's tenant, and writes zone, its own. */
#include <pktmeta/pktmeta.bpf.h>

PKTMETA_FIELD(tenant, __u32);
PKTMETA_FIELD(zone, __u16);

/* TC: each tenant has a zone; its packets get the tenant's number as their mark. */
SEC("tc")
int dns_zone(struct __sk_buff *skb)
{
	__u32 tenant;

	if (!pktmeta_get(skb, tenant, &tenant)) {
		skb->mark = tenant;
		pktmeta_set(skb, zone, 500 + tenant);
	}
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
