/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the setsockopt program and its loader (mod.rs). */
#ifndef PKTMETA_SETSOCKOPT_H
#define PKTMETA_SETSOCKOPT_H

#include <pktmeta/abi.h>

struct pktmeta_settle_counters {
	__u64 settled;	     /* calls that set something */
	__u64 not_permitted; /* calls of a user, or for a field, without permission */
	__u64 refused;	     /* calls that got another error */
};

#endif
