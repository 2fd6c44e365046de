/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Finds the transport header of a packet that arrives at a socket, for cgroup_skb programs. */
#ifndef PKTMETA_TRANSPORT_BPF_H
#define PKTMETA_TRANSPORT_BPF_H

#include <pktmeta/socket.bpf.h>
#include "defs.bpf.h"

/* The most bytes of headers in front of it; the verifier wants a bound. */
#define TRANSPORT_OFFSET_MAX 0x7fff

/* Returns its offset from skb->data, which is the network header in these programs. */
static __always_inline __u32 transport_offset(struct sk_buff___pktmeta *kernel_skb)
{
	return kernel_skb->transport_header - kernel_skb->network_header;
}

/*
 * Returns the header, of which so many bytes are needed, or NULL if they are not in the packet's
 * linear part. The bytes that the protocol has read are there (pskb_may_pull).
 */
static __always_inline void *transport_header(struct __sk_buff *skb,
					      struct sk_buff___pktmeta *kernel_skb, __u32 bytes)
{
	void *header = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 offset = transport_offset(kernel_skb);

	barrier_var(offset);
	if (offset > TRANSPORT_OFFSET_MAX)
		return NULL;
	header += offset;
	return header + bytes <= end ? header : NULL;
}

#endif
