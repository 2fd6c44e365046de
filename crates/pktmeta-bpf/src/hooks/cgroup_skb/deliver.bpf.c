// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * cgroup_skb/ingress: the last step before a socket's queue, after routing and netfilter. Puts
 * each packet's record where the application can get at it. Always lets the packet pass.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <pktmeta/socket.bpf.h>
#include "../../carriers/connection.bpf.h"
#include "../../carriers/history.bpf.h"
#include "../../carriers/ring.bpf.h"
#include "../../carriers/syn.bpf.h"
#include "../../carriers/tickets.bpf.h"
#include "deliver.h"

#define NULL ((void *)0)
#define PASS 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define ETH_P_IP 0x0800
#define TCP_SEQUENCE 4
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10

/* Slots that each CPU has for itself, as a power of two: nobody shares a counter. */
const volatile __u32 ring_cpu_bits = 0;
/* Slots of the whole ring, as a power of two: the ticket's bits below the generation. */
const volatile __u32 ring_bits = 0;

/* How many tickets this CPU has issued, from a random start. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} issued SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_deliver_counters);
} deliver_counters SEC(".maps");

/*
 * A ticket: generation above, slot below. Generation 0 is never issued, so that small numbers are
 * free to mean that there is no record: a counter that reaches it goes on with generation 1.
 */
static __always_inline __u32 next_ticket(void)
{
	__u32 zero = 0, count, generation, index;
	__u32 *next = bpf_map_lookup_elem(&issued, &zero);

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

/* Asking costs a call; a socket whose cookie was asked for once keeps it (__sock_gen_cookie). */
static __always_inline __u64 socket_cookie(struct __sk_buff *skb, struct sock___pktmeta *sk)
{
	return sk->__sk_common.skc_cookie.counter ?: bpf_get_socket_cookie(skb);
}

/* Puts a record in the ring, with what its ticket takes the place of; 0 if there is neither. */
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
	/* Exchanges are full barriers: no reader finds a ticket beside a record that is not its. */
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
	__s32 *where = bpf_sk_storage_get(&tickets, sk, 0, 0);
	struct pktmeta_place place;
	__u32 displaced = 0, ticket;

	if (!where || *where == PKTMETA_TICKETS_OFF)
		return;
	/* Loads and stores of their own, not one through a chosen pointer into the context. */
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
	if (!ticket) /* what stood there must not be taken for one */
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

/* A SYN: its record waits for the connection that it asks for. */
static __always_inline void keep_syn(struct __sk_buff *skb, struct sock___pktmeta *sk, __u32 tcp,
				     const struct record_buffer *record,
				     struct pktmeta_deliver_counters *counters)
{
	struct flow flow = {};
	__be32 addresses[8];

	flow.netns = sk->__sk_common.skc_net.net->net_cookie;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, 12, addresses, 8))
			return;
		flow_set_ipv4(flow.remote_address, addresses[0]);
		flow_set_ipv4(flow.local_address, addresses[1]);
	} else {
		if (bpf_skb_load_bytes(skb, 8, addresses, 32))
			return;
		__builtin_memcpy(flow.remote_address, addresses, 16);
		__builtin_memcpy(flow.local_address, addresses + 4, 16);
	}
	/* Ports and sequence number. */
	if (bpf_skb_load_bytes(skb, tcp, &flow.remote_port, 8))
		return;
	if (!record) {
		/* That of an earlier copy of this SYN. */
		bpf_map_delete_elem(&syns, &flow);
		counters->syns_absent++;
	} else if (!bpf_map_update_elem(&syns, &flow, record, BPF_ANY)) {
		counters->syns++;
	}
}

static __always_inline void keep_latest(struct bpf_sock *sk, const struct record_buffer *record,
					struct pktmeta_deliver_counters *counters)
{
	struct connection *connection;

	connection = bpf_sk_storage_get(&connections, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection)
		return;
	bpf_spin_lock(&connection->lock);
	connection->latest = *record;
	bpf_spin_unlock(&connection->lock);
	counters->segments++;
}

