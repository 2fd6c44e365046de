/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A connection as its SYN names it, and as the socket does that was accepted for it. */
#ifndef PKTMETA_FLOW_BPF_H
#define PKTMETA_FLOW_BPF_H

#include "endpoints.bpf.h"

/*
 * With the sequence number it is one SYN's alone, so that a record whose connection never came
 * about is nobody else's.
 */
struct flow {
	__u64 netns;
	struct endpoints ends;
	__be32 sequence;
};

/* That of a SYN which arrives at a listener, or a socket that connects: 0 if it could be read. */
static __always_inline int flow_of_syn(struct flow *flow, struct __sk_buff *skb,
				       struct sock___pktmeta *sk, const struct tcp_header *tcp)
{
	flow->netns = sk->__sk_common.skc_net.net->net_cookie;
	flow->sequence = tcp->sequence;
	return packet_endpoints(&flow->ends, skb, &tcp->ports);
}

/* That of a socket whose handshake has just ended. */
static __always_inline void flow_of_connection(struct flow *flow, struct bpf_sock_ops *ops)
{
	struct bpf_sock_ops_kern___pktmeta *kernel_ops = bpf_cast_to_kern_ctx(ops);

	flow->netns = kernel_ops->sk->__sk_common.skc_net.net->net_cookie;
	socket_endpoints(&flow->ends, kernel_ops->sk);
	/* Nothing behind the SYN has been received (tcp_create_openreq_child). */
	flow->sequence = bpf_htonl(ops->rcv_nxt - 1);
}

#endif
