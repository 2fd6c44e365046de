/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Both ends of a socket or packet, IPv4 addresses as ::ffff:a.b.c.d. The Rust side is endpoints.rs.
 */
#ifndef PKTMETA_ENDPOINTS_BPF_H
#define PKTMETA_ENDPOINTS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "socket_kind.bpf.h"
#include "transport.bpf.h"

#define ETH_P_IP 0x0800

struct endpoints {
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

static __always_inline void set_ipv4(__be32 *address, __be32 ipv4)
{
	address[0] = 0;
	address[1] = 0;
	address[2] = bpf_htonl(0xffff);
	address[3] = ipv4;
}

/* Of a socket; the remote end is zero if it has none. */
static __always_inline void socket_endpoints(struct endpoints *ends, void *sk)
{
	struct sock_common___endpoints *common = &((struct sock___endpoints *)sk)->__sk_common;

	ends->local_port = bpf_htons(common->skc_num);
	ends->remote_port = common->skc_dport;
	if (common->skc_family == AF_INET) {
		set_ipv4(ends->local_address, common->skc_rcv_saddr);
		set_ipv4(ends->remote_address, common->skc_daddr);
	} else {
		bpf_probe_read_kernel(ends->local_address, 16, &common->skc_v6_rcv_saddr);
		bpf_probe_read_kernel(ends->remote_address, 16, &common->skc_v6_daddr);
	}
}

/* Of a packet that arrives, whose ports are known: 0 if its addresses could be read. */
static __always_inline int packet_endpoints(struct endpoints *ends, struct __sk_buff *skb,
					    const struct ports *ports)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	ends->local_port = ports->local;
	ends->remote_port = ports->remote;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		__be32 *addresses = data + 12;

		if ((void *)(addresses + 2) > end)
			return -1;
		set_ipv4(ends->remote_address, addresses[0]);
		set_ipv4(ends->local_address, addresses[1]);
	} else {
		__be32 *addresses = data + 8;

		if ((void *)(addresses + 8) > end)
			return -1;
		__builtin_memcpy(ends->remote_address, addresses, 16);
		__builtin_memcpy(ends->local_address, addresses + 4, 16);
	}
	return 0;
}

#endif
