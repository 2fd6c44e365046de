// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Iterators that list sockets with the records that the datapath keeps for them. The iterator over
 * a map of socket storage finds the sockets that have some, in every network namespace, even before
 * accept(). The iterator over open files finds the processes of sockets, and sockets without
 * storage.
 */
#include <pktmeta/sent.bpf.h>
#include <pktmeta/socket.bpf.h>
#include "stores/connections.bpf.h"
#include "stores/tickets.bpf.h"
#include "socket_kind.bpf.h"
#include "iter.h"

/* Whether to list sockets without storage too. */
const volatile __u8 list_all = 0;

struct bpf_iter_meta___sockets {
	struct seq_file *seq;
};

/* The contexts of the two iterators, as DEFINE_BPF_ITER_FUNC of the kernel defines them. */
struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta___sockets *meta;
	struct bpf_map *map;
	struct sock___sockets *sk;
	void *value;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta___sockets *meta;
	struct task_struct___sockets *task;
	__u64 fd;
	struct file *file;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct upid___sockets {
	int nr;
};

struct pid___sockets {
	unsigned int level;
	struct upid___sockets numbers[1];
};

struct task_struct___sockets {
	struct task_struct___sockets *group_leader;
	struct pid___sockets *thread_pid;
	char comm[16];
};

struct net___sockets {
	struct {
		unsigned int inum;
	} ns;
};

struct kernfs_node___sockets {
	__u64 id;
};

struct cgroup___sockets {
	struct kernfs_node___sockets *kn;
};

struct sock___sockets {
	struct {
		__be16 skc_dport;
		unsigned short skc_family;
		unsigned char skc_state;
		struct {
			struct net___sockets *net;
		} skc_net;
	} __sk_common;
	__u16 sk_type;
	__u16 sk_protocol;
	struct {
		__u32 val;
	} sk_uid;
	struct {
		struct cgroup___sockets *cgroup;
	} sk_cgrp_data;
};

struct socket___sockets {
	struct sock___sockets *sk;
};

#pragma clang attribute pop

/*
 * Too large for the stack. Each reader loads programs and maps of its own, and shares no scratch.
 */
struct pktmeta_iter_scratch {
	struct pktmeta_socket socket;
	struct pktmeta_record_buffer opening;
	struct pktmeta_record_buffer latest;
	struct pktmeta_copy sent;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_iter_scratch);
} pktmeta_iter_scratch SEC(".maps");

static __always_inline __u8 header_length(const void *record)
{
	return pktmeta_header_length(record, PKTMETA_RECORD_MAX);
}

static __always_inline void read_stored(struct pktmeta_iter_scratch *out, struct sock___sockets *sk)
{
	struct pktmeta_connection *connection = bpf_sk_storage_get(&pktmeta_connections, sk, 0, 0);
	struct pktmeta_tx *tx = bpf_sk_storage_get(&pktmeta_tx, sk, 0, 0);
	__s32 *where = bpf_sk_storage_get(&pktmeta_tickets, sk, 0, 0);

	if (where)
		out->socket.tickets = *where;
	if (connection && !was_disconnected(sk->__sk_common.skc_state, sk->__sk_common.skc_dport)) {
		connection_read(connection, &connection->opening, &out->opening);
		connection_read(connection, &connection->latest, &out->latest);
		out->socket.opening_length = header_length(&out->opening);
		out->socket.latest_length = header_length(&out->latest);
	}
	if (tx) {
		bpf_spin_lock(&tx->lock);
		out->sent = tx->record;
		bpf_spin_unlock(&tx->lock);
		out->socket.sent_length = header_length(&out->sent);
	}
}

static __always_inline void write_record(struct seq_file *seq, const void *record, __u32 length)
{
	barrier_var(length);
	if (length <= PKTMETA_RECORD_MAX)
		bpf_seq_write(seq, record, length);
}

/* If it does not fit the reader's buffer, the kernel calls the program again (bpf_seq_read). */
static __always_inline void write_socket(struct seq_file *seq,
					 const struct pktmeta_iter_scratch *from)
{
	bpf_seq_write(seq, &from->socket, sizeof(from->socket));
	write_record(seq, &from->opening, from->socket.opening_length);
	write_record(seq, &from->latest, from->socket.latest_length);
	write_record(seq, &from->sent, from->socket.sent_length);
}

/* Reads a socket. Returns NULL if it is not to be listed. */
static __always_inline struct pktmeta_iter_scratch *read_socket(struct sock___sockets *sk)
{
	__u16 family = sk->__sk_common.skc_family;
	__u16 protocol = sk->sk_protocol;
	struct pktmeta_socket *socket;
	struct pktmeta_iter_scratch *out;
	__u32 zero = 0;

	out = bpf_map_lookup_elem(&pktmeta_iter_scratch, &zero);
	if (!out)
		return NULL;
	if (socket_kind(family, sk->sk_type, protocol) == OTHER_SOCKET)
		return NULL;
	socket = &out->socket;
	__builtin_memset(socket, 0, sizeof(*socket));
	read_stored(out, sk);
	if (!list_all && !socket->opening_length && !socket->latest_length &&
	    !socket->sent_length && !socket->tickets)
		return NULL;
	socket->cookie = bpf_get_socket_cookie(sk);
	socket->cgroup = sk->sk_cgrp_data.cgroup->kn->id;
	socket->netns = sk->__sk_common.skc_net.net->ns.inum;
	socket->uid = sk->sk_uid.val;
	socket->protocol = protocol;
	socket->state = sk->__sk_common.skc_state;
	socket_endpoints(&socket->ends, sk);
	return out;
}

/* Returns a task's process id in the pid namespace of the reader, which is the current task. */
static __always_inline __u32 visible_pid(struct task_struct___sockets *task)
{
	struct task_struct___sockets *reader = (void *)bpf_get_current_task_btf();
	struct pid___sockets *pid = task->group_leader->thread_pid;
	__u32 size = bpf_core_type_size(struct upid___sockets);
	__u32 nr = 0;

	/* The iterator leaves out tasks without an id in that namespace (task_seq_get_next). */
	bpf_probe_read_kernel(&nr, sizeof(nr),
			      (void *)&pid->numbers + reader->thread_pid->level * size +
				      bpf_core_field_offset(struct upid___sockets, nr));
	return nr;
}

SEC("iter/bpf_sk_storage_map")
int pktmeta_list_stored(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock___sockets *sk = ctx->sk;
	struct pktmeta_iter_scratch *out;

	out = sk ? read_socket(sk) : NULL;
	if (out)
		write_socket(ctx->meta->seq, out);
	return 0;
}

SEC("iter/task_file")
int pktmeta_list_open(struct bpf_iter__task_file *ctx)
{
	struct task_struct___sockets *task = ctx->task;
	struct file *file = ctx->file;
	struct socket___sockets *socket;
	struct sock___sockets *sk;
	struct pktmeta_iter_scratch *out;

	if (!task || !file)
		return 0;
	socket = (void *)bpf_sock_from_file(file);
	sk = socket ? socket->sk : NULL;
	out = sk ? read_socket(sk) : NULL;
	if (!out)
		return 0;
	out->socket.pid = visible_pid(task);
	out->socket.fd = ctx->fd;
	bpf_probe_read_kernel(out->socket.comm, sizeof(out->socket.comm), task->comm);
	write_socket(ctx->meta->seq, out);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
