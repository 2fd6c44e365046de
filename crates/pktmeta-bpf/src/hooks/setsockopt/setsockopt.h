/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the setsockopt program and its loader (mod.rs) share. */
#ifndef PKTMETA_SETSOCKOPT_H
#define PKTMETA_SETSOCKOPT_H

#include <pktmeta/abi.h>

struct pktmeta_settle_counters {
	__u64 settled;	     /* what applications set */
	__u64 not_permitted; /* a field or a user that may not */
	__u64 refused;	     /* other errors */
};

#endif
