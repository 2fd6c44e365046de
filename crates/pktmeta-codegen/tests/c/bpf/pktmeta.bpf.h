/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/* What generated headers use of pktmeta/pktmeta.bpf.h. */
#ifndef PKTMETA_BPF_H
#define PKTMETA_BPF_H

#define PKTMETA_FIELD(field, value_type)                                                           \
	typedef value_type pktmeta_value_of_##field;                                               \
	const volatile int pktmeta_field_##field = sizeof(value_type)

#define PKTMETA_FIELD_BYTES(field, max)                                                            \
	typedef struct {                                                                           \
		unsigned char size;                                                                \
		unsigned char bytes[max];                                                          \
	} pktmeta_value_of_##field;                                                                \
	const volatile int pktmeta_field_##field = max

#define PKTMETA_FIELD_FLAG(field)                                                                  \
	typedef struct {                                                                           \
	} pktmeta_value_of_##field;                                                                \
	const volatile int pktmeta_field_##field = 0

#endif
