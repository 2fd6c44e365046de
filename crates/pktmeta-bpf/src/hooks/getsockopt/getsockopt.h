/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the getsockopt program and its loader (mod.rs). */
#ifndef PKTMETA_GETSOCKOPT_H
#define PKTMETA_GETSOCKOPT_H

#include <pktmeta/abi.h>

struct pktmeta_answer_counters {
	__u64 answered; /* calls of applications */
	__u64 refused;	/* calls that got an error: there was no record, for example */
};

#endif
