/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the cgroup_skb program and its loader (mod.rs). */
#ifndef PKTMETA_CGROUP_SKB_INGRESS_H
#define PKTMETA_CGROUP_SKB_INGRESS_H

#include <pktmeta/abi.h>

struct pktmeta_deliver_counters {
	__u64 datagrams;	/* that got a ticket for their record */
	__u64 datagrams_absent; /* without a record, for a socket that wants tickets */
	__u64 segments;		/* whose record the connection keeps */
	__u64 segments_absent;	/* without a record */
	__u64 syns;		/* whose record waits for the connection */
	__u64 syns_absent;	/* without a record */
	__u64 segments_unkept;	/* whose record could not be kept for lack of memory */
};

#endif
