// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A socket filter: this socket receives what is tenant 7's. */
#include <pktmeta/pktmeta.bpf.h>

PKTMETA_FIELD(tenant, __u32);

SEC("socket")
int one_tenant(struct __sk_buff *skb)
{
	__u32 who;

	return !pktmeta_get(skb, tenant, &who) && who == 7 ? skb->len : 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
