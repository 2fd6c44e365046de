/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The transport header of a packet that arrives at a socket, for cgroup_skb programs. */
#ifndef PKTMETA_TRANSPORT_BPF_H
#define PKTMETA_TRANSPORT_BPF_H

#include <pktmeta/socket.bpf.h>

#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10

/* UDP's begins with the ports too. */
struct ports {
	__be16 remote;
	__be16 local;
};

/* How TCP's begins. */
struct tcp_header {
	struct ports ports;
	__be32 sequence;
	__be32 acknowledgment;
	__u8 data_offset; /* in 32-bit words, in the high half */
	__u8 flags;
};

/* Where it starts: skb->data is the network header in these programs. */
static __always_inline __u32 transport_offset(struct sk_buff___pktmeta *kernel_skb)
{
	return kernel_skb->transport_header - kernel_skb->network_header;
}

/*
 * The first bytes of it; NULL if they are not at hand, which those that the protocol has looked at
 * are (pskb_may_pull).
 */
static __always_inline void *transport_header(struct __sk_buff *skb,
					      struct sk_buff___pktmeta *kernel_skb, __u32 bytes)
{
	void *header = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 offset = transport_offset(kernel_skb);

	barrier_var(offset);
	if (offset > 0x7fff) /* the verifier wants a bound */
		return (void *)0;
	header += offset;
	return header + bytes <= end ? header : (void *)0;
}

#endif
