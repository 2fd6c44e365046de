/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The flow map: a SYN's record, from the SYN's arrival, when there is no connection yet, to the
 * handshake's end, when there is.
 */
#ifndef PKTMETA_SYN_BPF_H
#define PKTMETA_SYN_BPF_H

#include "connection.bpf.h"

/*
 * Of the connection that a SYN asks for. IPv4 addresses as ::ffff:a.b.c.d. With the sequence number
 * it is this SYN's alone, so that a record whose connection never came about is nobody else's.
 */
struct flow {
	__u64 netns;
	__be32 remote_address[4];
	__be32 local_address[4];
	__be16 remote_port; /* from here on as at the start of the segment */
	__be16 local_port;
	__be32 sequence;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow);
	__type(value, struct record_buffer);
} syns SEC(".maps");

static __always_inline void flow_set_ipv4(__be32 *address, __be32 ipv4)
{
	address[0] = 0;
	address[1] = 0;
	address[2] = bpf_htonl(0xffff);
	address[3] = ipv4;
}

#endif
