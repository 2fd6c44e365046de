// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * cgroup/getsockopt and cgroup/setsockopt: what applications ask at SOL_PKTMETA. Other levels are
 * the kernel's, as if these programs were not there.
 */
#include <linux/bpf.h>
#include <pktmeta/socket.bpf.h>
#include "../../carriers/connection.bpf.h"
#include "../../carriers/ring.bpf.h"
#include "../../carriers/tickets.bpf.h"
#include "answer.h"

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define PAGE_SIZE 4096

#define EINVAL 22
#define ENODATA 61
#define EMSGSIZE 90
#define EPROTOTYPE 91
#define ENOPROTOOPT 92
#define ESTALE 116

/* The fields of this host by TLV type; entry 0 is not used. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PKTMETA_FIELDS_MAX);
	__type(key, __u32);
	__type(value, struct pktmeta_field_info);
} registry SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_answer_counters);
} answer_counters SEC(".maps");

static __always_inline int refuse(int error)
{
	bpf_set_retval(-error);
	return 0;
}

static __always_inline int answered(struct bpf_sockopt *ctx, __u32 length)
{
	ctx->optlen = length;
	barrier(); /* two stores: the verifier refuses one over both */
	ctx->retval = 0;
	return 1;
}

/* Answers with length bytes, at most a record's, from memory that has that much. */
static __always_inline int answer(struct bpf_sockopt *ctx, const void *from, __u32 length)
{
	void *to = ctx->optval, *end = ctx->optval_end;
	__u32 at;

	if (length > PKTMETA_RECORD_MAX || to + length > end)
		return refuse(EMSGSIZE);
	for (at = 0; at < PKTMETA_RECORD_MAX; at += 8) {
		if (at + 8 > length)
			break;
		barrier_var(at); /* the compiler knows that the next test holds, the verifier not */
		if (to + at + 8 > end)
			break;
		*(__u64 *)(to + at) = *(const __u64 *)(from + at);
	}
	for (; at < PKTMETA_RECORD_MAX; at++) {
		if (at >= length)
			break;
		barrier_var(at);
		if (to + at + 1 > end)
			break;
		*(__u8 *)(to + at) = *(const __u8 *)(from + at);
	}
	return answered(ctx, length);
}

static __always_inline int answer_record(struct bpf_sockopt *ctx, struct record_buffer *record)
{
	__u32 length = pktmeta_header_length((void *)record, PKTMETA_RECORD_MAX);

	return length ? answer(ctx, record, length) : refuse(ENODATA);
}

static __always_inline int answer_info(struct bpf_sockopt *ctx)
{
	struct pktmeta_ring_header *header = (void *)ring_slot_at(ring_slots);

	return header ? answer(ctx, &header->info, sizeof(header->info)) : refuse(ENODATA);
}

/* The first field whose type is at least this. */
static __always_inline int answer_field(struct bpf_sockopt *ctx, __u32 type)
{
	struct pktmeta_field_info *field;
	int i;

	for (i = 0; i < PKTMETA_FIELDS_MAX; i++, type++) {
		field = bpf_map_lookup_elem(&registry, &type);
		if (!field)
			break;
		if (field->type)
			return answer(ctx, field, sizeof(*field));
	}
	return refuse(ENODATA);
}

static __always_inline int answer_connection(struct bpf_sockopt *ctx, struct bpf_sock *sk,
					     int opening)
{
	struct record_buffer record;
	struct connection *connection;

	if (sk->protocol != IPPROTO_TCP)
		return refuse(EPROTOTYPE);
	connection = bpf_sk_storage_get(&connections, sk, 0, 0);
	if (!connection)
		return refuse(ENODATA);
	bpf_spin_lock(&connection->lock);
	record = opening ? connection->opening : connection->latest;
	bpf_spin_unlock(&connection->lock);
	return answer_record(ctx, &record);
}

