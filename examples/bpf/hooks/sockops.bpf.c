// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What a server answers on a connection has the tenant's number as its priority. */
#include <pktmeta/pktmeta.bpf.h>

#define SOL_SOCKET 1
#define SO_PRIORITY 12

PKTMETA_FIELD(tenant, __u32);

SEC("sockops")
int prioritize(struct bpf_sock_ops *connection)
{
	__u32 who;

	if (connection->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB &&
	    !pktmeta_get(connection, tenant, &who))
		bpf_setsockopt(connection, SOL_SOCKET, SO_PRIORITY, &who, sizeof(who));
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
