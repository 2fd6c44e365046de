// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A program at egress that asks for both: what the packet came with, and what was said of it. */
#include <pktmeta/sent.bpf.h>
#include "seen.h"

PKTMETA_FIELD(trace, __u64);

/* Packets by what pktmeta_get_sent() gave, and -ENODATA for those of which nobody said anything. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __s64);
	__type(value, __u64);
} said SEC(".maps");

SEC("tcx/egress")
int at_egress(struct __sk_buff *ctx)
{
	const unsigned char *network = pktmeta_skb_packet(ctx)->head;
	__u64 none = 0, trace, *packets;
	__u32 tenant = 1, owner = 0;
	long err;
	__s64 key;

	network += pktmeta_skb_packet(ctx)->network_header;
	if (ctx->protocol == 0x0008) /* IPv4, in the order of the network */
		owner = tenant_of(pktmeta_peek(network + 12) >> 24);
	else if (ctx->protocol == 0xdd86) /* IPv6 */
		owner = tenant_of(pktmeta_peek(network + 16) >> 56);
	else
		return TCX_NEXT;
	err = pktmeta_get(ctx, tenant, &tenant);
	count(egress, owner, err, tenant, pktmeta_has_record(ctx));
	key = pktmeta_get_sent(ctx, trace, &trace) ?: (long)trace;
	bpf_map_update_elem(&said, &key, &none, BPF_NOEXIST);
	packets = bpf_map_lookup_elem(&said, &key);
	if (packets)
		__sync_fetch_and_add(packets, 1);
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
