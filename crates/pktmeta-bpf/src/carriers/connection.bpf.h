/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Socket storage: what a TCP connection keeps of its packets' records, and what a UDP socket asked
 * for.
 */
#ifndef PKTMETA_CONNECTION_BPF_H
#define PKTMETA_CONNECTION_BPF_H

#include <pktmeta/socket.bpf.h>

struct record_buffer {
	__u8 bytes[PKTMETA_RECORD_MAX];
} __attribute__((aligned(8)));

/* A record whose header is not one, such as zeros, stands for none. */
struct connection {
	struct bpf_spin_lock lock; /* softirq writes while applications read */
	struct record_buffer opening;
	struct record_buffer latest;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct connection);
} connections SEC(".maps");

/* Copies the record at place to zeroed memory; 0 if there is one. */
static __always_inline long copy_record(struct record_buffer *to, struct pktmeta_place place)
{
	if (!place.length)
		return -PKTMETA_ENODATA;
	pktmeta_read_record(place, (__u64 *)to->bytes);
	return 0;
}

#endif
