/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Socket storage: the records that a TCP connection keeps of its packets. */
#ifndef PKTMETA_CONNECTIONS_BPF_H
#define PKTMETA_CONNECTIONS_BPF_H

#include <pktmeta/socket.bpf.h>
#include "defs.bpf.h"

struct pktmeta_record_buffer {
	__u8 bytes[PKTMETA_RECORD_MAX];
} __attribute__((aligned(8)));

/*
 * A record without a valid header, such as zeros, stands for none. The bytes behind a record's
 * length may be those of an earlier, longer record. Softirqs write while applications read. A
 * version does the work of a lock: bpf_spin_lock() disables interrupts and enables them again,
 * which takes longer than all other work for a segment.
 */
struct pktmeta_connection {
	__u32 version;	   /* odd while somebody writes */
	__u32 has_history; /* 1: the socket may have an entry in pktmeta_histories */
	struct pktmeta_record_buffer opening;
	struct pktmeta_record_buffer latest;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pktmeta_connection);
} pktmeta_connections SEC(".maps");

/*
 * Returns 1 if connect(2) with AF_UNSPEC ended the socket's connection (tcp_disconnect), which no
 * hook is told. A connection that was closed otherwise still has a peer, and keeps its records.
 */
static __always_inline int was_disconnected(__u32 state, __be16 remote_port)
{
	return state == BPF_TCP_CLOSE && !remote_port;
}

/*
 * Begins to write. Returns 0, or -EAGAIN if another CPU still writes after some tries. That CPU has
 * a segment of the same connection at the same moment, so either record may count as the latest.
 * Exchanges are full barriers: no reader finds an even version beside a half-written record.
 */
static __always_inline int connection_begin(struct pktmeta_connection *connection)
{
	volatile __u32 *version = &connection->version;
	__u32 i;

	for (i = 0; i < 8; i++) {
		__u32 even = *version & ~1;

		if (__sync_val_compare_and_swap(version, even, even + 1) == even)
			return 0;
	}
	return -EAGAIN;
}

/* Ends a write. */
static __always_inline void connection_end(struct pktmeta_connection *connection)
{
	__sync_lock_test_and_set(&connection->version, connection->version + 1);
}

struct pktmeta_connection_reading {
	struct pktmeta_connection *connection;
	const struct pktmeta_record_buffer *from;
	struct pktmeta_record_buffer *to;
	int err;
};

/* Tries to read. Returns 1 if it worked. */
static int connection_try(__u32 turn __attribute__((unused)),
			  struct pktmeta_connection_reading *reading)
{
	__u32 *version = &reading->connection->version;
	__u32 before = __sync_fetch_and_add(version, 0);

	*reading->to = *reading->from;
	/* An addition of nothing is a full barrier where its result is used. */
	if (!(before & 1) && __sync_fetch_and_add(version, 0) == before)
		reading->err = 0;
	return !reading->err;
}

/*
 * Tries of a read, each of some ten nanoseconds: an interrupt on the writer's CPU takes less. More
 * tries would delay the socket's segments, because the reader holds the socket's lock.
 */
#define CONNECTION_TRIES (1 << 12)

/*
 * Copies one of a connection's two records. A write takes nanoseconds, unless an interrupt or the
 * host of a virtual machine takes the CPU from the writer. Returns 0; or, after CONNECTION_TRIES,
 * -EAGAIN, and the copy is no record.
 */
static __always_inline int connection_read(struct pktmeta_connection *connection,
					   const struct pktmeta_record_buffer *from,
					   struct pktmeta_record_buffer *to)
{
	struct pktmeta_connection_reading reading = {
		.connection = connection,
		.from = from,
		.to = to,
		.err = -EAGAIN,
	};

	bpf_loop(CONNECTION_TRIES, connection_try, &reading, 0);
	if (reading.err)
		*(__u32 *)to->bytes = 0;
	return reading.err;
}

/* Copies the record at a place to zeroed memory. Returns 0, or -ENODATA if there is none. */
static __always_inline long copy_record(struct pktmeta_record_buffer *to,
					struct pktmeta_place place)
{
	if (!place.length)
		return -ENODATA;
	pktmeta_read_record(place, (__u64 *)to->bytes);
	return 0;
}

#endif