/* The record of a ticket, if the datagram was this socket's and the slot is still its. */
static __always_inline int answer_ticket(struct bpf_sockopt *ctx, __u32 ticket)
{
	struct bpf_sockopt_kern___pktmeta *kernel_ctx = bpf_cast_to_kern_ctx(ctx);
	struct pktmeta_slot *slot = ring_slot(ticket);
	struct record_buffer record;
	__u64 cookie;

	if (!ticket || !slot)
		return refuse(ENODATA);
	if (__sync_fetch_and_add(&slot->ticket, 0) != ticket)
		return refuse(ESTALE);
	cookie = slot->cookie;
	__builtin_memcpy(&record, slot->record, sizeof(record));
	/* Atomic additions of nothing are the full barriers that every instruction set here has. */
	if (__sync_fetch_and_add(&slot->ticket, 0) != ticket ||
	    cookie != (__u64)kernel_ctx->sk->__sk_common.skc_cookie.counter)
		return refuse(ESTALE);
	return answer_record(ctx, &record);
}

static __always_inline int answer_tickets(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	__s32 *where, off = PKTMETA_TICKETS_OFF;

	if (sk->protocol != IPPROTO_UDP)
		return refuse(EPROTOTYPE);
	where = bpf_sk_storage_get(&tickets, sk, 0, 0);
	return answer(ctx, where ?: &off, sizeof(off));
}

static __always_inline int answer_option(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	if (ctx->level == SOL_PKTMETA_DGRAM)
		return answer_ticket(ctx, ctx->optname);
	switch (ctx->optname) {
	case PKTMETA_INFO:
		return answer_info(ctx);
	case PKTMETA_RX:
		return answer_connection(ctx, sk, 0);
	case PKTMETA_RX_SYN:
		return answer_connection(ctx, sk, 1);
	case PKTMETA_TICKETS:
		return answer_tickets(ctx, sk);
	}
	if (ctx->optname >= PKTMETA_FIELD_INFO &&
	    ctx->optname < PKTMETA_FIELD_INFO + PKTMETA_FIELDS_MAX)
		return answer_field(ctx, ctx->optname - PKTMETA_FIELD_INFO);
	return refuse(ENOPROTOOPT);
}

SEC("cgroup/getsockopt")
int pktmeta_get(struct bpf_sockopt *ctx)
{
	struct pktmeta_answer_counters *counters;
	struct bpf_sock *sk = ctx->sk;
	__u32 zero = 0;
	int done;

	if (ctx->level != SOL_PKTMETA && ctx->level != SOL_PKTMETA_DGRAM) {
		/* A buffer that the kernel trimmed must be given up, or the call fails: EFAULT. */
		if (ctx->optlen > PAGE_SIZE)
			ctx->optlen = 0;
		return 1;
	}
	if (!sk)
		return refuse(ENOPROTOOPT);
	done = answer_option(ctx, sk);
	counters = bpf_map_lookup_elem(&answer_counters, &zero);
	if (counters)
		__sync_fetch_and_add(done ? &counters->answered : &counters->refused, 1);
	return done;
}

SEC("cgroup/setsockopt")
int pktmeta_set(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	__s32 *value = ctx->optval, *where;

	if (ctx->level != SOL_PKTMETA) {
		if (ctx->optlen > PAGE_SIZE)
			ctx->optlen = 0;
		return 1;
	}
	if (!sk || ctx->optname != PKTMETA_TICKETS)
		return refuse(ENOPROTOOPT);
	if (sk->protocol != IPPROTO_UDP)
		return refuse(EPROTOTYPE);
	if ((void *)(value + 1) > ctx->optval_end || ctx->optlen != sizeof(*value))
		return refuse(EINVAL);
	if (*value < PKTMETA_TICKETS_OFF || *value > PKTMETA_TICKETS_PRIORITY)
		return refuse(EINVAL);
	where = bpf_sk_storage_get(&tickets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!where)
		return refuse(EINVAL);
	*where = *value;
	ctx->optlen = -1; /* done: the kernel need not look at it */
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
