// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * cgroup/getsockopt: answers applications at the levels of pktmeta. Leaves other levels to the
 * kernel.
 */
#include "sockopt.bpf.h"
#include <pktmeta/sent.bpf.h>
#include "stores/ring.bpf.h"
#include "stores/unkept.bpf.h"
#include "getsockopt.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_answer_counters);
} pktmeta_getsockopt_counters SEC(".maps");

/* Copies an answer to the application. One loop for all answers: the verifier walks it once. */
static __always_inline int answer(struct bpf_sockopt *ctx, const struct pktmeta_copy *from,
				  __u32 length)
{
	void *to = ctx->optval, *end = ctx->optval_end;
	__u32 at = 0;
	__u32 i;

	if (length > sizeof(from->bytes) || to + length > end)
		return refuse(-EMSGSIZE);
	for (i = 0; i < sizeof(from->bytes) / 8; i++, at += 8) {
		if (at + 8 > length)
			break;
		barrier_var(
			at); /* or the compiler leaves out the next test: the verifier needs it */
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
	barrier(); /* or the compiler merges the two stores, which the verifier refuses */
	ctx->retval = 0;
	return 1;
}

/*
 * The next functions put an answer into out, which is zeroed and large enough. They return the
 * answer's length, or an error.
 */

static __always_inline int read_info(struct pktmeta_copy *out)
{
	struct pktmeta_ring_header *header = (void *)ring_slot_at(ring_slots);
	struct pktmeta_info *info = (void *)out;
	__u64 *about;
	__u32 zero = 0;

	about = bpf_map_lookup_elem(&pktmeta_registry, &zero);
	if (!header || !about)
		return -ENODATA;
	*info = header->info;
	info->schema = *about;
	if (may_send())
		info->features |= PKTMETA_FEATURE_TX;
	return sizeof(*info);
}

/* Answers with the first field whose type is at least this. */
static __always_inline int read_field_info(struct pktmeta_copy *out, __u32 type)
{
	struct pktmeta_field_info *field;
	__u32 i;

	for (i = 0; i < PKTMETA_FIELDS_MAX; i++, type++) {
		field = field_of(type);
		if (field) {
			*(struct pktmeta_field_info *)out = *field;
			return sizeof(*field);
		}
		if (type >= PKTMETA_FIELDS_MAX)
			break;
	}
	return -ENODATA;
}

static __always_inline int read_tickets(struct pktmeta_copy *out, struct bpf_sock *sk)
{
	__s32 *where = bpf_sk_storage_get(&pktmeta_tickets, sk, 0, 0);

	*(__s32 *)out = where ? *where : PKTMETA_TICKETS_OFF;
	return sizeof(*where);
}

static __always_inline int read_history(struct pktmeta_copy *out, struct bpf_sock *sk)
{
	*(__s32 *)out = bpf_sk_storage_get(&pktmeta_histories, sk, 0, 0) != 0;
	return sizeof(__s32);
}

static __always_inline int read_selection(struct pktmeta_copy *out, struct bpf_sock *sk)
{
	struct pktmeta_selection *selection = bpf_sk_storage_get(&pktmeta_selections, sk, 0, 0);
	__u32 count;

	if (!selection || !selection->count)
		return -ENODATA;
	__builtin_memcpy(out->bytes, selection->types, sizeof(selection->types));
	count = selection->count;
	barrier_var(count);
	return count > PKTMETA_SELECTION_MAX ? -ENODATA : (int)count;
}

/*
 * The next functions copy a record to out, and return 0 or an error. If the store has no record,
 * the copy is none, and read_option() refuses it.
 */

static __always_inline int read_connection(struct pktmeta_copy *out, struct bpf_sockopt *ctx,
					   struct bpf_sock *sk, int opening)
{
	struct bpf_sockopt_kern___pktmeta *kernel_ctx = bpf_cast_to_kern_ctx(ctx);
	struct pktmeta_connection *connection = bpf_sk_storage_get(&pktmeta_connections, sk, 0, 0);
	struct pktmeta_record_buffer *record;
	__u64 cookie;

	if (was_disconnected(sk->state, sk->dst_port))
		return -ENODATA;
	if (connection) {
		record = opening ? &connection->opening : &connection->latest;
		if (connection_read(connection, record, (struct pktmeta_record_buffer *)out))
			return -EAGAIN;
		if (pktmeta_header_length((void *)out, PKTMETA_RECORD_MAX))
			return 0;
	}
	cookie = kernel_ctx->sk->__sk_common.skc_cookie.counter;
	return was_unkept(cookie, opening ? UNKEPT_OPENING : UNKEPT_LATEST) ? -ENOBUFS : -ENODATA;
}

static __always_inline int read_byte(struct pktmeta_copy *out, struct bpf_sock *sk, __u32 position)
{
	struct pktmeta_history *history = bpf_sk_storage_get(&pktmeta_histories, sk, 0, 0);
	struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);

	if (!history || !tcp || was_disconnected(sk->state, sk->dst_port))
		return -ESTALE;
	return history_find(history, position, tcp->bytes_received, out);
}

