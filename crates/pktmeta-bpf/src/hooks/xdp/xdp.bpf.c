// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * XDP: reserves the area and writes the first fields: those of pktmeta itself, and the labels of
 * the prefix that the packet's source address is in.
 */
#include <pktmeta/pktmeta.bpf.h>
#include <bpf/bpf_endian.h>
#include "defs.bpf.h"
#include "xdp.h"

#define VLAN_TAGS_MAX 2

PKTMETA_FIELD(rx_timestamp, __u64);
PKTMETA_FIELD(rx_ifindex, __u32);
PKTMETA_FIELD(rx_queue, __u16);
PKTMETA_FIELD(packet_number, __u64);

/* The loader sets it if there are labels. Otherwise the kernel removes the lookup. */
const volatile __u8 labels_used = 0;

/* The loader sets it for an interface whose packets have no Ethernet header. */
const volatile __u8 raw_ip = 0;

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct pktmeta_label_key);
	__type(value, struct pktmeta_labels);
} pktmeta_labels SEC(".maps");

/* Counts the packets that got the labels of a prefix, by the number of these labels. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} pktmeta_hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_xdp_counters);
} pktmeta_xdp_counters SEC(".maps");

/* The number of the last packet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} pktmeta_numbers SEC(".maps");

/* Returns the EtherType behind up to two VLAN tags, or NULL if the packet ends before it. */
static __always_inline const __be16 *ether_type(const void *data, const void *end)
{
	const __be16 *type = data + ETH_HLEN - sizeof(*type);
	int i;

	for (i = 0; i < VLAN_TAGS_MAX; i++) {
		if ((void *)(type + 1) > end)
			return NULL;
		if (*type != bpf_htons(ETH_P_8021Q) && *type != bpf_htons(ETH_P_8021AD))
			break;
		type = (void *)type + VLAN_HLEN;
	}
	return (void *)(type + 1) > end ? NULL : type;
}

/*
 * Makes the key of an IP packet's source address. Returns 1, or 0 for other packets. EtherType and
 * IP header must have the same version: the kernel drops a packet in which they differ.
 */
static __always_inline int source_address(struct xdp_md *ctx, struct pktmeta_label_key *key)
{
	const void *data = PKTMETA_POINTER(ctx, data), *end = PKTMETA_POINTER(ctx, data_end);
	const __u8 *ip = data;
	__be16 type = 0;
	__u8 version;

	if (!raw_ip) {
		const __be16 *at = ether_type(data, end);

		if (!at)
			return 0;
		type = *at;
		ip = (const void *)(at + 1);
	}
	if ((void *)(ip + 1) > end)
		return 0;
	version = *ip >> 4;
	key->version = bpf_htonl(version);
	if (version == 4 && (raw_ip || type == bpf_htons(ETH_P_IP))) {
		const struct pktmeta_ipv4_header *header = (const void *)ip;

		if ((void *)(&header->source + 1) > end)
			return 0;
		key->prefix_length = 8 * (sizeof(key->version) + sizeof(header->source));
		__builtin_memcpy(key->address, &header->source, sizeof(header->source));
		return 1;
	}
	if (version == 6 && (raw_ip || type == bpf_htons(ETH_P_IPV6))) {
		const struct pktmeta_ipv6_header *header = (const void *)ip;

		if ((void *)(&header->source + 1) > end)
			return 0;
		key->prefix_length = 8 * (sizeof(key->version) + sizeof(header->source));
		__builtin_memcpy(key->address, header->source, sizeof(header->source));
		return 1;
	}
	return 0;
}

/* As pktmeta_place(), for a place that is not constant. Returns the value's offset, or 0. */
static __always_inline __u32 use_place(void *record, const void *end,
				       const struct pktmeta_label *label)
{
	__u32 header = pktmeta_tlv_header(label->tag), place = label->place;
	__u32 length = pktmeta_record_length(record, end);
	__u8 *tlv = pktmeta_at(record, place);

	if (!place || place >= length || !tlv || (void *)(tlv + 1) > end)
		return 0;
	if (record + sizeof(struct pktmeta_header) > end || !pktmeta_has_places(record))
		return 0;
	if (*tlv != label->tag && *tlv != (label->tag & ~PKTMETA_TAG_TYPE))
		return 0;
	if (pktmeta_record_next(record, end, place, length) != place + header + label->size)
		return 0;
	*tlv = label->tag;
	return place + header;
}

