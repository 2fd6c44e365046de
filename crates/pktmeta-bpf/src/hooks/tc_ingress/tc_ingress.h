/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the TC program and its loader (mod.rs) share. */
#ifndef PKTMETA_TC_INGRESS_H
#define PKTMETA_TC_INGRESS_H

#include <pktmeta/abi.h>

struct pktmeta_tc_counters {
	__u64 packets;	 /* seen */
	__u64 records;	 /* came with a record */
	__u64 labelled;	 /* have TC's fields */
	__u64 absent;	 /* came without metadata */
	__u64 foreign;	 /* came with somebody else's metadata */
	__u64 read_only; /* the packet was shared, with tcpdump for one, and could not be changed */
	__u64 no_room;	 /* a field did not fit the area */
};

#endif
