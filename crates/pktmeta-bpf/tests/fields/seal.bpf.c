// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT
/*
 * What helpers and paths of the kernel do to a record, and what its readers make of that. Each
 * packet has a number of its own, in its payload and in its record's fields.
 */
#include <pktmeta/pktmeta.bpf.h>
#include <bpf/bpf_endian.h>

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define TCX_NEXT -1

PKTMETA_FIELD(number, __u32);
PKTMETA_FIELD(whole, __u32);
PKTMETA_FIELD(byte, __u8);
/* What is between them. */
struct filler {
	__u8 bytes[60];
};
PKTMETA_FIELD(filler_1, struct filler);
PKTMETA_FIELD(filler_2, struct filler);
PKTMETA_FIELD(filler_3, struct filler);

/*
 * Where a packet's payload has its number, of a UDP datagram over IPv4 without options or VLAN tag.
 */
#define NUMBER_AT (14 + 20 + 8)
/* The payload of the test's own packets starts so; the kernel sends some too. */
#define MINE 0x6c616573

struct payload {
	__u32 mine;
	__u32 number;
	__u64 sum; /* of the record as it was made */
};

/* What readers found. */
struct seen {
	__u64 packets;
	__u64 right;	/* the record is the packet's own, to its last byte */
	__u64 absent;	/* the packet has no record */
	__u64 wrong;	/* something else: must never be */
	__u64 deceived; /* readers without the seal would take foreign bytes for a record */
	__u64 refused;	/* the kernel did not do what was to be done to the packet */
	__u64 size;	/* bytes of the area, as the last packet has them */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

static __u32 last_number;

/* Over every byte of an area but its seal, and where each stands. */
static __always_inline __u64 sum_up(const void *record, const void *end)
{
	__u64 sum = 0;
	__u32 at;

	for (at = 0; at < PKTMETA_RECORD_MAX - 8; at += 8) {
		const __u64 *word = record + at;

		if (at + 8 > pktmeta_layout.area - PKTMETA_SEAL_SIZE || (void *)(word + 1) > end)
			break;
		sum = sum * 31 + *word;
	}
	return sum;
}

/* Numbers a packet and labels it with that. The record's other bytes are 0. */
SEC("xdp")
int produce(struct xdp_md *ctx)
{
	struct filler filler = {};
	struct payload *payload;
	__u32 number;

	number = ++last_number * 0x01010101 ^ 0x5a000000;
	if (pktmeta_set(ctx, whole, number) || pktmeta_set(ctx, byte, number) ||
	    pktmeta_set(ctx, number, number))
		return XDP_DROP;
	__builtin_memset(&filler, number | 1, sizeof(filler));
	/* As many as the area has room for. */
	pktmeta_set(ctx, filler_1, filler);
	pktmeta_set(ctx, filler_2, filler);
	pktmeta_set(ctx, filler_3, filler);
	payload = PKTMETA_POINTER(ctx, data) + NUMBER_AT;
	if ((void *)(payload + 1) > PKTMETA_POINTER(ctx, data_end))
		return XDP_DROP;
	if (payload->mine != MINE) { /* behind a VLAN tag */
		payload = (void *)payload + 4;
		if ((void *)(payload + 1) > PKTMETA_POINTER(ctx, data_end))
			return XDP_DROP;
	}
	payload->number = number;
	payload->sum = sum_up(PKTMETA_POINTER(ctx, data_meta), PKTMETA_POINTER(ctx, data));
	*((__be16 *)payload - 1) = 0; /* no checksum */
	return XDP_PASS;
}

/*
 * A program that knows nothing of pktmeta and reserves as many bytes for itself, but writes none.
 * Every other packet is dropped with a record in front, so that the next one gets its page.
 */
SEC("xdp")
int recycle(struct xdp_md *ctx)
{
	if (++last_number & 1) {
		pktmeta_set(ctx, number, last_number);
		return XDP_DROP;
	}
	return bpf_xdp_adjust_meta(ctx, -(int)pktmeta_layout.area) ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int pass(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

/* Sends packets, with the metadata that they have, to the other end of a veth pair. */
SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	return bpf_redirect(ctx->ingress_ifindex, 0);
}

/* What the record's first field says to who believes a header alone; 0 if he sees none. */
static __always_inline int is_deceived(struct __sk_buff *skb, __u32 number)
{
	const void *record = PKTMETA_POINTER(skb, data_meta), *end = PKTMETA_POINTER(skb, data);
	__u8 tag = pktmeta_field_number.tag;
	__u32 at, found;

	if (!pktmeta_record_length(record, end))
		return 0;
	at = pktmeta_record_find(record, end, tag, sizeof(struct pktmeta_header));
	if (pktmeta_record_get_at(record, end, at, tag, &found, sizeof(found)))
		return 1;
	return found != number;
}

static __always_inline int is_mine(struct __sk_buff *skb, __u32 at, struct payload *payload)
{
	return !bpf_skb_load_bytes(skb, at, payload, sizeof(*payload)) && payload->mine == MINE;
}

static __always_inline void look(struct __sk_buff *skb, __u32 at, int refused)
{
	__u32 zero = 0, number, whole;
	struct payload payload;
	struct seen *sum;
	__u8 byte;
	long err;

	sum = bpf_map_lookup_elem(&seen, &zero);
	if (!sum || !is_mine(skb, at, &payload))
		return;
	sum->packets++;
	if (refused)
		sum->refused++;
	err = pktmeta_get(skb, number, &number);
	if (err == -PKTMETA_ENODATA && !pktmeta_has_record(skb) && !number)
		sum->absent++;
	else if (!err && number == payload.number && !pktmeta_get(skb, whole, &whole) &&
		 whole == payload.number && !pktmeta_get(skb, byte, &byte) &&
		 byte == (__u8)payload.number &&
		 payload.sum == sum_up(PKTMETA_POINTER(skb, data_meta), PKTMETA_POINTER(skb, data)))
		sum->right++;
	else
		sum->wrong++;
	if (is_deceived(skb, payload.number))
		sum->deceived++;
	sum->size = PKTMETA_POINTER(skb, data) - PKTMETA_POINTER(skb, data_meta);
}

/* Does something to the test's own packets, and looks. */
#define PROGRAM(name, at, change)                                                                  \
	SEC("tcx/ingress") int name(struct __sk_buff *skb)                                         \
	{                                                                                          \
		struct payload payload;                                                            \
                                                                                                   \
		if (is_mine(skb, NUMBER_AT, &payload))                                             \
			look(skb, at, (change) != 0);                                              \
		return TCX_NEXT;                                                                   \
	}

static __always_inline long make_and_close_room(struct __sk_buff *skb, int bytes)
{
	const __u64 flags = BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	long err;

	err = bpf_skb_adjust_room(skb, bytes, BPF_ADJ_ROOM_MAC, flags);
	return err ?: bpf_skb_adjust_room(skb, -bytes, BPF_ADJ_ROOM_MAC, flags);
}

#define ROOM(bytes) make_and_close_room(skb, bytes)
#define PUSH(protocol) bpf_skb_vlan_push(skb, bpf_htons(protocol), 5)
#define POP() bpf_skb_vlan_pop(skb)
#define PROTO(protocol) bpf_skb_change_proto(skb, bpf_htons(protocol), 0)

PROGRAM(untouched, NUMBER_AT, 0)
PROGRAM(vlan_once, NUMBER_AT, PUSH(ETH_P_8021Q) ?: POP())
PROGRAM(vlan_twice, NUMBER_AT, PUSH(ETH_P_8021AD) ?: PUSH(ETH_P_8021Q) ?: POP() ?: POP())
PROGRAM(room_1, NUMBER_AT, ROOM(1))
PROGRAM(room_3, NUMBER_AT, ROOM(3))
PROGRAM(room_4, NUMBER_AT, ROOM(4))
PROGRAM(room_8, NUMBER_AT, ROOM(8))
PROGRAM(room_20, NUMBER_AT, ROOM(20))
PROGRAM(room_22, NUMBER_AT, ROOM(22))
PROGRAM(room_100, NUMBER_AT, ROOM(100))
PROGRAM(proto, NUMBER_AT, PROTO(ETH_P_IPV6) ?: PROTO(ETH_P_IP))
PROGRAM(tail, NUMBER_AT, bpf_skb_change_tail(skb, skb->len + 4096, 0))
PROGRAM(inline_tag, NUMBER_AT + 4, PUSH(ETH_P_8021Q))

char LICENSE[] SEC("license") = "Dual BSD/GPL";
