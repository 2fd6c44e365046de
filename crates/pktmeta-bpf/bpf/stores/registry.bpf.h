/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The fields of this host, as programs that read and write records for applications know them. */
#ifndef PKTMETA_REGISTRY_BPF_H
#define PKTMETA_REGISTRY_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <pktmeta/record.h>

/* By TLV type; entry 0 is about the registry, and has type 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PKTMETA_FIELDS_MAX);
	__type(key, __u32);
	__type(value, struct pktmeta_field_info);
} pktmeta_registry SEC(".maps");

/* The field with a type, if there is one. */
static __always_inline struct pktmeta_field_info *field_of(__u32 type)
{
	struct pktmeta_field_info *field = bpf_map_lookup_elem(&pktmeta_registry, &type);

	if (!field || !field->type || field->policy & PKTMETA_POLICY_RETIRED)
		return (void *)0;
	return field;
}

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
 * Whether a field can have a value of so many bytes, the first of which is given. A number of an
 * enum is a value with and without a name: names are not known here.
 */
static __always_inline int field_takes(const struct pktmeta_field_info *field, __u32 size,
				       __u8 first)
{
	if (field->kind == PKTMETA_KIND_VARIABLE)
		return size <= field->size;
	return size == field->size && (field->kind != PKTMETA_KIND_BOOL || first <= 1);
}

/*
 * Length of a record, 0 if it is none, or not a whole one. A function of its own, not where the
 * record is: the verifier learns too much of what a stack holds.
 */
__weak __noinline __u32 pktmeta_copy_length(const struct pktmeta_copy *record)
{
	if (!record || record->bytes[1] != PKTMETA_MAGIC_1 ||
	    !pktmeta_record_check(record, record + 1))
		return 0;
	return pktmeta_record_length(record, record + 1);
}

#endif
