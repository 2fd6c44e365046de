// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Reports each connection that the sockets of a cgroup accept or open, and each datagram that they
 * get, with its record. Reads the records in the packets themselves, and so does not depend on the
 * delivery to applications. Changes nothing.
 */
#include <pktmeta/socket.bpf.h>
#include "defs.bpf.h"
#include "flow.bpf.h"
#include "socket_kind.bpf.h"
#include "transport.bpf.h"
#include "watch.h"

/* Whether to report datagrams as well. */
const volatile __u8 watch_datagrams = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} pktmeta_watch_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_watch_counters);
} pktmeta_watch_counters SEC(".maps");

/* The records of SYNs until the end of their handshakes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct pktmeta_flow);
	__type(value, struct pktmeta_copy);
} pktmeta_watch_openings SEC(".maps");

/* Copies a packet's record into an event. */
static __always_inline void add_record(struct pktmeta_watch_event *event,
				       struct pktmeta_place place)
{
	event->length = place.length;
	if (place.length)
		pktmeta_read_record(place, (__u64 *)event->record);
}

/* Returns an event, which the caller fills in and submits, or NULL if the ring is full. */
static __always_inline struct pktmeta_watch_event *new_event(__u8 what, __u64 cookie)
{
	struct pktmeta_watch_counters *counters;
	struct pktmeta_watch_event *event;
	__u32 zero = 0;

	event = bpf_ringbuf_reserve(&pktmeta_watch_events, sizeof(*event), 0);
	counters = bpf_map_lookup_elem(&pktmeta_watch_counters, &zero);
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
					   struct sk_buff___pktmeta *kernel_skb)
{
	struct pktmeta_ports *ports = transport_header(skb, kernel_skb, sizeof(*ports));
	struct pktmeta_watch_event *event;
	struct pktmeta_endpoints ends = {};

	if (!ports || packet_endpoints(&ends, skb, ports))
		return;
	event = new_event(WATCH_DATAGRAM, bpf_get_socket_cookie(skb));
	if (!event)
		return;
	event->ends = ends;
	add_record(event, pktmeta_find_record(kernel_skb));
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void watch_syn(struct __sk_buff *skb, struct sk_buff___pktmeta *kernel_skb)
{
	struct pktmeta_tcp_header *tcp = transport_header(skb, kernel_skb, sizeof(*tcp));
	struct sock___pktmeta *listener = kernel_skb->sk;
	struct pktmeta_copy record = {};
	struct pktmeta_place place;
	struct pktmeta_flow flow = {};

	if (!listener || !tcp || (tcp->flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) != TCP_FLAG_SYN)
		return;
	if (flow_of_syn(&flow, skb, listener, tcp))
		return;
	place = pktmeta_find_record(kernel_skb);
	if (place.length)
		pktmeta_read_record(place, (__u64 *)record.bytes);
	bpf_map_update_elem(&pktmeta_watch_openings, &flow, &record, BPF_ANY);
}

SEC("cgroup_skb/ingress")
int pktmeta_watch_in(struct __sk_buff *skb)
{
	struct sk_buff___pktmeta *kernel_skb;
	struct bpf_sock *sk = skb->sk;
	enum pktmeta_socket_kind kind;

	sk = sk ? bpf_sk_fullsock(sk) : sk;
	if (!sk)
		return CGROUP_SKB_PASS;
	kernel_skb = bpf_cast_to_kern_ctx(skb);
	kind = socket_kind(sk->family, sk->type, sk->protocol);
	if (kind == UDP_SOCKET && watch_datagrams)
		watch_datagram(skb, kernel_skb);
	else if (kind == TCP_SOCKET && sk->state == BPF_TCP_LISTEN)
		watch_syn(skb, kernel_skb);
	return CGROUP_SKB_PASS;
}

SEC("sockops")
int pktmeta_watch_established(struct bpf_sock_ops *ops)
{
	struct bpf_sock_ops_kern___pktmeta *kernel_ops = bpf_cast_to_kern_ctx(ops);
	int accepted = ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
	struct sk_buff___pktmeta *skb = kernel_ops->skb;
	struct pktmeta_watch_event *event;
	struct pktmeta_copy *record = NULL;
	struct pktmeta_flow flow = {};

	if (!accepted && ops->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return 1;
	flow_of_connection(&flow, ops);
	if (accepted)
		record = bpf_map_lookup_elem(&pktmeta_watch_openings, &flow);
	event = new_event(accepted ? WATCH_ACCEPTED : WATCH_CONNECTED, bpf_get_socket_cookie(ops));
	if (event) {
		event->ends = flow.ends;
		event->length = 0;
		if (record) {
			event->length = pktmeta_header_length((void *)record, PKTMETA_RECORD_MAX);
			__builtin_memcpy(event->record, record->bytes, sizeof(event->record));
		} else if (!accepted && skb) {
			/* The SYN-ACK. */
			add_record(event, pktmeta_find_record(skb));
		}
		bpf_ringbuf_submit(event, 0);
	}
	if (record)
		bpf_map_delete_elem(&pktmeta_watch_openings, &flow);
	return 1;
}

/* bpf_cast_to_kern_ctx is for GPL-compatible programs. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
