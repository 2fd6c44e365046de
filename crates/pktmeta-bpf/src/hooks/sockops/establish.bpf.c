// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * sockops: when a handshake ends, gives the connection the record of the segment that opened it, and
 * that of the segment that ended the handshake. It happens before accept() or connect() returns.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <pktmeta/socket.bpf.h>
#include "../../carriers/connection.bpf.h"
#include "../../carriers/history.bpf.h"
#include "../../carriers/syn.bpf.h"
#include "establish.h"

#define NULL ((void *)0)
#define AF_INET6 10
#define TCP_HEADER 20
#define TCP_DATA_OFFSET 12

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
static __always_inline void begin_history(struct bpf_sock_ops *ops, struct bpf_sock *sk,
					  const struct record_buffer *record)
{
	struct history *history = bpf_sk_storage_get(&histories, sk, 0, 0);
	struct bpf_tcp_sock *tcp = history ? bpf_tcp_sock(sk) : NULL;
	void *header = ops->skb_data, *end = ops->skb_data_end;

	if (!tcp)
		return;
	history_begin(history, tcp);
	if (header + TCP_HEADER <= end)
		history_add(history, history->start,
			    ops->skb_len - (*(__u8 *)(header + TCP_DATA_OFFSET) >> 4) * 4, record);
}

/* Of the SYN that opened the connection, as deliver.bpf.c knows it. */
static __always_inline void find_flow(struct flow *flow, struct bpf_sock_ops *ops,
				      struct bpf_sock_ops_kern___pktmeta *kernel_ops)
{
	flow->netns = kernel_ops->sk->__sk_common.skc_net.net->net_cookie;
	if (ops->family == AF_INET6) {
		flow->remote_address[0] = ops->remote_ip6[0];
		flow->remote_address[1] = ops->remote_ip6[1];
		flow->remote_address[2] = ops->remote_ip6[2];
		flow->remote_address[3] = ops->remote_ip6[3];
		flow->local_address[0] = ops->local_ip6[0];
		flow->local_address[1] = ops->local_ip6[1];
		flow->local_address[2] = ops->local_ip6[2];
		flow->local_address[3] = ops->local_ip6[3];
		barrier(); /* no load through a chosen pointer into the context */
	} else {
		flow_set_ipv4(flow->remote_address, ops->remote_ip4);
		flow_set_ipv4(flow->local_address, ops->local_ip4);
	}
	/* The context has the ports in two byte orders (sock_ops_convert_ctx_access). */
	flow->remote_port = bpf_htons(bpf_ntohl(ops->remote_port));
	flow->local_port = bpf_htons(ops->local_port);
	/* Nothing behind the SYN has been received (tcp_create_openreq_child). */
	flow->sequence = bpf_htonl(ops->rcv_nxt - 1);
}

/* last: the record of the segment that ended the handshake, or NULL. */
static __always_inline void give_records(struct bpf_sock_ops *ops,
					 struct bpf_sock_ops_kern___pktmeta *kernel_ops,
					 struct bpf_sock *sk, const struct record_buffer *last,
					 struct pktmeta_establish_counters *counters)
{
	int accepted = ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
	const struct record_buffer *opening = last; /* the SYN-ACK's */
	struct connection *connection;
	struct flow flow = {};

	if (accepted) {
		find_flow(&flow, ops, kernel_ops);
		opening = bpf_map_lookup_elem(&syns, &flow);
	}
	if (opening)
		counters->opened++;
	else
		counters->absent++;
	if (!opening && !last)
		return;
	connection = bpf_sk_storage_get(&connections, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection)
		return;
	bpf_spin_lock(&connection->lock);
	if (opening)
		connection->opening = *opening;
	/* Another CPU may have had the next segment already. */
	if (!connection->latest.bytes[0]) {
		if (last)
			connection->latest = *last;
		else if (opening)
			connection->latest = *opening;
	}
	bpf_spin_unlock(&connection->lock);
	if (accepted && opening)
		bpf_map_delete_elem(&syns, &flow);
}

static __always_inline void establish(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct bpf_sock_ops_kern___pktmeta *kernel_ops = bpf_cast_to_kern_ctx(ops);
	struct sk_buff___pktmeta *skb = kernel_ops->skb;
	struct pktmeta_establish_counters *counters;
	struct record_buffer buffer = {}, *last;
	__u32 zero = 0;

	last = skb && !copy_record(&buffer, pktmeta_find_record(skb)) ? &buffer : NULL;
	begin_history(ops, sk, last);
	counters = bpf_map_lookup_elem(&establish_counters, &zero);
	if (counters)
		give_records(ops, kernel_ops, sk, last, counters);
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
