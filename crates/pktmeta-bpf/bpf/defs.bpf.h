/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Numbers and headers of the kernel and of protocols, under the kernel's names if it has some. The
 * programs include no header of the building machine, which may be of another version or
 * architecture. A test (tests/defs.rs) compares all of this file with the headers of a machine.
 */
#ifndef PKTMETA_DEFS_BPF_H
#define PKTMETA_DEFS_BPF_H

#include <linux/types.h>

#define NULL ((void *)0)

/* errno.h */
#define EPERM 1
#define ENOENT 2
#define EAGAIN 11
#define EINVAL 22
#define ENOSPC 28
#define ENODATA 61
#define EMSGSIZE 90
#define EPROTOTYPE 91
#define ENOPROTOOPT 92
#define ENOBUFS 105
#define ESTALE 116

/* sys/socket.h and netinet/in.h */
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOL_SOCKET 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

/* linux/in6.h */
#define SOL_IPV6 41
#define IPV6_FLOWLABEL_MGR 32

/* linux/if_ether.h */
#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8

/* A VLAN tag: 2 bytes with the VLAN, 2 with the EtherType of what follows. */
#define VLAN_HLEN 4

/* struct iphdr of linux/ip.h, without options. */
struct pktmeta_ipv4_header {
	__u8 other[12]; /* the high half of the first byte is the version */
	__be32 source;
	__be32 destination;
};

/* struct ipv6hdr of linux/ipv6.h. */
struct pktmeta_ipv6_header {
	__u8 other[8]; /* the high half of the first byte is the version */
	__be32 source[4];
	__be32 destination[4];
};

/* How struct tcphdr of linux/tcp.h and struct udphdr of linux/udp.h begin. */
struct pktmeta_ports {
	__be16 source;
	__be16 destination;
};

/* How struct tcphdr of linux/tcp.h begins. */
struct pktmeta_tcp_header {
	struct pktmeta_ports ports;
	__be32 sequence;
	__be32 acknowledgment;
	__u8 data_offset; /* in 32-bit words, in the high half */
	__u8 flags;	  /* TCP_FLAG_* */
};

#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10

/* What a program at cgroup_skb returns to let a packet pass. */
#define CGROUP_SKB_PASS 1

#endif
