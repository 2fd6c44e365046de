// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * cgroup/setsockopt: takes the settings of applications for what their sockets receive, and the
 * records for what they send. Leaves other levels to the kernel. The kernel holds the socket's lock
 * meanwhile (__cgroup_bpf_run_filter_setsockopt), so that one writer at a time runs.
 */
#include "sockopt.bpf.h"
#include <pktmeta/sent.bpf.h>
#include "setsockopt.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_settle_counters);
} pktmeta_setsockopt_counters SEC(".maps");

/* Reads an option that is a number of four bytes, from 0 to max. Returns it, or -EINVAL. */
static __always_inline int read_number(struct bpf_sockopt *ctx, int max)
{
	__s32 *value = ctx->optval;

	if ((void *)(value + 1) > ctx->optval_end || ctx->optlen != sizeof(*value))
		return -EINVAL;
	return *value < 0 || *value > max ? -EINVAL : *value;
}

static __always_inline int set_tickets(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	int value = read_number(ctx, PKTMETA_TICKETS_TIMESTAMP);
	__s32 *where;

	if (value < 0)
		return value;
	where = bpf_sk_storage_get(&pktmeta_tickets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!where)
		return -ENOBUFS;
	*where = value;
	return 0;
}

static __always_inline int set_history(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	int value = read_number(ctx, 1);
	struct pktmeta_connection *connection;
	struct pktmeta_history *history;
	struct bpf_tcp_sock *tcp;

	if (value < 0)
		return value;
	if (!value) {
		bpf_sk_storage_delete(&pktmeta_histories, sk);
		return 0;
	}
	history = bpf_sk_storage_get(&pktmeta_histories, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!history)
		return -ENOBUFS;
	tcp = bpf_tcp_sock(sk);
	/* For other sockets, sockops.bpf.c does this when the connection comes about. */
	if (tcp && sk->state != BPF_TCP_LISTEN && sk->state != BPF_TCP_CLOSE &&
	    sk->state != BPF_TCP_SYN_SENT) {
		connection = bpf_sk_storage_get(&pktmeta_connections, sk, 0,
						BPF_SK_STORAGE_GET_F_CREATE);
		if (!connection) {
			bpf_sk_storage_delete(&pktmeta_histories, sk);
			return -ENOBUFS;
		}
		history_begin(history, tcp);
		connection->has_history = 1;
	}
	return 0;
}

static __always_inline int set_selection(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	struct pktmeta_selection *selection;
	__u8 *types = ctx->optval;
	__u32 count = ctx->optlen, i;

	if (count > PKTMETA_SELECTION_MAX)
		return -EINVAL;
	for (i = 0; i < PKTMETA_SELECTION_MAX && i < count; i++) {
		if ((void *)(types + i + 1) > ctx->optval_end || !types[i] ||
		    types[i] >= PKTMETA_FIELDS_MAX)
			return -EINVAL;
	}
	selection = bpf_sk_storage_get(&pktmeta_selections, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!selection)
		return -ENOBUFS;
	for (i = 0; i < PKTMETA_SELECTION_MAX && i < count; i++) {
		if ((void *)(types + i + 1) > ctx->optval_end)
			return -EINVAL;
		selection->types[i] = types[i];
	}
	selection->count = count;
	return 0;
}

/* Copies the bytes of the application to zeroed memory. Returns their number, or -EINVAL. */
__noinline int pktmeta_copy_option(struct bpf_sockopt *ctx, struct pktmeta_copy *to)
{
	__u32 length = ctx->optlen, at = 0, i;
	void *from = ctx->optval, *end = ctx->optval_end;

	if (!to || length > PKTMETA_RECORD_MAX)
		return -EINVAL;
	for (i = 0; i < PKTMETA_RECORD_MAX / 8; i++, at += 8) {
		if (at + 8 > length)
			break;
		barrier_var(at);
		if (at > PKTMETA_RECORD_MAX - 8 || from + at + 8 > end)
			return -EINVAL;
		*(__u64 *)(to->bytes + at) = *(__u64 *)(from + at);
	}
	for (i = 0; i < 7; i++, at++) {
		if (at >= length)
			break;
		barrier_var(at);
		if (at >= PKTMETA_RECORD_MAX || from + at + 1 > end)
			return -EINVAL;
		to->bytes[at] = *(__u8 *)(from + at);
	}
	return length;
}

