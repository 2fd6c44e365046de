/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the programs that list sockets and their reader (sockets.rs). */
#ifndef PKTMETA_ITER_H
#define PKTMETA_ITER_H

#include "endpoints.bpf.h"

/*
 * A socket, and a process that has it open. The three records follow, with the lengths given here.
 */
struct pktmeta_socket {
	__u64 cookie;
	__u64 cgroup;
	__u32 netns; /* its inode */
	__u32 uid;
	__u32 pid; /* as the reader sees it; 0: no process */
	__u32 fd;
	char comm[16];
	struct pktmeta_endpoints ends;
	__u8 protocol;
	__u8 state;
	__u8 tickets; /* PKTMETA_TICKETS_* */
	__u8 opening_length;
	__u8 latest_length;
	__u8 sent_length;
	__u8 reserved[6];
};

#endif
