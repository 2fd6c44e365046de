// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT
/*
 * Writes in front of each packet what its seed says, changes packets at TC as tables say, and looks
 * at every hop whether the record is right.
 */
#include "check.h"

#define XDP_GROWTH 64
#define ETH_HLEN 14
#define ETH_P_IP __builtin_bswap16(0x0800)
#define ETH_P_IPV6 __builtin_bswap16(0x86dd)
#define ETH_P_8021Q __builtin_bswap16(0x8100)
#define TCX_NEXT -1
#define TCX_DROP 2

const volatile __u64 passport_magic = 1;
const volatile __u16 first_port = 1; /* of the cell 0, to which SYNs go */
const volatile __u32 unwiped = 0;    /* 1: what earlier packets left in buffers stays there */
const volatile __u32 sabotage = 0;   /* 1: now and then a wrong value is written */
const volatile __u32 survey = 0;     /* 1: packets are left as they are, but written to in place */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CELLS);
	__type(key, __u32);
	__type(value, struct cell);
} cells SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEQUENCES);
	__type(key, __u32);
	__type(value, struct sequence);
} sequences SEC(".maps");

struct forged {
	__u32 size;
	__u8 bytes[PKTMETA_RECORD_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct forged);
} forged SEC(".maps");

/* The CPU that ACTION_XDP_CPU sends packets to. */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, TALLIES);
	__type(key, struct stop);
	__type(value, struct tally);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FINDINGS);
	__type(key, __u32);
	__type(value, struct finding);
} findings SEC(".maps");

__u32 found = 0;

static __always_inline int identify(const union tail *tail, struct identity *who)
{
	if (tail->data.passport.magic == passport_magic) {
		who->seed = tail->data.passport.seed;
		who->cell = tail->data.passport.cell;
		who->tcp = tail->data.passport.tcp;
	} else if (tail->tcp.words == 10 << 4 && (tail->tcp.flags & 0x3f) == 0x02 &&
		   tail->tcp.option == 2 && tail->tcp.option_size == 4) {
		who->seed = mix(tail->tcp.sequence) | survey; /* odd: it has every field */
		who->cell = __builtin_bswap16(tail->tcp.destination) - first_port;
		who->tcp = 1;
	} else {
		return 0;
	}
	return who->cell < CELLS;
}

static __always_inline void count(const struct stop *stop)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, stop), none = {};

	if (!tally) {
		/* Another CPU may have made it meanwhile. */
		bpf_map_update_elem(&tallies, stop, &none, BPF_NOEXIST);
		tally = bpf_map_lookup_elem(&tallies, stop);
	}
	if (!tally)
		return;
	if (!tally->count)
		tally->first = bpf_ktime_get_ns();
	tally->count += 1;
}

static __always_inline void tally(const struct identity *who, __u32 hook, __u32 verdict,
				  __u32 ifindex, __u32 sequence, __u32 step)
{
	struct stop stop = {
		.cell = who->cell,
		.hook = hook,
		.ifindex = ifindex,
		.verdict = verdict,
	};
	struct finding *finding, *last;
	__u32 key;

	count(&stop);
	if (verdict != WRONG)
		return;
	key = __sync_fetch_and_add(&found, 1);
	finding = bpf_map_lookup_elem(&findings, &key);
	last = this_finding();
	if (!finding || !last)
		return;
	*finding = *last;
	finding->seed = who->seed;
	finding->cell = who->cell;
	finding->hook = hook;
	finding->ifindex = ifindex;
	finding->sequence = sequence;
	finding->step = step;
}

static __always_inline int identify_xdp(struct xdp_md *ctx, struct identity *who)
{
	__u64 size = bpf_xdp_get_buff_len(ctx);
	struct room *room = this_room();

	if (!room || size < ETH_HLEN + sizeof(room->tail))
		return 0;
	if (bpf_xdp_load_bytes(ctx, size - sizeof(room->tail), &room->tail, sizeof(room->tail)))
		return 0;
	return identify(&room->tail, who);
}

