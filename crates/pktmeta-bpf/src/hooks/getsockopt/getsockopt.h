/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the getsockopt program and its loader (mod.rs) share. */
#ifndef PKTMETA_GETSOCKOPT_H
#define PKTMETA_GETSOCKOPT_H

#include <pktmeta/abi.h>

struct pktmeta_answer_counters {
	__u64 answered; /* questions of applications */
	__u64 refused;	/* the same, for which there was no record or another error */
};

#endif
