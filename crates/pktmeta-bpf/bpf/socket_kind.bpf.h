/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The kinds of sockets that the datapath tells apart. */
#ifndef PKTMETA_SOCKET_KIND_BPF_H
#define PKTMETA_SOCKET_KIND_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "defs.bpf.h"

/* Bits: an option can be for several kinds. */
enum pktmeta_socket_kind {
	TCP_SOCKET = 1,
	UDP_SOCKET = 2,
	OTHER_SOCKET = 4,
};

#define ANY_SOCKET (TCP_SOCKET | UDP_SOCKET | OTHER_SOCKET)

/*
 * A protocol number alone does not say the kind: a raw socket has any number that its owner chooses
 * (inet_create), and each family has numbers of its own. Only a TCP_SOCKET is a struct tcp_sock in
 * memory.
 */
static __always_inline enum pktmeta_socket_kind socket_kind(__u32 family, __u32 type,
							    __u32 protocol)
{
	if (family != AF_INET && family != AF_INET6)
		return OTHER_SOCKET;
	if (type == SOCK_STREAM && protocol == IPPROTO_TCP)
		return TCP_SOCKET;
	if (type == SOCK_DGRAM && protocol == IPPROTO_UDP)
		return UDP_SOCKET;
	return OTHER_SOCKET;
}

#endif
