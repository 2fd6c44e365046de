/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the XDP program and its loader (mod.rs). */
#ifndef PKTMETA_XDP_H
#define PKTMETA_XDP_H

#include <pktmeta/abi.h>

/*
 * The key of the longest-prefix match: the version of IP, then a source address. All prefixes
 * contain the whole version, so that none matches addresses of the other version.
 */
struct pktmeta_label_key {
	__u32 prefix_length; /* bits of version and address that count */
	__be32 version;	     /* 4 or 6 */
	__be32 address[4];   /* an IPv4 address is the first word */
};

#define PKTMETA_LABELS_MAX 4
#define PKTMETA_LABEL_VALUE_MAX 16

struct pktmeta_label {
	__u8 tag;	/* 0: this label and those after it are unused */
	__u8 size;	/* of the value, in bytes */
	__u8 place;	/* offset of the TLV's place; 0: no place */
	__u8 inherited; /* 1: a label of a shorter prefix; for the loader alone */
	__u8 reserved[4];
	__u8 value[PKTMETA_LABEL_VALUE_MAX];
};

struct pktmeta_labels {
	struct pktmeta_label label[PKTMETA_LABELS_MAX];
	__u32 number; /* counts them in pktmeta_hits */
	__u32 reserved;
};

struct pktmeta_xdp_counters {
	__u64 packets;	 /* seen */
	__u64 records;	 /* got a record with all fields */
	__u64 labelled;	 /* got labels */
	__u64 unmatched; /* have a source in no prefix with labels */
	__u64 not_ip;	 /* have no IP source address, or none in their linear part */
	__u64 foreign;	 /* came with metadata that no seal proves; a record replaced it */
	__u64 no_area;	 /* got no area: the driver refused */
	__u64 no_room;	 /* had no room for a field in the area */
};

#endif
