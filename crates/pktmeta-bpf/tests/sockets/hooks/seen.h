/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What programs at hooks saw, for BPF programs and, as numbers in this order, for the test. */
#ifndef SEEN_H
#define SEEN_H

enum hook {
	tc_ingress,
	tc_egress,
	cgroup_ingress,
	cgroup_egress,
	socket_filter,
	lwt_in,
	lwt_out,
	lwt_xmit,
	sk_skb_parser,
	sk_skb_verdict,
	sk_reuseport,
	netfilter,
	netfilter_forward,
	sockops,
	flow_dissector,
	egress,
};

struct sight {
	__u32 hook;
	__u32 owner; /* tenant whose packet it is; 0: nobody's */
	__s32 err;   /* of pktmeta_get() */
	__u32 value; /* what it gave */
	__u32 has_record;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct sight);
	__type(value, __u64);
} seen SEC(".maps");

PKTMETA_FIELD(tenant, __u32);

/* Tenants are the client's addresses with this last byte, less 100. */
static __always_inline __u32 tenant_of(__u8 last)
{
	return last > 100 && last <= 108 ? last - 100 : 0;
}

static __always_inline void count(__u32 hook, __u32 owner, long err, __u32 value, int has_record)
{
	struct sight sight = {
		.hook = hook,
		.owner = owner,
		.err = err,
		.value = value,
		.has_record = has_record,
	};
	__u64 none = 0, *packets;

	bpf_map_update_elem(&seen, &sight, &none, BPF_NOEXIST);
	packets = bpf_map_lookup_elem(&seen, &sight);
	if (packets)
		__sync_fetch_and_add(packets, 1);
}

#endif
