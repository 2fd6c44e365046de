/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the sockops program and its loader (mod.rs) share. */
#ifndef PKTMETA_ESTABLISH_H
#define PKTMETA_ESTABLISH_H

#include <pktmeta/abi.h>

struct pktmeta_establish_counters {
	__u64 opened; /* incoming connections that got their SYN's record */
	__u64 absent; /* incoming connections whose SYN's record is not known */
};

#endif
