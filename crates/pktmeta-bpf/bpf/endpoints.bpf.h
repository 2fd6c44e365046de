/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The two ends of a socket or packet. endpoints.rs has the same structure in Rust. */
#ifndef PKTMETA_ENDPOINTS_BPF_H
#define PKTMETA_ENDPOINTS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "defs.bpf.h"

/* IPv4 addresses are mapped ones: ::ffff:a.b.c.d. */
struct pktmeta_endpoints {
	__be32 local_address[4];
	__be32 remote_address[4];
	__be16 local_port;
	__be16 remote_port;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr___endpoints {
	struct {
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common___endpoints {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	struct in6_addr___endpoints skc_v6_daddr;
	struct in6_addr___endpoints skc_v6_rcv_saddr;
};

struct sock___endpoints {
	struct sock_common___endpoints __sk_common;
};

#pragma clang attribute pop

/* Sets an address to the one that stands for an IPv4 address (RFC 4291, 2.5.5.2). */
static __always_inline void set_ipv4(__be32 *address, __be32 ipv4)
{
	address[0] = 0;
	address[1] = 0;
	address[2] = bpf_htonl(0xffff);
	address[3] = ipv4;
}

/* The ends of a socket. The remote end is zero if the socket has no peer. */
static __always_inline void socket_endpoints(struct pktmeta_endpoints *ends, void *sk)
{
	struct sock_common___endpoints *common = &((struct sock___endpoints *)sk)->__sk_common;

	ends->local_port = bpf_htons(common->skc_num);
	ends->remote_port = common->skc_dport;
	if (common->skc_family == AF_INET) {
		set_ipv4(ends->local_address, common->skc_rcv_saddr);
		set_ipv4(ends->remote_address, common->skc_daddr);
	} else {
		bpf_probe_read_kernel(ends->local_address, sizeof(ends->local_address),
				      &common->skc_v6_rcv_saddr);
		bpf_probe_read_kernel(ends->remote_address, sizeof(ends->remote_address),
				      &common->skc_v6_daddr);
	}
}

/*
 * The ends of a packet that arrives: its source is the remote one. Returns 0, or -1 if the packet's
 * addresses cannot be read.
 */
static __always_inline int packet_endpoints(struct pktmeta_endpoints *ends, struct __sk_buff *skb,
					    const struct pktmeta_ports *ports)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	ends->local_port = ports->destination;
	ends->remote_port = ports->source;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct pktmeta_ipv4_header *ip = data;

		if ((void *)(ip + 1) > end)
			return -1;
		set_ipv4(ends->remote_address, ip->source);
		set_ipv4(ends->local_address, ip->destination);
	} else {
		struct pktmeta_ipv6_header *ip = data;

		if ((void *)(ip + 1) > end)
			return -1;
		__builtin_memcpy(ends->remote_address, ip->source, sizeof(ip->source));
		__builtin_memcpy(ends->local_address, ip->destination, sizeof(ip->destination));
	}
	return 0;
}

#endif
