// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * cgroup_skb/ingress: the last step before a socket's queue, after routing and netfilter. Stores
 * each packet's record where the application can read it. Lets every packet pass.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <pktmeta/socket.bpf.h>
#include "stores/connections.bpf.h"
#include "stores/histories.bpf.h"
#include "stores/ring.bpf.h"
#include "stores/syns.bpf.h"
#include "stores/tickets.bpf.h"
#include "stores/unkept.bpf.h"
#include "defs.bpf.h"
#include "socket_kind.bpf.h"
#include "transport.bpf.h"
#include "cgroup_skb_ingress.h"

/* Each CPU has 1 << ring_cpu_bits slots for itself, so that CPUs share no counter. */
const volatile __u32 ring_cpu_bits = 0;
/* The ring has 1 << ring_bits slots: these are the bits of a ticket below its generation. */
const volatile __u32 ring_bits = 0;

/* The tickets that this CPU has issued, counted from a random start. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} pktmeta_issued SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_deliver_counters);
} pktmeta_cgroup_skb_counters SEC(".maps");

/*
 * Returns a new ticket: the generation in its upper bits, the slot in its lower ones. Generation 0
 * is left out, so that small numbers can mean that there is no record.
 */
static __always_inline __u32 next_ticket(void)
{
	__u32 zero = 0, count, generation, index;
	__u32 *next = bpf_map_lookup_elem(&pktmeta_issued, &zero);

	if (!next)
		return 0;
	count = *next;
	generation = (count >> ring_cpu_bits) << ring_bits;
	if (!generation) {
		count = (1 << ring_cpu_bits) | (count & ((1 << ring_cpu_bits) - 1));
		generation = 1 << ring_bits;
	}
	*next = count + 1;
	index = bpf_get_smp_processor_id() << ring_cpu_bits;
	index |= count & ((1 << ring_cpu_bits) - 1);
	return generation | (index & (ring_slots - 1));
}

/* Returns the socket's cookie. A cookie that it has already takes no call (__sock_gen_cookie). */
static __always_inline __u64 socket_cookie(struct __sk_buff *skb, struct sock___pktmeta *sk)
{
	return sk->__sk_common.skc_cookie.counter ?: bpf_get_socket_cookie(skb);
}

/*
 * Puts a record in the ring, and the mark or priority that the ticket displaces. Returns the
 * ticket, or 0 if there is neither.
 */
static __always_inline __u32 issue_ticket(struct __sk_buff *skb, struct sock___pktmeta *sk,
					  struct pktmeta_place place, __u32 displaced)
{
	struct pktmeta_slot *slot;
	__u32 ticket;

	if (!place.length && !displaced)
		return 0;
	ticket = next_ticket();
	slot = ring_slot(ticket);
	if (!ticket || !slot)
		return 0;
	/* Exchanges are full barriers: no reader finds a ticket beside another ticket's record. */
	__sync_lock_test_and_set(&slot->ticket, 0);
	slot->displaced = displaced;
	slot->cookie = socket_cookie(skb, sk);
	if (place.length)
		pktmeta_read_record(place, (__u64 *)slot->record);
	else
		*(__u32 *)slot->record = 0; /* no record */
	__sync_lock_test_and_set(&slot->ticket, ticket);
	return ticket;
}

static __always_inline void deliver_datagram(struct __sk_buff *skb,
					     struct sock___pktmeta *kernel_sk, struct bpf_sock *sk,
					     struct pktmeta_deliver_counters *counters)
{
	__s32 *where = bpf_sk_storage_get(&pktmeta_tickets, sk, 0, 0);
	struct pktmeta_place place;
	__u32 displaced = 0, ticket;

	if (!where || *where == PKTMETA_TICKETS_OFF)
		return;
	/*
	 * A load for each member: the verifier refuses one through a chosen pointer into the
	 * context.
	 */
	if (*where == PKTMETA_TICKETS_MARK) {
		displaced = skb->mark;
		barrier();
	} else if (*where == PKTMETA_TICKETS_PRIORITY) {
		displaced = skb->priority;
	}
	place = pktmeta_find_record(bpf_cast_to_kern_ctx(skb));
	ticket = issue_ticket(skb, kernel_sk, place, displaced);
	if (ticket && place.length)
		counters->datagrams++;
	else
		counters->datagrams_absent++;
	if (!ticket) /* or the application would take the mark itself for a ticket */
		ticket = PKTMETA_TICKET_ABSENT;
	if (*where == PKTMETA_TICKETS_MARK) {
		skb->mark = ticket;
		barrier();
	} else if (*where == PKTMETA_TICKETS_PRIORITY) {
		skb->priority = ticket;
		barrier();
	} else {
		skb->tstamp = ticket;
	}
}

/*
 * The next two functions are not static: the verifier walks each once, not once for each length of
 * a record, and each has a stack of its own.
 */

/*
 * Keeps the record of a SYN for the connection, or zeros if the SYN has no record: a connection
 * that finds neither knows that its SYN was forgotten. Returns 1 if the SYN has a record.
 */
__noinline int pktmeta_keep_syn(struct __sk_buff *skb)
{
	struct sk_buff___pktmeta *kernel_skb = bpf_cast_to_kern_ctx(skb);
	struct pktmeta_tcp_header *tcp = transport_header(skb, kernel_skb, sizeof(*tcp));
	struct sock___pktmeta *sk = kernel_skb->sk;
	struct pktmeta_record_buffer record = {};
	struct pktmeta_flow flow = {};
	int has_record;

	if (!sk || !tcp || flow_of_syn(&flow, skb, sk, tcp))
		return 0;
	has_record = !copy_record(&record, pktmeta_find_record(kernel_skb));
	return !bpf_map_update_elem(&pktmeta_syns, &flow, &record, BPF_ANY) && has_record;
}

