/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Of which kind a socket is. */
#ifndef PKTMETA_SOCKET_KIND_BPF_H
#define PKTMETA_SOCKET_KIND_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

/* Bits, so that an option can say which kinds it is for. */
enum socket_kind {
	TCP_SOCKET = 1,
	UDP_SOCKET = 2,
	OTHER_SOCKET = 4,
};

#define ANY_SOCKET (TCP_SOCKET | UDP_SOCKET | OTHER_SOCKET)

/*
 * A protocol number is not a kind: raw sockets have any that their owner likes (inet_create), and
 * each family has numbers of its own. Only of a TCP_SOCKET is the memory behind the struct sock a
 * struct tcp_sock.
 */
static __always_inline enum socket_kind socket_kind(__u32 family, __u32 type, __u32 protocol)
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