/*
 * Checks that applications may write the field at an offset of a record, and that its bytes, up to
 * the offset next, are a value of it. Returns 0, or an error. A function of its own: the verifier
 * walks it once, not once for each TLV.
 */
__noinline int pktmeta_check_field(const struct pktmeta_copy *record, __u32 at, __u32 next)
{
	struct pktmeta_field_info *field;
	__u32 value;
	__u8 tag;

	if (!record || at >= PKTMETA_RECORD_MAX)
		return -EINVAL;
	tag = record->bytes[at];
	field = field_of(tag & PKTMETA_TAG_TYPE);
	if (!field || !(field->policy & PKTMETA_POLICY_APP))
		return -EPERM;
	value = at + pktmeta_tlv_header(tag);
	if (tag != field_tag(field) || !field_takes(field, next - value, record->bytes[value]))
		return -EINVAL;
	return 0;
}

/* As pktmeta_forget(), for a number of 64 bits. */
static __always_inline __u64 forget_seen(__u64 seen, __u64 unknown)
{
	seen ^= unknown;
	barrier_var(seen);
	seen ^= unknown;
	barrier_var(seen);
	return seen;
}

/*
 * Checks that so many bytes are a whole record, and each of its fields as above. Returns 1, 0 if
 * the record has no fields, or an error.
 */
__noinline int pktmeta_check_fields(const struct pktmeta_copy *record, __u32 length)
{
	__u32 at = sizeof(struct pktmeta_header), next, i;
	__u64 seen = 0; /* a bit for each type */

	if (!record || pktmeta_copy_length(record) != length)
		return -EINVAL;
	for (i = 0; i < PKTMETA_TLVS_MAX && at < length; i++, at = next) {
		__u64 bit;
		int err;

		next = pktmeta_record_next(record, record + 1, at, length);
		barrier_var(at);
		if (!next || at >= PKTMETA_RECORD_MAX)
			return -EINVAL;
		if (!(record->bytes[at] & PKTMETA_TAG_TYPE))
			continue;
		err = pktmeta_check_field(record, at, next);
		if (err)
			return err;
		bit = 1ULL << (record->bytes[at] & PKTMETA_TAG_TYPE);
		if (seen & bit)
			return -EINVAL;
		seen |= bit;
		seen = forget_seen(seen, length);
	}
	return at < length ? -EINVAL : seen != 0;
}

/*
 * Reads the record that an application gave. Returns its length, 0 if the application gave no bytes
 * or a record without fields, or an error: some bytes are not the record's, or the application may
 * not set one of its fields.
 */
static __always_inline int read_record(struct bpf_sockopt *ctx, struct pktmeta_copy *record)
{
	int length = pktmeta_copy_option(ctx, record), has_fields;

	if (length <= 0)
		return length;
	has_fields = pktmeta_check_fields(record, length);
	if (has_fields <= 0)
		return has_fields;
	/* The application does not know the places of this registry. */
	pktmeta_record_forget_places((void *)record);
	return length;
}

static __always_inline int store_record(struct bpf_sock *sk, const struct pktmeta_copy *record,
					__u32 length)
{
	struct pktmeta_tx *tx;

	if (length <= sizeof(struct pktmeta_header)) {
		bpf_sk_storage_delete(&pktmeta_tx, sk);
		return 0;
	}
	tx = bpf_sk_storage_get(&pktmeta_tx, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!tx)
		return -ENOBUFS;
	bpf_spin_lock(&tx->lock);
	tx->record = *record;
	bpf_spin_unlock(&tx->lock);
	return 0;
}

static __always_inline int set_record(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	struct pktmeta_copy record = {};
	int length = read_record(ctx, &record);

	return length < 0 ? length : store_record(sk, &record, length);
}

