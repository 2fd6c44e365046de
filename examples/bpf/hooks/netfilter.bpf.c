// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A firewall's rule: what is tenant 7's passes, or nobody's. */
#include <pktmeta/pktmeta.bpf.h>

#define NF_DROP 0
#define NF_ACCEPT 1

PKTMETA_FIELD(tenant, __u32);

SEC("netfilter")
int admit(struct bpf_nf_ctx *packet)
{
	__u32 who;

	return pktmeta_get(packet, tenant, &who) || who == 7 ? NF_ACCEPT : NF_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