static __always_inline int read_sent(struct pktmeta_copy *out, struct bpf_sock *sk)
{
	struct pktmeta_tx *tx = bpf_sk_storage_get(&pktmeta_tx, sk, 0, 0);

	if (!tx)
		return -ENODATA;
	bpf_spin_lock(&tx->lock);
	*out = tx->record;
	bpf_spin_unlock(&tx->lock);
	return 0;
}

/*
 * Reads the record of a ticket, and the mark or priority that the ticket displaced, if the datagram
 * was this socket's and no other ticket has its slot by now.
 */
static __always_inline int read_ticket(struct pktmeta_copy *out, struct bpf_sockopt *ctx,
				       __u32 ticket, __u32 *displaced)
{
	struct bpf_sockopt_kern___pktmeta *kernel_ctx = bpf_cast_to_kern_ctx(ctx);
	struct pktmeta_slot *slot = ring_slot(ticket);
	__u64 cookie;

	if (ticket == PKTMETA_TICKET_ABSENT)
		return 0;
	/*
	 * 0 is no ticket: slots have it that nobody has written yet, or that somebody writes now.
	 */
	if (!ticket || !slot)
		return -ESTALE;
	if (__sync_fetch_and_add(&slot->ticket, 0) != ticket)
		return -ESTALE;
	cookie = slot->cookie;
	*displaced = slot->displaced;
	*(struct pktmeta_record_buffer *)out = *(struct pktmeta_record_buffer *)slot->record;
	/* An addition of 0 is a full barrier, for which every version of BPF has an instruction. */
	if (__sync_fetch_and_add(&slot->ticket, 0) != ticket ||
	    cookie != (__u64)kernel_ctx->sk->__sk_common.skc_cookie.counter)
		return -ESTALE;
	return 0;
}

static __always_inline int read_displaced(struct pktmeta_copy *out, struct bpf_sockopt *ctx)
{
	__u32 displaced = 0;
	int err = read_ticket(out, ctx, ctx->optname, &displaced);

	*(__u32 *)out = displaced;
	return err ?: (int)sizeof(displaced);
}

/* The part of a record that the application asked for. */
struct pktmeta_view {
	__u32 field;	/* the value of this type; 0: the whole record */
	__u32 selected; /* the selected fields */
};

/* Reads the record that an option is about. Returns 0, an error, or 1 if it is about no record. */
static __always_inline int read_record(struct pktmeta_copy *out, struct bpf_sockopt *ctx,
				       struct bpf_sock *sk, struct pktmeta_view *view)
{
	__u32 option = ctx->optname, displaced;

