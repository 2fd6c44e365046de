// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * sockops: when a handshake ends, gives the connection the record of the segment that opened it, and
 * that of the segment that ended the handshake. It happens before accept() or connect() returns.
 */
#include <linux/bpf.h>
#include <pktmeta/socket.bpf.h>
#include "../../carriers/connection.bpf.h"
#include "../../carriers/history.bpf.h"
#include "../../carriers/syn.bpf.h"
#include "establish.h"

#define NULL ((void *)0)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_establish_counters);
} establish_counters SEC(".maps");

/* That of the connection which this socket had before (connect(2), AF_UNSPEC). */
static __always_inline void forget_connection(struct bpf_sock *sk)
{
	struct history *history = bpf_sk_storage_get(&histories, sk, 0, 0);

	bpf_sk_storage_delete(&connections, sk);
	if (history)
		history_forget(history);
}

/*
 * The stream starts now. What came with the segment that ended the handshake, or with a SYN that
 * has data (TCP Fast Open), is its first segment.
 */
static __always_inline void begin_history(struct history *history, struct bpf_sock_ops *ops,
					  struct bpf_sock *sk, const struct record_buffer *record)
{
	struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);
	struct tcp_header *header = ops->skb_data;

	if (!tcp)
		return;
	history_begin(history, tcp);
	if ((void *)(header + 1) <= (void *)ops->skb_data_end)
		history_add(history, history->start,
			    ops->skb_len - (header->data_offset >> 4) * 4, record);
}

/* last: the record of the segment that ended the handshake, or NULL. */
static __always_inline void give_records(struct bpf_sock_ops *ops, struct bpf_sock *sk,
					 const struct record_buffer *last, int has_history,
					 struct pktmeta_establish_counters *counters)
{
	int accepted = ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
	const struct record_buffer *opening = last; /* the SYN-ACK's */
	struct connection *connection;
	struct flow flow = {};

	if (accepted) {
		flow_of_connection(&flow, ops);
		opening = bpf_map_lookup_elem(&syns, &flow);
	}
	if (opening)
		counters->opened++;
	else
		counters->absent++;
	if (!opening && !last && !has_history)
		return;
	connection = bpf_sk_storage_get(&connections, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection)
		return;
	connection->has_history = has_history;
	if (connection_begin(connection))
		return;
	if (opening)
		connection->opening = *opening;
	/* Another CPU may have had the next segment already. */
	if (!connection->latest.bytes[0]) {
		if (last)
			connection->latest = *last;
		else if (opening)
			connection->latest = *opening;
	}
	connection_end(connection);
	if (accepted && opening)
		bpf_map_delete_elem(&syns, &flow);
}

static __always_inline void establish(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct bpf_sock_ops_kern___pktmeta *kernel_ops = bpf_cast_to_kern_ctx(ops);
	struct sk_buff___pktmeta *skb = kernel_ops->skb;
	struct history *history = bpf_sk_storage_get(&histories, sk, 0, 0);
	struct pktmeta_establish_counters *counters;
	struct record_buffer buffer = {}, *last;
	int has_history = history != NULL;
	__u32 zero = 0;

	barrier_var(has_history); /* or the compiler makes a number of two pointers */
	last = skb && !copy_record(&buffer, pktmeta_find_record(skb)) ? &buffer : NULL;
	if (history)
		begin_history(history, ops, sk, last);
	counters = bpf_map_lookup_elem(&establish_counters, &zero);
	if (counters)
		give_records(ops, sk, last, has_history, counters);
}

SEC("sockops")
int pktmeta_establish(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;

	if (!sk)
		return 1;
	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		forget_connection(sk);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		establish(ops, sk);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
