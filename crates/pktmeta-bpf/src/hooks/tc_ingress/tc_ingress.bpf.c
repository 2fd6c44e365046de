// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * TC ingress: adds the fields that only the skb has to the record that XDP began. Returns TCX_NEXT
 * for every packet, so that it changes nothing for other programs.
 */
#include <pktmeta/pktmeta.bpf.h>
#include "tc_ingress.h"

PKTMETA_FIELD(flow_hash, __u32);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pktmeta_tc_counters);
} pktmeta_tc_counters SEC(".maps");

SEC("tcx/ingress")
int pktmeta_tc_ingress(struct __sk_buff *skb)
{
	struct pktmeta_tc_counters *counters;
	__u32 zero = 0;
	long err;

	counters = bpf_map_lookup_elem(&pktmeta_tc_counters, &zero);
	if (!counters)
		return TCX_NEXT;
	counters->packets++;
	if (!pktmeta_has_record(skb)) {
		if (PKTMETA_POINTER(skb, data_meta) < PKTMETA_POINTER(skb, data))
			counters->foreign++;
		else
			counters->absent++;
		return TCX_NEXT;
	}
	counters->records++;
	if (!pktmeta_field_flow_hash.tag)
		return TCX_NEXT;
	err = pktmeta_set(skb, flow_hash, bpf_get_hash_recalc(skb));
	if (!err)
		counters->labelled++;
	else if (err == -PKTMETA_ENOSPC)
		counters->no_room++;
	else
		counters->read_only++;
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
