// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Counts whose packets the kernel looks for the flow of. Alone in its object: see the reference. */
#include <pktmeta/pktmeta.bpf.h>

PKTMETA_FIELD(tenant, __u32);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

SEC("flow_dissector")
int count(struct __sk_buff *skb)
{
	__u64 *count;
	__u32 who;

	pktmeta_get(skb, tenant, &who); /* nobody's: 0 */
	count = bpf_map_lookup_elem(&packets, &who);
	if (count)
		++*count;
	return BPF_FLOW_DISSECTOR_CONTINUE; /* the kernel finds it */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
