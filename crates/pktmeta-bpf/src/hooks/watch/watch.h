/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the programs that watch a cgroup and their loader (watch.rs). */
#ifndef PKTMETA_WATCH_H
#define PKTMETA_WATCH_H

#include "endpoints.bpf.h"
#include <pktmeta/abi.h>

#define WATCH_ACCEPTED 1
#define WATCH_CONNECTED 2
#define WATCH_DATAGRAM 3

struct pktmeta_watch_event {
	__u64 time; /* nanoseconds, CLOCK_MONOTONIC */
	__u64 cookie;
	struct pktmeta_endpoints ends;
	__u8 what;   /* WATCH_* */
	__u8 length; /* of the record; 0: no record */
	__u8 reserved[2];
	__u8 record[PKTMETA_RECORD_MAX];
};

struct pktmeta_watch_counters {
	__u64 events;
	__u64 lost; /* events for which the ring had no room */
};

#endif
