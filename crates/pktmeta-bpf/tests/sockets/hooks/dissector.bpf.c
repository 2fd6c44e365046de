// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A flow dissector, which has no other program beside it. */
#include <pktmeta/pktmeta.bpf.h>
#include "seen.h"

SEC("flow_dissector")
int at_flow_dissector(struct __sk_buff *ctx)
{
	__u32 at = ctx->flow_keys->nhoff, tenant = 1, owner = 0;
	__u8 first = 0, last = 0;
	long err;

	if (bpf_skb_load_bytes(ctx, at, &first, 1))
		return BPF_OK;
	if (!bpf_skb_load_bytes(ctx, at + (first >> 4 == 4 ? 15 : 23), &last, 1))
		owner = tenant_of(last);
	err = pktmeta_get(ctx, tenant, &tenant);
	count(flow_dissector, owner, err, tenant, pktmeta_has_record(ctx));
	return BPF_FLOW_DISSECTOR_CONTINUE;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
