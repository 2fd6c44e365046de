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

/* The fields of this host by TLV type; entry 0 is about the registry, and has type 0. */
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

/* Gives the application length bytes. One loop for all answers: the verifier walks it once. */
static __always_inline int answer(struct bpf_sockopt *ctx, const struct record_buffer *from,
				  __u32 length)
{
	void *to = ctx->optval, *end = ctx->optval_end;
	__u32 at = 0;
	__u32 i;

	if (length > sizeof(from->bytes) || to + length > end)
		return refuse(EMSGSIZE);
	for (i = 0; i < sizeof(from->bytes) / 8; i++, at += 8) {
		if (at + 8 > length)
			break;
		barrier_var(at); /* the compiler knows that the next test holds, the verifier not */
		if (at > sizeof(from->bytes) - 8 || to + at + 8 > end)
			break;
		*(__u64 *)(to + at) = *(const __u64 *)(from->bytes + at);
	}
	for (i = 0; i < 7; i++, at++) {
		if (at >= length)
			break;
		barrier_var(at);
		if (at >= sizeof(from->bytes) || to + at + 1 > end)
			break;
		*(__u8 *)(to + at) = from->bytes[at];
	}
	ctx->optlen = length;
	barrier(); /* two stores: the verifier refuses one over both */
	ctx->retval = 0;
	return 1;
}

/*
 * What follows puts answers into out, each of which is zeroed before and has room for it, and
 * returns their length, or an error.
 */

static __always_inline int read_info(struct record_buffer *out)
{
	struct pktmeta_ring_header *header = (void *)ring_slot_at(ring_slots);

	if (!header)
		return -ENODATA;
	*(struct pktmeta_info *)out = header->info;
	return sizeof(header->info);
}

/* The first field whose type is at least this. */
static __always_inline int read_field(struct record_buffer *out, __u32 type)
{
	struct pktmeta_field_info *field;
	__u32 i;

	for (i = 0; i < PKTMETA_FIELDS_MAX; i++, type++) {
		field = bpf_map_lookup_elem(&registry, &type);
		if (!field)
			break;
		if (field->type && !(field->policy & PKTMETA_POLICY_RETIRED)) {
			*(struct pktmeta_field_info *)out = *field;
			return sizeof(*field);
		}
	}
	return -ENODATA;
}

static __always_inline int read_connection(struct record_buffer *out, struct bpf_sock *sk,
					   int opening)
{
	struct connection *connection;

	if (sk->protocol != IPPROTO_TCP)
		return -EPROTOTYPE;
	connection = bpf_sk_storage_get(&connections, sk, 0, 0);
	if (!connection)
		return -ENODATA;
	bpf_spin_lock(&connection->lock);
	if (opening)
		*out = connection->opening;
	else
		*out = connection->latest;
	bpf_spin_unlock(&connection->lock);
	return pktmeta_header_length((void *)out, sizeof(out->bytes)) ?: -ENODATA;
}

/* The record of a ticket, if the datagram was this socket's and the slot is still its. */
static __always_inline int read_ticket(struct record_buffer *out, struct bpf_sockopt *ctx,
				       __u32 ticket)
{
	struct bpf_sockopt_kern___pktmeta *kernel_ctx = bpf_cast_to_kern_ctx(ctx);
	struct pktmeta_slot *slot = ring_slot(ticket);
	__u64 cookie;

	if (ticket == PKTMETA_TICKET_ABSENT || !slot)
		return -ENODATA;
	if (__sync_fetch_and_add(&slot->ticket, 0) != ticket)
		return -ESTALE;
	cookie = slot->cookie;
	*out = *(struct record_buffer *)slot->record;
	/* Atomic additions of nothing are the full barriers that every instruction set here has. */
	if (__sync_fetch_and_add(&slot->ticket, 0) != ticket ||
	    cookie != (__u64)kernel_ctx->sk->__sk_common.skc_cookie.counter)
		return -ESTALE;
	return pktmeta_header_length((void *)out, sizeof(out->bytes)) ?: -ENODATA;
}

static __always_inline int read_tickets(struct record_buffer *out, struct bpf_sock *sk)
{
	__s32 *where;

	if (sk->protocol != IPPROTO_UDP)
		return -EPROTOTYPE;
	where = bpf_sk_storage_get(&tickets, sk, 0, 0);
	*(__s32 *)out = where ? *where : PKTMETA_TICKETS_OFF;
	return sizeof(*where);
}

static __always_inline int read_option(struct record_buffer *out, struct bpf_sockopt *ctx,
				       struct bpf_sock *sk)
{
	__u32 option = ctx->optname;

	if (ctx->level == SOL_PKTMETA_DGRAM)
		return read_ticket(out, ctx, option);
	switch (option) {
	case PKTMETA_INFO:
		return read_info(out);
	case PKTMETA_RX:
	case PKTMETA_RX_SYN:
		return read_connection(out, sk, option == PKTMETA_RX_SYN);
	case PKTMETA_TICKETS:
		return read_tickets(out, sk);
	case PKTMETA_FIELD_INFO ... PKTMETA_FIELD_INFO + PKTMETA_FIELDS_MAX - 1:
		return read_field(out, option - PKTMETA_FIELD_INFO);
	}
	return -ENOPROTOOPT;
}

SEC("cgroup/getsockopt")
int pktmeta_get(struct bpf_sockopt *ctx)
{
	struct pktmeta_answer_counters *counters;
	struct bpf_sock *sk = ctx->sk;
	struct record_buffer out = {};
	__u32 zero = 0;
	int length;

	if (ctx->level != SOL_PKTMETA && ctx->level != SOL_PKTMETA_DGRAM) {
		/* A buffer that the kernel trimmed must be given up, or the call fails: EFAULT. */
		if (ctx->optlen > PAGE_SIZE)
			ctx->optlen = 0;
		return 1;
	}
	if (!sk)
		return refuse(ENOPROTOOPT);
	length = read_option(&out, ctx, sk);
	counters = bpf_map_lookup_elem(&answer_counters, &zero);
	if (counters)
		__sync_fetch_and_add(length < 0 ? &counters->refused : &counters->answered, 1);
	return length < 0 ? refuse(-length) : answer(ctx, &out, length);
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
