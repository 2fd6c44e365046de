// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A worker for each tenant: of the sockets that share a port, the one with the tenant's number. */
#include <pktmeta/pktmeta.bpf.h>

PKTMETA_FIELD(tenant, __u32);

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} workers SEC(".maps");

SEC("sk_reuseport")
int choose_worker(struct sk_reuseport_md *packet)
{
	__u32 who;

	if (!pktmeta_get(packet, tenant, &who))
		bpf_sk_select_reuseport(packet, &workers, &who, 0);
	return SK_PASS; /* without a choice the kernel makes one */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
