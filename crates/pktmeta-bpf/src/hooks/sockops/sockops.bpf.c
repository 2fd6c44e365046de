// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * sockops: when a handshake ends, gives the connection the records of the segment that opened it
 * and of the segment that ended the handshake. That is before accept() or connect() returns.
 */
#include <linux/bpf.h>
#include <pktmeta/socket.bpf.h>
#include "stores/connections.bpf.h"
#include "stores/histories.bpf.h"
#include "stores/syns.bpf.h"
#include "stores/unkept.bpf.h"
#include "sockops.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_establish_counters);
} pktmeta_sockops_counters SEC(".maps");

/* Forgets the connection that this socket had before (connect(2), AF_UNSPEC). */
static __always_inline void forget_connection(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct bpf_sock_ops_kern___pktmeta *kernel_ops = bpf_cast_to_kern_ctx(ops);
	struct pktmeta_history *history = bpf_sk_storage_get(&pktmeta_histories, sk, 0, 0);
	__u64 cookie = kernel_ops->sk->__sk_common.skc_cookie.counter;

	bpf_sk_storage_delete(&pktmeta_connections, sk);
	if (cookie) /* sockets without a cookie were never noted */
		bpf_map_delete_elem(&pktmeta_unkept, &cookie);
	if (history)
		history_forget(history);
}

/*
 * Begins a history with the stream. The segment that ended the handshake, or a SYN with data (TCP
 * Fast Open), is the stream's first segment if it has bytes.
 */
static __always_inline void begin_history(struct pktmeta_history *history, struct bpf_sock_ops *ops,
					  struct bpf_sock *sk,
					  const struct pktmeta_record_buffer *record)
{
	struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);
	struct pktmeta_tcp_header *header = ops->skb_data;

	if (!tcp)
		return;
	history_begin(history, tcp);
	if ((void *)(header + 1) <= (void *)ops->skb_data_end)
		history_add(history, history->start, ops->skb_len - (header->data_offset >> 4) * 4,
			    record);
}

/*
 * Returns which records a connection has. In two tests, because the compiler would compute a number
 * from both pointers, which the verifier refuses.
 */
static __always_inline __u32 records_of(const struct pktmeta_record_buffer *opening,
					const struct pktmeta_record_buffer *last)
{
	__u32 which = last ? UNKEPT_LATEST : 0;

	barrier_var(which);
	if (opening)
		which = UNKEPT_OPENING | UNKEPT_LATEST;
	barrier_var(which);
	return which;
}

/* Gives a connection its records, if they are not NULL. Returns 0, or -1 for lack of memory. */
static __always_inline int keep_records(struct bpf_sock *sk,
					const struct pktmeta_record_buffer *opening,
					const struct pktmeta_record_buffer *last, int has_history)
{
	const struct pktmeta_record_buffer *latest;
	struct pktmeta_connection *connection;
	__u32 wanted = records_of(opening, last) | has_history;

	if (!wanted)
		return 0;
	connection = bpf_sk_storage_get(&pktmeta_connections, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection)
		return -1;
	connection->has_history = has_history;
	if (connection_begin(connection))
		return 0;
	if (opening)
		connection->opening = *opening;
	/* Another CPU may already have stored the record of the next segment. */
	latest = last ?: opening;
	barrier_var(latest); /* or the compiler computes a number from both pointers */
	if (latest && !connection->latest.bytes[0])
		connection->latest = *latest;
	connection_end(connection);
	return 0;
}

/* Gives a connection its records. last is that of the segment that ended the handshake, or NULL. */
static __always_inline void give_records(struct bpf_sock_ops *ops, struct bpf_sock *sk,
					 const struct pktmeta_record_buffer *last, int has_history,
					 struct pktmeta_establish_counters *counters)
{
	int accepted = ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
	const struct pktmeta_record_buffer *opening = last; /* of a client: the SYN-ACK's */
	struct pktmeta_record_buffer *syn = NULL;
	struct pktmeta_flow flow = {};

	if (accepted) {
		flow_of_connection(&flow, ops);
		syn = bpf_map_lookup_elem(&pktmeta_syns, &flow);
		opening = syn && syn->bytes[0] ? syn : NULL;
	}
	if (keep_records(sk, opening, last, has_history)) {
		note_unkept(bpf_get_socket_cookie(ops), records_of(opening, last));
		counters->unkept++;
	} else if (opening) {
		counters->opened++;
	} else if (accepted && !syn) {
		note_unkept(bpf_get_socket_cookie(ops), UNKEPT_OPENING);
		counters->syns_unknown++;
	} else {
		counters->absent++;
	}
	if (syn)
		bpf_map_delete_elem(&pktmeta_syns, &flow);
}

static __always_inline void establish(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct bpf_sock_ops_kern___pktmeta *kernel_ops = bpf_cast_to_kern_ctx(ops);
	struct sk_buff___pktmeta *skb = kernel_ops->skb;
	struct pktmeta_history *history = bpf_sk_storage_get(&pktmeta_histories, sk, 0, 0);
	struct pktmeta_establish_counters *counters;
	struct pktmeta_record_buffer buffer = {}, *last;
	int has_history = history != NULL;
	__u32 zero = 0;

	barrier_var(has_history); /* or the compiler computes a number from two pointers */
	last = skb && !copy_record(&buffer, pktmeta_find_record(skb)) ? &buffer : NULL;
	if (history)
		begin_history(history, ops, sk, last);
	counters = bpf_map_lookup_elem(&pktmeta_sockops_counters, &zero);
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
		forget_connection(ops, sk);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		establish(ops, sk);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
