/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Names a connection: by its SYN, and later by the socket, in the same way. */
#ifndef PKTMETA_FLOW_BPF_H
#define PKTMETA_FLOW_BPF_H

#include <pktmeta/socket.bpf.h>
#include "endpoints.bpf.h"

/*
 * The sequence number is the SYN's. Without it, a record that waits for a connection that never
 * came about would go to a later connection with the same ends.
 */
struct pktmeta_flow {
	__u64 netns;
	struct pktmeta_endpoints ends;
	__be32 sequence;
};

/* The flow of a SYN that arrives at a socket. Returns 0 if the SYN could be read. */
static __always_inline int flow_of_syn(struct pktmeta_flow *flow, struct __sk_buff *skb,
				       struct sock___pktmeta *sk,
				       const struct pktmeta_tcp_header *tcp)
{
	flow->netns = sk->__sk_common.skc_net.net->net_cookie;
	flow->sequence = tcp->sequence;
	return packet_endpoints(&flow->ends, skb, &tcp->ports);
}

/* The flow of a socket whose handshake has just ended. */
static __always_inline void flow_of_connection(struct pktmeta_flow *flow, struct bpf_sock_ops *ops)
{
	struct bpf_sock_ops_kern___pktmeta *kernel_ops = bpf_cast_to_kern_ctx(ops);

	flow->netns = kernel_ops->sk->__sk_common.skc_net.net->net_cookie;
	socket_endpoints(&flow->ends, kernel_ops->sk);
	/* The socket has received the SYN and nothing behind it (tcp_create_openreq_child). */
	flow->sequence = bpf_htonl(ops->rcv_nxt - 1);
}

#endif
