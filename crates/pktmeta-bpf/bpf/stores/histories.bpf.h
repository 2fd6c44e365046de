/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Socket storage: the records of a connection's latest segments, if the application asked for them.
 * Positions count the bytes of the stream from 0; on the wire they are sequence numbers.
 */
#ifndef PKTMETA_HISTORIES_BPF_H
#define PKTMETA_HISTORIES_BPF_H

#include <bpf/bpf_endian.h>
#include "stores/connections.bpf.h"

struct pktmeta_segment {
	__u64 from;			     /* position of the first byte */
	__u64 to;			     /* position behind the last byte; 0: no segment */
	struct pktmeta_record_buffer record; /* zeros stand for none */
};

struct pktmeta_history {
	struct bpf_spin_lock lock; /* softirq writes while applications read */
	__u32 begun;		   /* 0 until the start of the stream is known */
	__u32 start;		   /* sequence number of position 0 */
	__u32 next;		   /* slot of the next segment */
	__u64 end;		   /* position behind all bytes that arrived */
	struct pktmeta_segment segments[PKTMETA_HISTORY_SEGMENTS];
};

/* A socket begins with a copy of the history of the listener that accepted it. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct pktmeta_history);
} pktmeta_histories SEC(".maps");

/*
 * Stores the start of the stream. The caller has the socket locked: otherwise the two numbers of
 * the socket may not belong together (tcp_rcv_nxt_update).
 */
static __always_inline void history_begin(struct pktmeta_history *history, struct bpf_tcp_sock *tcp)
{
	if (history->begun)
		return;
	history->start = tcp->rcv_nxt - (__u32)tcp->bytes_received;
	history->end = tcp->bytes_received;
	history->begun = 1;
}

/* Empties a history, before the socket has another stream. */
static __always_inline void history_forget(struct pktmeta_history *history)
{
	__u32 i;

	bpf_spin_lock(&history->lock);
	history->begun = 0;
	for (i = 0; i < PKTMETA_HISTORY_SEGMENTS; i++)
		history->segments[i].to = 0;
	bpf_spin_unlock(&history->lock);
}

/* Adds a segment of so many bytes, with its record or NULL. */
static __always_inline void history_add(struct pktmeta_history *history, __u32 sequence,
					__u32 bytes, const struct pktmeta_record_buffer *record)
{
	struct pktmeta_segment *segment;
	__u64 from;

	if (!history->begun || !bytes)
		return;
	bpf_spin_lock(&history->lock);
	from = history->end + (__s32)(sequence - history->start - (__u32)history->end);
	segment = &history->segments[history->next % PKTMETA_HISTORY_SEGMENTS];
	history->next++;
	segment->from = from;
	segment->to = from + bytes;
	if (record)
		segment->record = *record;
	else
		segment->record = (struct pktmeta_record_buffer){};
	if (history->end < segment->to)
		history->end = segment->to;
	bpf_spin_unlock(&history->lock);
}

/* The most bytes that a segment can be ahead of those that arrived: a window (RFC 7323, 2.3). */
#define HISTORY_AHEAD (1u << 30)

/*
 * Copies the record of the first segment that brought a byte. position is the low 32 bits of the
 * byte's position, which is at most 3 GiB behind the bytes that arrived, and at most 1 GiB ahead.
 * received counts the bytes that the application could have read. Returns 0, or
 *   -EAGAIN  no segment has brought the byte yet
 *   -ESTALE  the segment that brought the byte is no longer known, or never was
 */
static __always_inline long history_find(struct pktmeta_history *history, __u32 position,
					 __u64 received, struct pktmeta_copy *to)
{
	__u32 ahead = position - (__u32)received;
	__u64 wanted = received + ahead;
	long err;
	__u32 i;

	if (ahead >= HISTORY_AHEAD)
		wanted -= 1ull << 32;
	bpf_spin_lock(&history->lock);
	/* A FIN is counted as received (tcp_fin), but is no byte. */
	if (received == history->end + 1)
		received = history->end;
	err = wanted < received ? -ESTALE : -EAGAIN;
	for (i = 0; i < PKTMETA_HISTORY_SEGMENTS; i++) {
		/* The oldest first: the application read its bytes, not those of a later copy. */
		__u32 slot = (history->next + i) % PKTMETA_HISTORY_SEGMENTS;
		struct pktmeta_segment *segment = &history->segments[slot];

		if (wanted < segment->from || wanted >= segment->to)
			continue;
		*(struct pktmeta_record_buffer *)to = segment->record;
		err = 0;
		break;
	}
	bpf_spin_unlock(&history->lock);
	return err;
}

#endif
