/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The fields of this host, for programs that read and write records for applications. */
#ifndef PKTMETA_REGISTRY_BPF_H
#define PKTMETA_REGISTRY_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <pktmeta/record.h>
#include "defs.bpf.h"

/* By TLV type. Entry 0 begins with the hash of all fields, and is no field. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PKTMETA_FIELDS_MAX);
	__type(key, __u32);
	__type(value, struct pktmeta_field_info);
} pktmeta_registry SEC(".maps");

/* Returns the field with a type, or NULL if there is none. */
static __always_inline struct pktmeta_field_info *field_of(__u32 type)
{
	struct pktmeta_field_info *field = bpf_map_lookup_elem(&pktmeta_registry, &type);

	if (!field || !field->type || field->policy & PKTMETA_POLICY_RETIRED)
		return NULL;
	return field;
}

/* Returns the tag of a field's TLVs. */
static __always_inline __u8 field_tag(const struct pktmeta_field_info *field)
{
	__u8 code = PKTMETA_SIZE_BYTE;

	if (field->kind != PKTMETA_KIND_VARIABLE) {
		switch (field->size) {
		case 2:
			code = PKTMETA_SIZE_2;
			break;
		case 4:
			code = PKTMETA_SIZE_4;
			break;
		case 8:
			code = PKTMETA_SIZE_8;
			break;
		}
	}
	return field->type | code << PKTMETA_TAG_SIZE_SHIFT;
}

/*
 * Returns 1 if a field can have a value with this size and this first byte. An enum can have any
 * number: its names are not known here.
 */
static __always_inline int field_takes(const struct pktmeta_field_info *field, __u32 size,
				       __u8 first)
{
	if (field->kind == PKTMETA_KIND_VARIABLE)
		return size <= field->size;
	return size == field->size && (field->kind != PKTMETA_KIND_BOOL || first <= 1);
}

/*
 * Returns the length of a whole record, or 0. A function of its own: inlined, the verifier would
 * track every byte of the record on the stack.
 */
__weak __noinline __u32 pktmeta_copy_length(const struct pktmeta_copy *record)
{
	if (!record || record->bytes[1] != PKTMETA_MAGIC_1 ||
	    !pktmeta_record_check(record, record + 1))
		return 0;
	return pktmeta_record_length(record, record + 1);
}

#endif
