// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Tells a reader of each connection that the sockets of a cgroup accept or open, and of each
 * datagram that they get, with its record. Reads records from the packets themselves, so that it
 * does not matter where records are delivered to. Changes nothing.
 */
#include <pktmeta/socket.bpf.h>
#include "watch.h"

#define PASS 1
#define TCP_FLAGS 13
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10

/* Whether datagrams are told of too. */
const volatile __u8 watch_datagrams = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} watch_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_watch_counters);
} watch_counters SEC(".maps");

/* A SYN, until the connection that it asks for is established. */
struct opening {
	__u64 netns;
	struct endpoints ends;
	__u32 reserved;
};

struct opening_record {
	__u32 length;
	__u8 bytes[PKTMETA_RECORD_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct opening);
	__type(value, struct opening_record);
} openings SEC(".maps");

/* Copies a record to memory of PKTMETA_RECORD_MAX bytes: its length, 0 if there is none. */
static __always_inline __u32 read_record(void *to, struct pktmeta_place place)
{
	__u32 length = place.length;

	if (!length)
		return 0;
	barrier_var(length); /* two tests: many verifiers learn nothing from both in one */
	if (length > PKTMETA_RECORD_MAX || bpf_probe_read_kernel(to, length, place.address))
		return 0;
	return length;
}

/* An event for the caller to fill in and submit; NULL if there is no room for it. */
static __always_inline struct pktmeta_watch_event *new_event(__u8 what, __u64 cookie)
{
	struct pktmeta_watch_counters *counters;
	struct pktmeta_watch_event *event;
	__u32 zero = 0;

	event = bpf_ringbuf_reserve(&watch_events, sizeof(*event), 0);
	counters = bpf_map_lookup_elem(&watch_counters, &zero);
	if (counters)
		*(event ? &counters->events : &counters->lost) += 1;
	if (!event)
		return event;
	event->time = bpf_ktime_get_ns();
	event->cookie = cookie;
	event->what = what;
	return event;
}

static __always_inline void watch_datagram(struct __sk_buff *skb,
					   struct sk_buff___pktmeta *kernel_skb, __u32 transport)
{
	struct pktmeta_watch_event *event = new_event(WATCH_DATAGRAM, bpf_get_socket_cookie(skb));

	if (!event)
		return;
	if (packet_endpoints(&event->ends, skb, transport)) {
		bpf_ringbuf_discard(event, 0);
		return;
	}
	event->length = read_record(event->record, pktmeta_find_record(kernel_skb));
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void watch_syn(struct __sk_buff *skb, struct sk_buff___pktmeta *kernel_skb,
				      __u32 transport)
{
	struct sock___pktmeta *listener = kernel_skb->sk;
	struct opening_record record = {};
	struct opening opening = {};
	__u8 flags;

	if (!listener)
		return;
	if (bpf_skb_load_bytes(skb, transport + TCP_FLAGS, &flags, sizeof(flags)) ||
	    (flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) != TCP_FLAG_SYN)
		return;
	if (packet_endpoints(&opening.ends, skb, transport))
		return;
	opening.netns = listener->__sk_common.skc_net.net->net_cookie;
	record.length = read_record(record.bytes, pktmeta_find_record(kernel_skb));
	bpf_map_update_elem(&openings, &opening, &record, BPF_ANY);
}

SEC("cgroup_skb/ingress")
int pktmeta_watch_in(struct __sk_buff *skb)
{
	struct sk_buff___pktmeta *kernel_skb;
	struct bpf_sock *sk = skb->sk;
	__u32 transport;

	sk = sk ? bpf_sk_fullsock(sk) : sk;
	if (!sk)
		return PASS;
	kernel_skb = bpf_cast_to_kern_ctx(skb);
	/* skb->data is the network header here. */
	transport = kernel_skb->transport_header - kernel_skb->network_header;
	if (sk->protocol == IPPROTO_UDP && watch_datagrams)
		watch_datagram(skb, kernel_skb, transport);
	else if (sk->protocol == IPPROTO_TCP && sk->state == BPF_TCP_LISTEN)
		watch_syn(skb, kernel_skb, transport);
	return PASS;
}

SEC("sockops")
int pktmeta_watch_established(struct bpf_sock_ops *ops)
{
	struct bpf_sock_ops_kern___pktmeta *kernel_ops = bpf_cast_to_kern_ctx(ops);
	int accepted = ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
	struct sk_buff___pktmeta *skb = kernel_ops->skb;
	struct sock___pktmeta *sk = kernel_ops->sk;
	struct pktmeta_watch_event *event;
	struct opening_record *record;
	struct opening opening = {};

	if (!accepted && ops->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return 1;
	socket_endpoints(&opening.ends, sk);
	opening.netns = sk->__sk_common.skc_net.net->net_cookie;
	record = accepted ? bpf_map_lookup_elem(&openings, &opening) : (void *)0;
	event = new_event(accepted ? WATCH_ACCEPTED : WATCH_CONNECTED, bpf_get_socket_cookie(ops));
	if (event) {
		event->ends = opening.ends;
		event->length = 0;
		if (record) {
			event->length = record->length;
			__builtin_memcpy(event->record, record->bytes, sizeof(event->record));
		} else if (!accepted && skb) {
			/* The SYN-ACK. */
			event->length = read_record(event->record, pktmeta_find_record(skb));
		}
		bpf_ringbuf_submit(event, 0);
	}
	if (record)
		bpf_map_delete_elem(&openings, &opening);
	return 1;
}

/* bpf_probe_read_kernel and bpf_cast_to_kern_ctx are for GPL-compatible programs. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
