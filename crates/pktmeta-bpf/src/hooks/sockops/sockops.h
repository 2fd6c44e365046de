/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the sockops program and its loader (mod.rs). */
#ifndef PKTMETA_SOCKOPS_H
#define PKTMETA_SOCKOPS_H

#include <pktmeta/abi.h>

struct pktmeta_establish_counters {
	__u64 opened;	    /* connections that got the record of their SYN or SYN-ACK */
	__u64 absent;	    /* connections whose SYN or SYN-ACK had no record */
	__u64 unkept;	    /* connections whose records could not be kept for lack of memory */
	__u64 syns_unknown; /* connections whose SYN is no longer in the flow map */
};

#endif
