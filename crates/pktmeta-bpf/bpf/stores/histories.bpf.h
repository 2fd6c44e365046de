/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Socket storage: the records of a connection's latest segments, for applications that asked for
 * it. Positions count the bytes of the stream from 0; on the wire they are sequence numbers.
 */
#ifndef PKTMETA_HISTORIES_BPF_H
#define PKTMETA_HISTORIES_BPF_H

#include <bpf/bpf_endian.h>
#include "stores/connections.bpf.h"

struct segment {
	__u64 from;		     /* position of its first byte */
	__u64 to;		     /* position behind its last; 0: no segment */
	struct record_buffer record; /* zeros stand for none */
};

struct history {
	struct bpf_spin_lock lock; /* softirq writes while applications read */
	__u32 begun;		   /* 0 until it is known where the stream starts */
	__u32 start;		   /* sequence number of position 0 */
	__u32 next;		   /* slot of the next segment */
	__u64 end;		   /* position behind all that arrived */
	struct segment segments[PKTMETA_HISTORY_SEGMENTS];
};

/* What a listener has, the sockets that it accepts begin with. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct history);
} pktmeta_histories SEC(".maps");

/*
 * Learns where the stream starts, from a socket that is locked: only then do the two numbers belong
 * together (tcp_rcv_nxt_update).
 */
static __always_inline void history_begin(struct history *history, struct bpf_tcp_sock *tcp)
{
	if (history->begun)
		return;
	history->start = tcp->rcv_nxt - (__u32)tcp->bytes_received;
	history->end = tcp->bytes_received;
	history->begun = 1;
}

/* There will be another stream. */
static __always_inline void history_forget(struct history *history)
{
	__u32 i;

	bpf_spin_lock(&history->lock);
	history->begun = 0;
	for (i = 0; i < PKTMETA_HISTORY_SEGMENTS; i++)
		history->segments[i].to = 0;
	bpf_spin_unlock(&history->lock);
}

/* A segment of so many bytes arrived, with a record or NULL. */
static __always_inline void history_add(struct history *history, __u32 sequence, __u32 bytes,
					const struct record_buffer *record)
{
	struct segment *segment;
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
		segment->record = (struct record_buffer){};
	if (history->end < segment->to)
		history->end = segment->to;
	bpf_spin_unlock(&history->lock);
}

/* How far ahead of what arrived a segment may be: as wide as a window can be (RFC 7323, 2.3). */
#define HISTORY_AHEAD (1u << 30)

/*
 * Copies the record of the first segment that came with a byte: 0; or -EAGAIN: none has;
 * -ESTALE: it is not known, or not any more. The position's low 32 bits say which byte, from 3 GiB
 * behind what arrived to 1 GiB ahead. received is how much the application could have read.
 */
static __always_inline long history_find(struct history *history, __u32 position, __u64 received,
					 struct pktmeta_copy *to)
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
	err = wanted < received ? -PKTMETA_ESTALE : -PKTMETA_EAGAIN;
	for (i = 0; i < PKTMETA_HISTORY_SEGMENTS; i++) {
		/* The oldest first: a copy that came later is not what was read. */
		__u32 slot = (history->next + i) % PKTMETA_HISTORY_SEGMENTS;
		struct segment *segment = &history->segments[slot];

		if (wanted < segment->from || wanted >= segment->to)
			continue;
		*(struct record_buffer *)to = segment->record;
		err = 0;
		break;
	}
	bpf_spin_unlock(&history->lock);
	return err;
}

#endif
