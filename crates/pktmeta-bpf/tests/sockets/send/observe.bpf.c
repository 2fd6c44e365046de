// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Counts what leaves, by the trace that the application gave it; without a record by 0. */
#include <pktmeta/sent.bpf.h>
#include <bpf/bpf_endian.h>

PKTMETA_FIELD(trace, __u64);

struct seen {
	__u64 packets;
	__u64 bytes; /* with IP and transport headers */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct seen);
} seen SEC(".maps");

static __always_inline void observe(struct __sk_buff *skb, __u32 link_header)
{
	struct seen none = {}, *seen_of;
	__u8 protocol = 0;
	__u64 id = 0;

	/* Of IPv4 and IPv6; not what the kernel says to neighbours. */
	bpf_skb_load_bytes_relative(skb, skb->protocol == bpf_htons(0x0800) ? 9 : 6, &protocol, 1,
				    BPF_HDR_START_NET);
	if (protocol != 6 && protocol != 17)
		return;
	pktmeta_get_sent(skb, trace, &id);
	bpf_map_update_elem(&seen, &id, &none, BPF_NOEXIST);
	seen_of = bpf_map_lookup_elem(&seen, &id);
	if (!seen_of)
		return;
	__sync_fetch_and_add(&seen_of->packets, 1);
	__sync_fetch_and_add(&seen_of->bytes, skb->len - link_header);
}

SEC("tcx/egress")
int observe_interface(struct __sk_buff *skb)
{
	observe(skb, 14);
	return TCX_NEXT;
}

SEC("cgroup_skb/egress")
int observe_cgroup(struct __sk_buff *skb)
{
	observe(skb, 0);
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
