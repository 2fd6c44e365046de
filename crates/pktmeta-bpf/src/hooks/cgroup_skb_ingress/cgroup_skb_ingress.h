/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the cgroup_skb program and its loader (mod.rs) share. */
#ifndef PKTMETA_CGROUP_SKB_INGRESS_H
#define PKTMETA_CGROUP_SKB_INGRESS_H

#include <pktmeta/abi.h>

struct pktmeta_deliver_counters {
	__u64 datagrams;	/* got a ticket */
	__u64 datagrams_absent; /* for a socket that wants tickets, but without a record */
	__u64 segments;		/* of connections, whose record was kept */
	__u64 segments_absent;	/* without a record */
	__u64 syns;		/* whose record waits for the connection */
	__u64 syns_absent;	/* without a record */
	__u64 segments_unkept;	/* whose record there was no memory for */
};

#endif