/* Not static: the verifier walks it once, not once for each label. */
__noinline long pktmeta_set_label(struct xdp_md *ctx, const struct pktmeta_label *label)
{
	__u8 *to;
	long at;

	if (!label || label->size > sizeof(label->value))
		return -PKTMETA_EINVAL;
	at = use_place(PKTMETA_POINTER(ctx, data_meta), PKTMETA_POINTER(ctx, data), label);
	if (!at)
		at = pktmeta_xdp_make(ctx, label->tag, label->size);
	if (at < 0)
		return at;
	to = pktmeta_at(PKTMETA_POINTER(ctx, data_meta), at);
	if (!to)
		return -PKTMETA_ENOSPC;
	return pktmeta_copy_some(to, PKTMETA_POINTER(ctx, data), label->value, label + 1,
				 label->size, sizeof(label->value));
}

static __always_inline long set_labels(struct xdp_md *ctx, struct pktmeta_xdp_counters *counters)
{
	struct pktmeta_label_key key = {};
	struct pktmeta_labels *labels;
	__u64 *hits;
	long err;
	int i;

	if (!source_address(ctx, &key)) {
		counters->not_ip++;
		return 0;
	}
	labels = bpf_map_lookup_elem(&pktmeta_labels, &key);
	if (!labels) {
		counters->unmatched++;
		return 0;
	}
	for (i = 0; i < PKTMETA_LABELS_MAX; i++) {
		if (!labels->label[i].tag)
			break;
		err = pktmeta_set_label(ctx, &labels->label[i]);
		if (err)
			return err;
	}
	hits = bpf_map_lookup_elem(&pktmeta_hits, &labels->number);
	if (hits)
		++*hits;
	counters->labelled++;
	return 0;
}

/*
 * Writes a field if it has a tag: the loader gives none to fields that this interface leaves out.
 */
#define produce(ctx, field, value) (pktmeta_field_##field.tag ? pktmeta_set(ctx, field, value) : 0)

static __always_inline long write_fields(struct xdp_md *ctx)
{
	__u64 *last_number;
	__u32 zero = 0;
	long err;

	last_number = bpf_map_lookup_elem(&pktmeta_numbers, &zero);
	if (!last_number)
		return -PKTMETA_ENOENT;
	err = produce(ctx, rx_timestamp, bpf_ktime_get_ns());
	err = err ?: produce(ctx, rx_ifindex, ctx->ingress_ifindex);
	err = err ?: produce(ctx, rx_queue, ctx->rx_queue_index);
	return err ?: produce(ctx, packet_number, __sync_fetch_and_add(last_number, 1) + 1);
}

/*
 * The loader declares it fit for packets with fragments, as interfaces with a large MTU have them:
 * it reads headers alone, which are in the first fragment.
 */
SEC("xdp")
int pktmeta_xdp_label(struct xdp_md *ctx)
{
	struct pktmeta_xdp_counters *counters;
	__u32 zero = 0;
	long err = 0;

	counters = bpf_map_lookup_elem(&pktmeta_xdp_counters, &zero);
	if (!counters)
		return XDP_PASS;
	counters->packets++;
	if (PKTMETA_POINTER(ctx, data_meta) >= PKTMETA_POINTER(ctx, data)) {
		err = pktmeta_xdp_reserve(ctx);
	} else if (!pktmeta_has_record(ctx)) {
		counters->foreign++;
		err = pktmeta_xdp_replace(ctx);
	}
	if (err) {
		counters->no_area++;
		return XDP_PASS;
	}
	err = write_fields(ctx);
	if (labels_used)
		err = err ?: set_labels(ctx, counters);
	if (err)
		counters->no_room++;
	else
		counters->records++;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
