/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the TC program and its loader (mod.rs). */
#ifndef PKTMETA_TC_INGRESS_H
#define PKTMETA_TC_INGRESS_H

#include <pktmeta/abi.h>

struct pktmeta_tc_counters {
	__u64 packets;	 /* seen */
	__u64 records;	 /* came with a record */
	__u64 labelled;	 /* got the fields of TC */
	__u64 absent;	 /* came without metadata */
	__u64 foreign;	 /* came with metadata that no seal proves */
	__u64 read_only; /* were shared, with tcpdump for example, and could not be changed */
	__u64 no_room;	 /* had no room for a field in the area */
};

#endif
