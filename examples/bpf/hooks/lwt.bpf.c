// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A route whose packets get the tenant's number as their priority, from which a queue is chosen. */
#include <pktmeta/pktmeta.bpf.h>

PKTMETA_FIELD(tenant, __u32);

SEC("lwt_xmit")
int prioritize(struct __sk_buff *skb)
{
	__u32 who;

	if (!pktmeta_get(skb, tenant, &who))
		skb->priority = who;
	return BPF_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
