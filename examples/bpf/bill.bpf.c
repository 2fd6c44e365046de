// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What leaves is billed to the tenant that the application named, for the socket or for the single
 * datagram. The same function at both hooks: neither knows how the application said it.
 */
#include <pktmeta/sent.bpf.h>

PKTMETA_FIELD(tenant, __u32);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);   /* tenant */
	__type(value, __u64); /* bytes with their headers */
} bill SEC(".maps");

static __always_inline void bill_packet(struct __sk_buff *skb)
{
	__u64 none = 0, *bytes;
	__u32 tenant;

	if (pktmeta_get_sent(skb, tenant, &tenant))
		return;
	bpf_map_update_elem(&bill, &tenant, &none, BPF_NOEXIST);
	bytes = bpf_map_lookup_elem(&bill, &tenant);
	if (bytes)
		__sync_fetch_and_add(bytes, skb->len);
}

SEC("tcx/egress")
int bill_interface(struct __sk_buff *skb)
{
	bill_packet(skb);
	return TCX_NEXT;
}

SEC("cgroup_skb/egress")
int bill_cgroup(struct __sk_buff *skb)
{
	bill_packet(skb);
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
