// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT
/*
 * What people do where packets carry nothing: the first program stores what it knows of the flow in
 * a map, and those behind it look it up.
 */
#include "measure.h"

SPENT_MAP;

struct flow {
	__u32 source, destination;
	__u16 source_port, destination_port;
	__u32 protocol;
};

struct known {
	__u64 cold[8];
};

#define FLOWS(name, entries)                                                                       \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(max_entries, entries);                                                      \
		__type(key, struct flow);                                                          \
		__type(value, struct known);                                                       \
	} name SEC(".maps")

FLOWS(flows_one, 1);
FLOWS(flows_many, 65536);

/* Where headers stand that have no options. */
#define ETHERTYPE_AT 12
#define IP_AT 14
#define IP_PROTOCOL_AT (IP_AT + 9)
#define IP_SOURCE_AT (IP_AT + 12)
#define UDP_AT (IP_AT + 20)
#define HEADERS (UDP_AT + 8)

#define parse(ctx, flow)                                                                           \
	({                                                                                         \
		const void *packet = (void *)(long)(ctx)->data;                                    \
		long err = -1;                                                                     \
                                                                                                   \
		if (packet + HEADERS <= (void *)(long)(ctx)->data_end &&                           \
		    *(__u16 *)(packet + ETHERTYPE_AT) == __builtin_bswap16(0x0800) &&              \
		    *(__u8 *)(packet + IP_AT) == 0x45) {                                           \
			(flow)->source = *(__u32 *)(packet + IP_SOURCE_AT);                        \
			(flow)->destination = *(__u32 *)(packet + IP_SOURCE_AT + 4);               \
			(flow)->source_port = *(__u16 *)(packet + UDP_AT);                         \
			(flow)->destination_port = *(__u16 *)(packet + UDP_AT + 2);                \
			(flow)->protocol = *(__u8 *)(packet + IP_PROTOCOL_AT);                     \
			err = 0;                                                                   \
		}                                                                                  \
		err;                                                                               \
	})

#define look_up(value, flows, flow)                                                                \
	({                                                                                         \
		const struct known *known = bpf_map_lookup_elem(flows, flow);                      \
		long err = -1;                                                                     \
                                                                                                   \
		if (known) {                                                                       \
			*(value) = known->cold[7];                                                 \
			err = 0;                                                                   \
		}                                                                                  \
		err;                                                                               \
	})

/* The flow is known already, as if it were for free. Rust sends from and to these. */
#define KNOWN_FLOW                                                                                 \
	{                                                                                          \
		.source = __builtin_bswap32(0xc0000201),                                           \
		.destination = __builtin_bswap32(0xc0000202),                                      \
		.source_port = __builtin_bswap16(7000),                                            \
		.destination_port = __builtin_bswap16(7000),                                       \
		.protocol = 17,                                                                    \
	}

#define look_up_known(value, flows)                                                                \
	({                                                                                         \
		struct flow flow = KNOWN_FLOW;                                                     \
                                                                                                   \
		look_up(value, flows, &flow);                                                      \
	})

#define look_up_parsed(ctx, value, flows)                                                          \
	({                                                                                         \
		struct flow flow;                                                                  \
                                                                                                   \
		parse(ctx, &flow) ?: look_up(value, flows, &flow);                                 \
	})

#define get_one(ctx, value) look_up_known(value, &flows_one)
#define get_many(ctx, value) look_up_known(value, &flows_many)
#define get_one_parsed(ctx, value) look_up_parsed(ctx, value, &flows_one)
#define get_many_parsed(ctx, value) look_up_parsed(ctx, value, &flows_many)

XDP_OPERATION(get_one, get_one, COLD(7))
XDP_OPERATION(get_many, get_many, COLD(7))
XDP_OPERATION(get_one_parsed, get_one_parsed, COLD(7))
XDP_OPERATION(get_many_parsed, get_many_parsed, COLD(7))
TC_OPERATION(get_many, get_many, nothing, COLD(7))
TC_OPERATION(get_many_parsed, get_many_parsed, nothing, COLD(7))

char LICENSE[] SEC("license") = "GPL";