	switch (ctx->level) {
	case SOL_PKTMETA_DGRAM_FIELDS:
		view->selected = 1;
		return read_ticket(out, ctx, option, &displaced);
	case SOL_PKTMETA_DGRAM:
		return read_ticket(out, ctx, option, &displaced);
	case SOL_PKTMETA_DGRAM_DISPLACED:
		return 1;
	case SOL_PKTMETA_BYTE_FIELDS:
		view->selected = 1;
		return read_byte(out, sk, option);
	case SOL_PKTMETA_BYTE:
		return read_byte(out, sk, option);
	}
	switch (option) {
	case PKTMETA_RX_FIELDS:
	case PKTMETA_RX_SYN_FIELDS:
		view->selected = 1;
		return read_connection(out, ctx, sk, option == PKTMETA_RX_SYN_FIELDS);
	case PKTMETA_RX_FIELD + 1 ... PKTMETA_RX_FIELD + PKTMETA_FIELDS_MAX - 1:
	case PKTMETA_RX_SYN_FIELD + 1 ... PKTMETA_RX_SYN_FIELD + PKTMETA_FIELDS_MAX - 1:
		view->field = option % PKTMETA_FIELDS_MAX;
		return read_connection(out, ctx, sk, option >= PKTMETA_RX_SYN_FIELD);
	case PKTMETA_TX_FIELD + 1 ... PKTMETA_TX_FIELD + PKTMETA_FIELDS_MAX - 1:
		view->field = option % PKTMETA_FIELDS_MAX;
		return read_sent(out, sk);
	case PKTMETA_RX:
	case PKTMETA_RX_SYN:
		return read_connection(out, ctx, sk, option == PKTMETA_RX_SYN);
	case PKTMETA_TX:
		return read_sent(out, sk);
	}
	return 1;
}

/* Reads an option that is about no record. Returns the answer's length, or an error. */
static __always_inline int read_setting(struct pktmeta_copy *out, struct bpf_sockopt *ctx,
					struct bpf_sock *sk)
{
	__u32 option = ctx->optname;

	if (ctx->level == SOL_PKTMETA_DGRAM_DISPLACED)
		return read_displaced(out, ctx);
	switch (option) {
	case PKTMETA_INFO:
		return read_info(out);
	case PKTMETA_TICKETS:
		return read_tickets(out, sk);
	case PKTMETA_RX_HISTORY:
		return read_history(out, sk);
	case PKTMETA_FIELDS:
		return read_selection(out, sk);
	case PKTMETA_FIELD_INFO ... PKTMETA_FIELD_INFO + PKTMETA_FIELDS_MAX:
		return read_field_info(out, option - PKTMETA_FIELD_INFO);
	}
	return -ENOPROTOOPT;
}

/* Returns the kinds of sockets that an option is for, or 0 if there is no such option. */
static __always_inline int kinds_for(const struct bpf_sockopt *ctx)
{
	switch (ctx->level) {
	case SOL_PKTMETA_DGRAM:
	case SOL_PKTMETA_DGRAM_FIELDS:
	case SOL_PKTMETA_DGRAM_DISPLACED:
		return UDP_SOCKET;
	case SOL_PKTMETA_BYTE:
	case SOL_PKTMETA_BYTE_FIELDS:
		return TCP_SOCKET;
	}
	switch (ctx->optname) {
	case PKTMETA_INFO:
	/* The last one is behind all types: applications ask for the type found last, plus 1. */
	case PKTMETA_FIELD_INFO ... PKTMETA_FIELD_INFO + PKTMETA_FIELDS_MAX:
		return ANY_SOCKET;
	case PKTMETA_TICKETS:
		return UDP_SOCKET;
	case PKTMETA_RX:
	case PKTMETA_RX_SYN:
	case PKTMETA_RX_HISTORY:
	case PKTMETA_RX_FIELDS:
	case PKTMETA_RX_SYN_FIELDS:
	case PKTMETA_RX_FIELD + 1 ... PKTMETA_RX_FIELD + PKTMETA_FIELDS_MAX - 1:
	case PKTMETA_RX_SYN_FIELD + 1 ... PKTMETA_RX_SYN_FIELD + PKTMETA_FIELDS_MAX - 1:
		return TCP_SOCKET;
	case PKTMETA_TX:
	case PKTMETA_FIELDS:
	case PKTMETA_TX_FIELD + 1 ... PKTMETA_TX_FIELD + PKTMETA_FIELDS_MAX - 1:
		return TCP_SOCKET | UDP_SOCKET;
	}
	return 0;
}

/*
 * Fills in the size and the bytes of a value, whose type is given, from a record. Returns 0, or
 * -ENOENT if the record does not have the field, or has bytes that are no value of it.
 */
