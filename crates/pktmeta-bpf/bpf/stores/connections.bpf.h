/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Socket storage: what a TCP connection keeps of its packets' records, and what a UDP socket asked
 * for.
 */
#ifndef PKTMETA_CONNECTIONS_BPF_H
#define PKTMETA_CONNECTIONS_BPF_H

#include <pktmeta/socket.bpf.h>

struct record_buffer {
	__u8 bytes[PKTMETA_RECORD_MAX];
} __attribute__((aligned(8)));

/*
 * A record whose header is not one, such as zeros, stands for none; behind its length stands what a
 * longer one left. Softirq writes while applications read. The version stands for a lock: a
 * bpf_spin_lock turns interrupts off and on, which takes longer than all the rest that is done for
 * a segment.
 */
struct connection {
	__u32 version;	   /* odd while somebody writes */
	__u32 has_history; /* the socket may have one in histories */
	struct record_buffer opening;
	struct record_buffer latest;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct connection);
} pktmeta_connections SEC(".maps");

/*
 * Whether connect(2) with AF_UNSPEC took a socket its connection away (tcp_disconnect), of which no
 * hook is told. A connection that its peer ended still has a peer, and its records.
 */
static __always_inline int was_disconnected(__u32 state, __be16 remote_port)
{
	return state == BPF_TCP_CLOSE && !remote_port;
}

/*
 * Begins to write: 0, or -EAGAIN: another CPU writes, after some tries to let it end. It has a
 * segment of the same connection at the same time, so that nobody can say which is the latest.
 * Exchanges are full barriers: no reader finds an even version beside a record that is half
 * written.
 */
static __always_inline int connection_begin(struct connection *connection)
{
	volatile __u32 *version = &connection->version;
	__u32 i;

	for (i = 0; i < 8; i++) {
		__u32 even = *version & ~1;

		if (__sync_val_compare_and_swap(version, even, even + 1) == even)
			return 0;
	}
	return -PKTMETA_EAGAIN;
}

/* Ends what connection_begin() began. */
static __always_inline void connection_end(struct connection *connection)
{
	__sync_lock_test_and_set(&connection->version, connection->version + 1);
}

struct connection_reading {
	struct connection *connection;
	const struct record_buffer *from;
	struct record_buffer *to;
	int err;
};

/* Tries to read: 1 if there is no need to try again. */
static int connection_try(__u32 turn __attribute__((unused)), struct connection_reading *reading)
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
 * Tries of a read, some ten nanoseconds each: longer than an interrupt takes the writer's CPU. Not
 * longer, since the reader has the socket locked, and its segments wait for it.
 */
#define CONNECTION_TRIES (1 << 12)

/*
 * Copies one of a connection's two records. It is written in nanoseconds, but an interrupt, or the
 * host of a virtual machine, may take the CPU meanwhile. 0, or -EAGAIN after CONNECTION_TRIES; then
 * the copy is none.
 */
static __always_inline int connection_read(struct connection *connection,
					   const struct record_buffer *from,
					   struct record_buffer *to)
{
	struct connection_reading reading = {
		.connection = connection,
		.from = from,
		.to = to,
		.err = -PKTMETA_EAGAIN,
	};

	bpf_loop(CONNECTION_TRIES, connection_try, &reading, 0);
	if (reading.err)
		*(__u32 *)to->bytes = 0;
	return reading.err;
}

/* Copies the record at place to zeroed memory; 0 if there is one. */
static __always_inline long copy_record(struct record_buffer *to, struct pktmeta_place place)
{
	if (!place.length)
		return -PKTMETA_ENODATA;
	pktmeta_read_record(place, (__u64 *)to->bytes);
	return 0;
}

#endif
