// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT
/* A program of one accessor: OPERATION on FIELD, in SECTION, whose programs get a CONTEXT. */
#ifdef EGRESS
#include <pktmeta/sent.bpf.h>
#else
#include <pktmeta/pktmeta.bpf.h>
#endif
#include "fields.h"

#define VALUE_OF(field) VALUE_OF_(field)
#define VALUE_OF_(field) pktmeta_value_of_##field

#ifdef EGRESS
#define GET(field) pktmeta_get_sent(ctx, field, &value)
#else
#define GET(field) pktmeta_get(ctx, field, &value)
#endif
#define SET(field) pktmeta_set(ctx, field, value)
#define DELETE(field) pktmeta_delete(ctx, field)
#define COMPACT(field) pktmeta_compact(ctx)

/* Not known to the compiler. */
VALUE_OF(FIELD) value;

SEC(SECTION)
int accessor(CONTEXT *ctx)
{
	return OPERATION(FIELD);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