/* Adds a segment with its record to the socket's history, if it has one. */
__noinline int pktmeta_remember(struct __sk_buff *skb, __u32 sequence, __u32 bytes)
{
	struct pktmeta_record_buffer buffer = {}, *record;
	struct bpf_sock *sk = skb->sk;
	struct pktmeta_history *history;

	if (!sk)
		return 0;
	history = bpf_sk_storage_get(&pktmeta_histories, sk, 0, 0);
	if (!history)
		return 0;
	record = &buffer;
	if (copy_record(&buffer, pktmeta_find_record(bpf_cast_to_kern_ctx(skb))))
		record = NULL;
	history_add(history, sequence, bytes, record);
	return 0;
}

static __always_inline void keep_latest(struct __sk_buff *skb, struct sock___pktmeta *kernel_sk,
					struct bpf_sock *sk, struct pktmeta_connection *connection,
					struct pktmeta_place place,
					struct pktmeta_deliver_counters *counters)
{
	if (!connection)
		connection = bpf_sk_storage_get(&pktmeta_connections, sk, 0,
						BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection) {
		note_unkept(socket_cookie(skb, kernel_sk), UNKEPT_LATEST);
		counters->segments_unkept++;
		return;
	}
	if (connection_begin(connection))
		return;
	pktmeta_read_record(place, (__u64 *)connection->latest.bytes);
	connection_end(connection);
	counters->segments++;
}

/*
 * Keeps the record of a segment for its connection, unless the segment is outside the window: TCP
 * drops it, because anybody can have sent it (tcp_sequence).
 */
static __always_inline void keep_segment(struct __sk_buff *skb, struct sock___pktmeta *kernel_sk,
					 struct bpf_sock *sk, __u32 sequence, __u32 bytes,
					 struct pktmeta_deliver_counters *counters)
{
	struct pktmeta_connection *connection;
	struct tcp_sock___pktmeta *tcp;
	struct pktmeta_place place;

	tcp = bpf_rdonly_cast(kernel_sk, bpf_core_type_id_kernel(struct tcp_sock___pktmeta));
	if ((__s32)(sequence + bytes - tcp->rcv_wup) < 0 ||
	    (__s32)(sequence - tcp->rcv_wup - tcp->rcv_wnd) > 0)
		return;
	connection = bpf_sk_storage_get(&pktmeta_connections, sk, 0, 0);
	/* Only segments with new bytes. */
	if (connection && connection->has_history && (__s32)(sequence + bytes - tcp->rcv_nxt) > 0)
		pktmeta_remember(skb, sequence, bytes);
	place = pktmeta_find_record(bpf_cast_to_kern_ctx(skb));
	if (place.length)
		keep_latest(skb, kernel_sk, sk, connection, place, counters);
	else
		counters->segments_absent++;
}

static __always_inline void deliver_segment(struct __sk_buff *skb, struct sock___pktmeta *kernel_sk,
					    struct bpf_sock *sk,
					    struct pktmeta_deliver_counters *counters)
{
	struct sk_buff___pktmeta *kernel_skb = bpf_cast_to_kern_ctx(skb);
	/* A socket that connects gets a SYN if its peer connects to it as well (RFC 9293, 3.5). */
	__u8 state = kernel_sk->__sk_common.skc_state;
	int opening = state == BPF_TCP_LISTEN || state == BPF_TCP_SYN_SENT;
	struct pktmeta_tcp_header *tcp;
	__u32 headers;

	tcp = transport_header(skb, kernel_skb, sizeof(*tcp));
	/* Other segments need not belong to the connection. sockops.bpf.c sees those that do. */
	if (!tcp || (opening && (tcp->flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) != TCP_FLAG_SYN))
		return;
	if (opening) {
		if (pktmeta_keep_syn(skb))
			counters->syns++;
		else
			counters->syns_absent++;
		return;
	}
	headers = transport_offset(kernel_skb) + (tcp->data_offset >> 4) * 4;
	keep_segment(skb, kernel_sk, sk, bpf_ntohl(tcp->sequence), skb->len - headers, counters);
}

SEC("cgroup_skb/ingress")
int pktmeta_deliver(struct __sk_buff *skb)
{
	struct sk_buff___pktmeta *kernel_skb = bpf_cast_to_kern_ctx(skb);
	struct pktmeta_deliver_counters *counters;
	struct sock___pktmeta *kernel_sk = kernel_skb->sk;
	struct bpf_sock *sk = skb->sk;
	__u32 zero = 0;

	/*
	 * Both are the full socket (__cgroup_bpf_run_filter_skb); kernel_sk is read without a call.
	 */
	if (!sk || !kernel_sk)
		return CGROUP_SKB_PASS;
	counters = bpf_map_lookup_elem(&pktmeta_cgroup_skb_counters, &zero);
	if (!counters)
		return CGROUP_SKB_PASS;
	switch (socket_kind(kernel_sk->__sk_common.skc_family, kernel_sk->sk_type,
			    kernel_sk->sk_protocol)) {
	case UDP_SOCKET:
		deliver_datagram(skb, kernel_sk, sk, counters);
		break;
	case TCP_SOCKET:
		deliver_segment(skb, kernel_sk, sk, counters);
		break;
	case OTHER_SOCKET:
		break;
	}
	return CGROUP_SKB_PASS;
}

/* bpf_cast_to_kern_ctx and bpf_rdonly_cast are for GPL-compatible programs. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
