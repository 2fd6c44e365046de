// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Of the streams in a sockmap, what does not come from tenant 7 is dropped before it is read. */
#include <pktmeta/pktmeta.bpf.h>

PKTMETA_FIELD(tenant, __u32);

SEC("sk_skb/stream_verdict")
int one_tenant(struct __sk_buff *skb)
{
	__u32 who;

	return !pktmeta_get(skb, tenant, &who) && who == 7 ? SK_PASS : SK_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