static __always_inline void check_xdp(struct xdp_md *ctx, const struct identity *who,
				      const struct cell *cell, __u32 step)
{
	int labelled = cell->label != LABEL_FORGED;

	tally(who, HOOK_XDP, xdp_check(ctx, who->seed, labelled), ctx->ingress_ifindex, SEQUENCES,
	      step);
}

/*
 * Zeroes what an earlier packet left in the buffer, as far in front of this one as metadata goes.
 * Else a packet that grows at TC has that packet's record in front of it, whole and sealed: a known
 * limitation, which unwiped is for.
 */
static __always_inline void wipe(struct xdp_md *ctx)
{
	void *at, *end;
	__u32 i;

	if (unwiped || ctx->data_meta != ctx->data)
		return;
	if (bpf_xdp_adjust_meta(ctx, -PKTMETA_RECORD_MAX))
		return;
	at = (void *)(long)ctx->data_meta;
	end = (void *)(long)ctx->data;
	for (i = 0; i < PKTMETA_RECORD_MAX; i += sizeof(__u64)) {
		if (at + i + sizeof(__u64) > end)
			break;
		*(__u64 *)(at + i) = 0;
	}
	bpf_xdp_adjust_meta(ctx, PKTMETA_RECORD_MAX);
}

static __always_inline void label_right(struct xdp_md *ctx, const struct identity *who)
{
	wipe(ctx);
	/* The wrong value that a test wants to be found. */
	xdp_set(ctx, sabotage && !(who->seed & 0x3e) ? who->seed ^ 0x100 : who->seed);
}

/* As somebody else's XDP program would: bytes of its own, of whatever form. */
static __always_inline void label_forged(struct xdp_md *ctx)
{
	struct forged *from;
	__u32 zero = 0, size, at;

	from = bpf_map_lookup_elem(&forged, &zero);
	if (!from || bpf_xdp_adjust_meta(ctx, -(int)from->size))
		return;
	size = from->size;
	for (at = 0; at < PKTMETA_RECORD_MAX && at < size; at += 4) {
		void *to = (void *)(long)ctx->data_meta + at;

		if (to + 4 > (void *)(long)ctx->data)
			break;
		*(__u32 *)to = *(__u32 *)(from->bytes + at);
	}
}

/* Where packets come in. */
SEC("xdp")
int label(struct xdp_md *ctx)
{
	struct identity who;
	struct cell *cell;

	if (!identify_xdp(ctx, &who))
		return XDP_PASS;
	cell = bpf_map_lookup_elem(&cells, &who.cell);
	if (!cell)
		return XDP_PASS;
	if (cell->label == LABEL_FORGED)
		label_forged(ctx);
	else if (cell->label == LABEL_RIGHT)
		label_right(ctx, &who);
	check_xdp(ctx, &who, cell, 0);
	/* The kernel moves the record along with the packet's start, and leaves a copy. */
	if (!survey && who.seed & 2 && !bpf_xdp_adjust_head(ctx, -XDP_GROWTH)) {
		check_xdp(ctx, &who, cell, 1);
		if (bpf_xdp_adjust_head(ctx, XDP_GROWTH))
			return XDP_DROP;
		check_xdp(ctx, &who, cell, 2);
	}
	if (cell->action == ACTION_XDP_REDIRECT)
		return bpf_redirect(cell->ifindex, 0);
	if (cell->action == ACTION_XDP_CPU)
		return bpf_redirect_map(&cpus, 0, 0);
	return XDP_PASS;
}

/* Where they have been through XDP before. */
SEC("xdp")
int again(struct xdp_md *ctx)
{
	struct identity who;
	struct cell *cell;

	if (!identify_xdp(ctx, &who))
		return XDP_PASS;
	cell = bpf_map_lookup_elem(&cells, &who.cell);
	if (!cell)
		return XDP_PASS;
	check_xdp(ctx, &who, cell, 0);
	if (cell->again == AGAIN_LABEL)
		label_right(ctx, &who);
	else if (cell->again == AGAIN_RESERVE)
		bpf_xdp_adjust_meta(ctx, -(int)cell->bytes);
	if (!survey)
		check_xdp(ctx, &who, cell, 1);
	return XDP_PASS;
}