/* Sets the record of datagrams with a ticket. */
static __always_inline int set_ticket(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	struct pktmeta_tx_tickets *tickets;
	struct pktmeta_copy record = {};
	struct pktmeta_tx_slot *slot;
	__u32 ticket = ctx->optname;
	int length;

	if ((ticket & PKTMETA_TX_TICKET_MASK) != PKTMETA_TX_TICKET)
		return -EINVAL;
	length = read_record(ctx, &record);
	if (length < 0)
		return length;
	tickets = bpf_sk_storage_get(&pktmeta_tx_tickets, sk, 0,
				     length ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (!tickets)
		return length ? -ENOBUFS : 0;
	slot = &tickets->slots[ticket % PKTMETA_TX_SLOTS];
	bpf_spin_lock(&tickets->lock);
	if (length) {
		slot->ticket = ticket;
		slot->record = record;
	} else if (slot->ticket == ticket) {
		slot->ticket = 0;
	}
	bpf_spin_unlock(&tickets->lock);
	return 0;
}

/*
 * Takes every field with a tag out of a record, and all voids. Returns 0, or -ENOENT if there is no
 * such field. Moves a byte a turn, as pktmeta_record_compact().
 */
__noinline int pktmeta_take_out(struct pktmeta_copy *record, __u32 tag)
{
	__u32 from = sizeof(struct pktmeta_header), to = from, length;
	__u32 rest = 0, keep = 0; /* of the current TLV: bytes not moved yet, and 1 if it stays */
	int err = -ENOENT;

	if (!record)
		return err;
	length = pktmeta_copy_length(record);
	if (length > PKTMETA_RECORD_MAX)
		return err;
	from = pktmeta_forget(from, length);
	to = pktmeta_forget(to, length);
	rest = pktmeta_forget(rest, length);
	while (from < length && to < length) {
		__u32 byte = record->bytes[from];

		if (!rest) {
			keep = byte & PKTMETA_TAG_TYPE && byte != tag;
			if (byte == tag)
				err = 0;
			rest = pktmeta_tlv_header(byte) == 2 ?
				       2 + record->bytes[from + 1] :
				       1 + (1 << (byte >> PKTMETA_TAG_SIZE_SHIFT));
		}
		rest--;
		record->bytes[from] = 0;
		if (keep)
			record->bytes[to] = byte;
		to += keep;
		from++;
		barrier_var(from);
		barrier_var(to);
	}
	record->bytes[offsetof(struct pktmeta_header, length)] = to;
	return err;
}

/* Appends a field with size bytes of the application to a record. Returns 0, or an error. */
__noinline int pktmeta_append_option(struct bpf_sockopt *ctx, struct pktmeta_copy *record, __u8 tag,
				     __u32 size)
{
	__u8 *from = ctx->optval, *end = ctx->optval_end;
	__u32 length, header = pktmeta_tlv_header(tag), i;

	if (!record || size > PKTMETA_VALUE_MAX)
		return -EINVAL;
	length = record->bytes[offsetof(struct pktmeta_header, length)];
	if (length + header + size > PKTMETA_RECORD_MAX)
		return -ENOSPC;
	barrier_var(length); /* the verifier learns nothing from a sum */
	if (length > PKTMETA_RECORD_MAX)
		return -ENOSPC;
	record->bytes[length] = tag;
	if (header == 2)
		record->bytes[length + 1] = size;
	for (i = 0; i < size; i++) {
		__u32 to = length + header + i;
		__u8 *byte = from + i;

		barrier_var(to);
		barrier_var(i);
		if (to >= sizeof(record->bytes) || i >= PKTMETA_VALUE_MAX || byte + 1 > end)
			return -EINVAL;
		record->bytes[to] = *byte;
	}
	record->bytes[offsetof(struct pktmeta_header, length)] = length + header + size;
	return 0;
}

/* Copies the record for what the socket sends; if it has none, makes one without fields. */
static __always_inline void load_record(struct bpf_sock *sk, struct pktmeta_copy *record)
{
	struct pktmeta_tx *tx = bpf_sk_storage_get(&pktmeta_tx, sk, 0, 0);

	if (tx) {
		/* Without its lock: only setsockopt writes it, under the socket's lock. */
		*record = tx->record;
		return;
	}
	*(struct pktmeta_header *)record = (struct pktmeta_header){
		.magic = { PKTMETA_MAGIC_0, PKTMETA_MAGIC_1 },
		.version = PKTMETA_RECORD_VERSION << 4,
		.length = sizeof(struct pktmeta_header),
	};
}

/* Returns 1 if the option is one byte, 1: that sets a flag, as no bytes do. */
static __always_inline int says_flag(struct bpf_sockopt *ctx)
{
	__u8 *value = ctx->optval;

	return ctx->optlen == 1 && (void *)(value + 1) <= ctx->optval_end && *value == 1;
}

/* Sets one field of the record for what the socket sends, or takes it out. */
static __always_inline int change_field(struct bpf_sockopt *ctx, struct bpf_sock *sk, __u32 type,
					int deletes)
{
	struct pktmeta_field_info *field = field_of(type);
	__u8 tag, *value = ctx->optval;
	struct pktmeta_copy record = {};
	__u32 size = ctx->optlen;
	int err;

	if (!field || !(field->policy & PKTMETA_POLICY_APP))
		return -EPERM;
	tag = field_tag(field);
	if (field->kind == PKTMETA_KIND_FLAG && says_flag(ctx))
		size = 0;
	if ((void *)(value + 1) > ctx->optval_end)
		return -EINVAL;
	if (deletes ? size : !field_takes(field, size, *value))
		return -EINVAL;
	load_record(sk, &record);
	err = pktmeta_take_out(&record, tag);
	if (!deletes)
		err = pktmeta_append_option(ctx, &record, tag, size);
	if (err)
		return err;
	return store_record(sk, &record, record.bytes[offsetof(struct pktmeta_header, length)]);
}

static __always_inline int sends(const struct bpf_sockopt *ctx)
{
	return ctx->level == SOL_PKTMETA_DGRAM || ctx->optname == PKTMETA_TX ||
	       ctx->optname >= PKTMETA_TX_FIELD;
}

/* Returns the kinds of sockets that an option is for, or 0 if there is no such option. */
static __always_inline int kinds_for(const struct bpf_sockopt *ctx)
{
	if (ctx->level == SOL_PKTMETA_DGRAM)
		return UDP_SOCKET;
	if (ctx->level != SOL_PKTMETA)
		return 0;
	switch (ctx->optname) {
	case PKTMETA_TICKETS:
		return UDP_SOCKET;
	case PKTMETA_RX_HISTORY:
		return TCP_SOCKET;
	case PKTMETA_TX:
	case PKTMETA_FIELDS:
	case PKTMETA_TX_FIELD + 1 ... PKTMETA_TX_FIELD + PKTMETA_FIELDS_MAX - 1:
	case PKTMETA_TX_DELETE + 1 ... PKTMETA_TX_DELETE + PKTMETA_FIELDS_MAX - 1:
		return TCP_SOCKET | UDP_SOCKET;
	}
	return 0;
}

static __always_inline int set_option(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	__u32 option = ctx->optname;
	int kinds = kinds_for(ctx);

	if (!kinds)
		return -ENOPROTOOPT;
	if (!(kinds & kind_of(sk)))
		return -EPROTOTYPE;
	if (sends(ctx) && !may_send())
		return -EPERM;
	if (ctx->level == SOL_PKTMETA_DGRAM)
		return set_ticket(ctx, sk);
	switch (option) {
	case PKTMETA_TICKETS:
		return set_tickets(ctx, sk);
	case PKTMETA_RX_HISTORY:
		return set_history(ctx, sk);
	case PKTMETA_FIELDS:
		return set_selection(ctx, sk);
	case PKTMETA_TX:
		return set_record(ctx, sk);
	}
	return change_field(ctx, sk, option % PKTMETA_FIELDS_MAX, option >= PKTMETA_TX_DELETE);
}

/*
 * Leaves IPV6_FLOWLABEL_MGR to the kernel, which writes its answer over the application's bytes:
 * the kernel must get these, and not the copy (ipv6_flowlabel_get).
 */
static __always_inline int leave_flow_label_to_kernel(struct bpf_sockopt *ctx)
{
	ctx->optlen = 0;
	return 1;
}

SEC("cgroup/setsockopt")
int pktmeta_setsockopt(struct bpf_sockopt *ctx)
{
	struct pktmeta_settle_counters *counters;
	struct bpf_sock *sk = ctx->sk;
	__u32 zero = 0;
	int err;

	if (ctx->level == SOL_IPV6 && ctx->optname == IPV6_FLOWLABEL_MGR)
		return leave_flow_label_to_kernel(ctx);
	if (!is_ours(ctx))
		return leave_to_kernel(ctx);
	if (!sk)
		return refuse(-ENOPROTOOPT);
	err = set_option(ctx, sk);
	counters = bpf_map_lookup_elem(&pktmeta_setsockopt_counters, &zero);
	if (counters && !err)
		__sync_fetch_and_add(&counters->settled, 1);
	else if (counters && err == -EPERM)
		__sync_fetch_and_add(&counters->not_permitted, 1);
	else if (counters)
		__sync_fetch_and_add(&counters->refused, 1);
	if (err)
		return refuse(err);
	ctx->optlen = -1; /* the kernel does nothing more */
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
