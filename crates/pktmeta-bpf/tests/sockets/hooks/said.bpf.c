// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Programs where there is no packet. Each counts what was said of what its socket sends. */
#include <pktmeta/sent.bpf.h>

PKTMETA_FIELD(trace, __u64);

struct heard {
	__u64 hook;
	__s64 said; /* the value, or the error */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct heard);
	__type(value, __u64);
} heard SEC(".maps");

#define HEAR(number, ctx)                                                                          \
	({                                                                                         \
		struct heard key = { .hook = number };                                             \
		__u64 once = 1, trace;                                                             \
                                                                                                   \
		key.said = pktmeta_get_sent(ctx, trace, &trace) ?: (long)trace;                    \
		bpf_map_update_elem(&heard, &key, &once, BPF_ANY);                                 \
	})

#define HOOK(section, context, number, name, verdict)                                              \
	SEC(section) int name(context *ctx)                                                        \
	{                                                                                          \
		HEAR(number, ctx);                                                                 \
		return verdict;                                                                    \
	}

HOOK("cgroup/connect4", struct bpf_sock_addr, 0, at_connect4, 1)
HOOK("cgroup/connect6", struct bpf_sock_addr, 1, at_connect6, 1)
HOOK("cgroup/sendmsg4", struct bpf_sock_addr, 2, at_sendmsg4, 1)
HOOK("cgroup/sendmsg6", struct bpf_sock_addr, 3, at_sendmsg6, 1)
HOOK("sk_msg", struct sk_msg_md, 5, at_sk_msg, SK_PASS)

SEC("sockops")
int at_sockops(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		HEAR(4, ctx);
	return 1;
}

/* Options of others than pktmeta's program, which answers those at its level. */
SEC("cgroup/getsockopt")
int at_getsockopt(struct bpf_sockopt *ctx)
{
	if (ctx->level == 1)
		HEAR(6, ctx);
	return 1;
}

SEC("cgroup/setsockopt")
int at_setsockopt(struct bpf_sockopt *ctx)
{
	if (ctx->level == 1)
		HEAR(7, ctx);
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
