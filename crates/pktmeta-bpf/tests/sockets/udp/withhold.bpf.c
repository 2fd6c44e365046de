// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Refuses SO_RCVMARK to every socket of a cgroup, as kernels do that want a capability for it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SOL_SOCKET 1
#define SO_RCVMARK 75

SEC("cgroup/setsockopt")
int withhold(struct bpf_sockopt *ctx)
{
	return ctx->level != SOL_SOCKET || ctx->optname != SO_RCVMARK; /* 0 is EPERM */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