/* What stands in a TCP header from TCP_SEQUENCE on. */
struct tcp_numbers {
	__be32 sequence;
	__be32 acknowledgment;
	__u8 data_offset; /* in 32-bit words, shifted */
	__u8 flags;
};

/*
 * Keeps the record of a segment, or NULL, for its connection, unless TCP will not take it: what comes
 * from outside the window need not be the peer's (tcp_sequence).
 */
static __always_inline void keep_segment(struct sock___pktmeta *kernel_sk, struct bpf_sock *sk,
					 __u32 sequence, __u32 bytes,
					 const struct record_buffer *record,
					 struct pktmeta_deliver_counters *counters)
{
	struct tcp_sock___pktmeta *tcp;
	struct history *history;

	tcp = bpf_rdonly_cast(kernel_sk, bpf_core_type_id_kernel(struct tcp_sock___pktmeta));
	if ((__s32)(sequence + bytes - tcp->rcv_wup) < 0 ||
	    (__s32)(sequence - tcp->rcv_wup - tcp->rcv_wnd) > 0)
		return;
	history = bpf_sk_storage_get(&histories, sk, 0, 0);
	/* Not what was there before. */
	if (history && (__s32)(sequence + bytes - tcp->rcv_nxt) > 0)
		history_add(history, sequence, bytes, record);
	if (record)
		keep_latest(sk, record, counters);
	else
		counters->segments_absent++;
}

static __always_inline void deliver_segment(struct __sk_buff *skb,
					    struct sock___pktmeta *kernel_sk, struct bpf_sock *sk,
					    struct pktmeta_deliver_counters *counters)
{
	struct sk_buff___pktmeta *kernel_skb = bpf_cast_to_kern_ctx(skb);
	/* skb->data is the network header here. */
	__u32 tcp = kernel_skb->transport_header - kernel_skb->network_header;
	/* Two sockets that connect to each other get SYNs too (RFC 9293, 3.5). */
	__u8 state = kernel_sk->__sk_common.skc_state;
	int opening = state == BPF_TCP_LISTEN || state == BPF_TCP_SYN_SENT;
	struct record_buffer buffer = {}, *record;
	struct tcp_numbers numbers;

	if (bpf_skb_load_bytes(skb, tcp + TCP_SEQUENCE, &numbers, sizeof(numbers)))
		return;
	/* What else comes then may not be of the connection: establish.bpf.c sees what is. */
	if (opening && (numbers.flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) != TCP_FLAG_SYN)
		return;
	record = copy_record(&buffer, pktmeta_find_record(kernel_skb)) ? NULL : &buffer;
	if (opening)
		keep_syn(skb, kernel_sk, tcp, record, counters);
	else
		keep_segment(kernel_sk, sk, bpf_ntohl(numbers.sequence),
			     skb->len - tcp - (numbers.data_offset >> 4) * 4, record, counters);
}

SEC("cgroup_skb/ingress")
int pktmeta_deliver(struct __sk_buff *skb)
{
	struct sk_buff___pktmeta *kernel_skb = bpf_cast_to_kern_ctx(skb);
	struct pktmeta_deliver_counters *counters;
	struct sock___pktmeta *kernel_sk = kernel_skb->sk;
	struct bpf_sock *sk = skb->sk;
	__u32 zero = 0;

	/* A full socket (__cgroup_bpf_run_filter_skb). Of the kernel's it is read without a call. */
	if (!sk || !kernel_sk)
		return PASS;
	counters = bpf_map_lookup_elem(&deliver_counters, &zero);
	if (!counters)
		return PASS;
	if (kernel_sk->sk_protocol == IPPROTO_UDP)
		deliver_datagram(skb, kernel_sk, sk, counters);
	else if (kernel_sk->sk_protocol == IPPROTO_TCP)
		deliver_segment(skb, kernel_sk, sk, counters);
	return PASS;
}

/* bpf_cast_to_kern_ctx and bpf_rdonly_cast are for GPL-compatible programs. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