__noinline int pktmeta_read_value(const struct pktmeta_copy *record, struct pktmeta_value *to)
{
	struct pktmeta_field_info *field;
	__u32 at, size, header;

	if (!record || !to)
		return -ENOENT;
	field = field_of(to->type);
	if (!field)
		return -ENOENT;
	at = pktmeta_copy_find(record, field_tag(field));
	if (!at)
		return -ENOENT;
	barrier_var(
		at); /* or the compiler merges the tests, from which many verifiers learn nothing */
	if (at > PKTMETA_RECORD_MAX - 2)
		return -ENOENT;
	header = pktmeta_tlv_header(record->bytes[at]);
	size = header == 2 ? record->bytes[at + 1] :
			     1 << (record->bytes[at] >> PKTMETA_TAG_SIZE_SHIFT);
	if (size > sizeof(to->value) || !field_takes(field, size, record->bytes[at + header]))
		return -ENOENT;
	if (pktmeta_copy_bytes(record, at + header, to->value, size, sizeof(to->value)))
		return -ENOENT;
	to->size = size;
	return 0;
}

/* Copies the value of a selected field to the application. Returns 0 or -EMSGSIZE. */
__noinline int pktmeta_answer_value(struct bpf_sockopt *ctx, const struct pktmeta_copy *record,
				    __u32 index, __u8 type)
{
	struct pktmeta_value value = { .type = type }, *to = ctx->optval;

	if (index >= PKTMETA_SELECTION_MAX)
		return -EMSGSIZE;
	to += index;
	if ((void *)(to + 1) > ctx->optval_end)
		return -EMSGSIZE;
	if (pktmeta_read_value(record, &value))
		value.status = ENOENT;
	*to = value;
	return 0;
}

static __always_inline int answer_selection(struct bpf_sockopt *ctx, struct bpf_sock *sk,
					    const struct pktmeta_copy *record)
{
	struct pktmeta_selection *selection = bpf_sk_storage_get(&pktmeta_selections, sk, 0, 0);
	__u32 i;

	if (!selection || !selection->count)
		return refuse(-ENODATA);
	for (i = 0; i < PKTMETA_SELECTION_MAX && i < selection->count; i++) {
		if (pktmeta_answer_value(ctx, record, i, selection->types[i]))
			return refuse(-EMSGSIZE);
	}
	ctx->optlen = i * sizeof(struct pktmeta_value);
	barrier();
	ctx->retval = 0;
	return 1;
}

/* Overwrites the start of a record with the value of a field. Returns its size, or -ENOENT. */
__noinline int pktmeta_extract(struct pktmeta_copy *record, __u32 type)
{
	struct pktmeta_value value = { .type = type };

	if (!record || pktmeta_read_value(record, &value))
		return -ENOENT;
	__builtin_memcpy(record->bytes, value.value, sizeof(value.value));
	if (value.size)
		return value.size;
	/* A flag that is set: 1, because the kernel does not hand over an answer without bytes. */
	record->bytes[0] = 1;
	return 1;
}

/* Puts the answer into out. Returns its length, or an error. */
static __always_inline int read_option(struct pktmeta_copy *out, struct bpf_sockopt *ctx,
				       struct bpf_sock *sk, struct pktmeta_view *view)
{
	int kinds = kinds_for(ctx), err;

	if (!kinds)
		return -ENOPROTOOPT;
	if (!(kinds & kind_of(sk)))
		return -EPROTOTYPE;
	err = read_record(out, ctx, sk, view);
	if (err > 0)
		return read_setting(out, ctx, sk);
	if (err)
		return err;
	return pktmeta_copy_length(out) ?: -ENODATA;
}

SEC("cgroup/getsockopt")
int pktmeta_getsockopt(struct bpf_sockopt *ctx)
{
	struct pktmeta_answer_counters *counters;
	struct bpf_sock *sk = ctx->sk;
	struct pktmeta_copy out = {};
	struct pktmeta_view view = {};
	__u32 zero = 0;
	int length;

	if (!is_ours(ctx))
		return leave_to_kernel(ctx);
	if (!sk)
		return refuse(-ENOPROTOOPT);
	length = read_option(&out, ctx, sk, &view);
	if (length > 0 && view.field)
		length = pktmeta_extract(&out, view.field);
	counters = bpf_map_lookup_elem(&pktmeta_getsockopt_counters, &zero);
	if (counters)
		__sync_fetch_and_add(length < 0 ? &counters->refused : &counters->answered, 1);
	if (length < 0)
		return refuse(length);
	if (view.selected)
		return answer_selection(ctx, sk, &out);
	return answer(ctx, &out, length);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