/* To the other version of IP and back, with a look in between. */
static __always_inline long change_proto(struct __sk_buff *skb, const struct identity *who,
					 __u32 labelled, int *between)
{
	__u16 back = skb->protocol, to = back == ETH_P_IP ? ETH_P_IPV6 : ETH_P_IP;
	struct room *room = this_room();
	long err;

	if (!room || (back != ETH_P_IP && back != ETH_P_IPV6))
		return -EIO;
	err = bpf_skb_load_bytes(skb, ETH_HLEN, room->header, sizeof(room->header));
	err = err ?: bpf_skb_change_proto(skb, to, 0);
	if (err)
		return err;
	*between = tc_check(skb, who->seed, labelled);
	err = bpf_skb_change_proto(skb, back, 0);
	return err ?: bpf_skb_store_bytes(skb, ETH_HLEN, room->header, sizeof(room->header), 0);
}

static __always_inline long change_tail(struct __sk_buff *skb, int by, const struct identity *who,
					__u32 labelled, int *between)
{
	__u32 size = skb->len;
	long err = bpf_skb_change_tail(skb, size + by, 0);

	if (err)
		return err;
	*between = tc_check(skb, who->seed, labelled);
	return bpf_skb_change_tail(skb, size, 0);
}

static __always_inline long store_the_same(struct __sk_buff *skb, __u32 at)
{
	__u8 bytes[8];
	long err = bpf_skb_load_bytes(skb, at, bytes, sizeof(bytes));

	return err ?: bpf_skb_store_bytes(skb, at, bytes, sizeof(bytes), 0);
}

/* One step: 0, or why it was not done. between: of a look while it was. */
static __always_inline long take(struct __sk_buff *skb, const struct step *step,
				 const struct identity *who, __u32 labelled, int *between)
{
	switch (step->operation) {
	case STEP_VLAN_PUSH:
		return bpf_skb_vlan_push(skb, ETH_P_8021Q, step->by);
	case STEP_VLAN_POP:
		return bpf_skb_vlan_pop(skb);
	case STEP_ROOM:
		return bpf_skb_adjust_room(skb, step->by, step->flags & 1, step->flags >> 1);
	case STEP_PROTO:
		return change_proto(skb, who, labelled, between);
	case STEP_TAIL:
		return change_tail(skb, step->by, who, labelled, between);
	case STEP_PULL:
		return bpf_skb_pull_data(skb, step->by);
	case STEP_STORE:
		return store_the_same(skb, step->by);
	case STEP_SET:
		return tc_set(skb, who->seed);
	case STEP_HEAD:
		return who->tcp ? -EIO : bpf_skb_change_head(skb, step->by, 0);
	}
	return -EIO;
}

/* The steps of a sequence; 1 if the packet is fit to go on. */
static __noinline int walk(struct __sk_buff *skb, const struct identity *who, __u32 hook,
			   __u32 labelled, __u32 number)
{
	__u32 ifindex = skb->ifindex, done = 0, i;
	struct sequence *sequence;

	sequence = bpf_map_lookup_elem(&sequences, &number);
	if (!sequence)
		return 1;
	for (i = 0; i < STEPS; i++) {
		const struct step *step = &sequence->steps[i];
		int between = -1;

		if (step->operation == STEP_NONE)
			break;
		if (step->undoes && !(done & 1 << (step->undoes & 15)))
			continue;
		if (take(skb, step, who, labelled, &between)) {
			/* A packet that could not be put back as it was goes no further. */
			if (step->undoes || between >= 0)
				return 0;
			continue;
		}
		done |= 2 << i;
		if (between >= 0)
			tally(who, hook, between, ifindex, number, i);
		tally(who, hook, tc_check(skb, who->seed, labelled), ifindex, number, i + 1);
		if (step->operation == STEP_HEAD)
			return 0;
	}
	return 1;
}

