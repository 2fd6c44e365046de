// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Sockets of this cgroup receive what is tenant 7's, or nobody's. */
#include <pktmeta/pktmeta.bpf.h>

PKTMETA_FIELD(tenant, __u32);

SEC("cgroup_skb/ingress")
int only_own(struct __sk_buff *skb)
{
	__u32 who;

	return pktmeta_get(skb, tenant, &who) || who == 7;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