/* What a record is worth, and of a right one in a survey whether it can be written. */
static __noinline int look(struct __sk_buff *skb, __u64 seed, __u32 labelled)
{
	int verdict = tc_check(skb, seed, labelled);

	return survey && verdict == RIGHT && tc_set(skb, seed) ? READ_ONLY : verdict;
}

/*
 * Looks at a packet, changes it and looks again: its cell if it is one of ours. It is not fit to go
 * on if who->cell is none. who is in this CPU's room.
 */
static __always_inline struct cell *hop(struct __sk_buff *skb, struct room *room, __u32 hook)
{
	struct identity *who = &room->who;
	__u32 number, labelled;
	struct cell *cell;

	if (skb->len < ETH_HLEN + sizeof(room->tail))
		return (void *)0;
	if (bpf_skb_load_bytes(skb, skb->len - sizeof(room->tail), &room->tail, sizeof(room->tail)))
		return (void *)0;
	if (!identify(&room->tail, who))
		return (void *)0;
	cell = bpf_map_lookup_elem(&cells, &who->cell);
	if (!cell)
		return (void *)0;
	labelled = cell->label != LABEL_FORGED;
	number = mix(who->seed ^ (__u64)skb->ifindex << 8 ^ hook) % SEQUENCES;
	tally(who, hook, look(skb, who->seed, labelled), skb->ifindex, number, 0);
	if (!walk(skb, who, hook, labelled, number))
		who->cell = CELLS;
	return cell;
}

/* What is sent on here is looked at there before it returns, on this CPU: who is somebody else. */
static __always_inline int clone_redirect(struct __sk_buff *skb, const struct cell *cell,
					  struct identity *who)
{
	struct identity before = *who;
	int labelled = cell->label != LABEL_FORGED;

	bpf_clone_redirect(skb, cell->ifindex, 0);
	if (!survey)
		tally(&before, HOOK_TC_INGRESS, tc_check(skb, before.seed, labelled), skb->ifindex,
		      SEQUENCES, 0);
	return TCX_DROP;
}

SEC("tc")
int first(struct __sk_buff *skb)
{
	struct room *room = this_room();
	struct cell *cell = room ? hop(skb, room, HOOK_TC_INGRESS) : (void *)0;

	if (!cell)
		return TCX_NEXT;
	if (room->who.cell >= CELLS)
		return TCX_DROP;
	switch (cell->action) {
	case ACTION_REDIRECT:
		return bpf_redirect(cell->ifindex, 0);
	case ACTION_REDIRECT_INGRESS:
		return bpf_redirect(cell->ifindex, BPF_F_INGRESS);
	case ACTION_REDIRECT_NEIGH:
		return bpf_redirect_neigh(cell->ifindex, (void *)0, 0, 0);
	case ACTION_REDIRECT_PEER:
		return bpf_redirect_peer(cell->ifindex, 0);
	case ACTION_CLONE_REDIRECT:
		return clone_redirect(skb, cell, &room->who);
	}
	return TCX_NEXT;
}

static __always_inline int pass_on(struct __sk_buff *skb, __u32 hook)
{
	struct room *room = this_room();

	return room && hop(skb, room, hook) && room->who.cell >= CELLS ? TCX_DROP : TCX_NEXT;
}

SEC("tc")
int ingress(struct __sk_buff *skb)
{
	return pass_on(skb, HOOK_TC_INGRESS);
}

SEC("tc")
int egress(struct __sk_buff *skb)
{
	return pass_on(skb, HOOK_TC_EGRESS);
}

/* Puts a sender's packets into a VLAN, and takes them out where nobody knows of it. */
SEC("tc")
int tag(struct __sk_buff *skb)
{
	bpf_skb_vlan_push(skb, ETH_P_8021Q, 5);
	return TCX_NEXT;
}

SEC("tc")
int untag(struct __sk_buff *skb)
{
	bpf_skb_vlan_pop(skb);
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
