/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the XDP program and its loader (mod.rs) share. */
#ifndef PKTMETA_XDP_H
#define PKTMETA_XDP_H

#include <pktmeta/abi.h>

/*
 * Key of the longest-prefix match: the version of IP and a source address. The version comes first
 * and counts whole, so that no prefix of one version has addresses of the other.
 */
struct pktmeta_label_key {
	__u32 prefix_length; /* bits of version and address */
	__be32 version;	     /* 4 or 6 */
	__be32 address[4];   /* an IPv4 one is the first */
};

#define PKTMETA_LABELS_MAX 4
#define PKTMETA_LABEL_VALUE_MAX 16

struct pktmeta_label {
	__u8 tag;	/* 0: none, nor any after it */
	__u8 size;	/* of value */
	__u8 place;	/* as in struct pktmeta_binding */
	__u8 inherited; /* 1: from a shorter prefix; for the loader alone */
	__u8 reserved[4];
	__u8 value[PKTMETA_LABEL_VALUE_MAX];
};

struct pktmeta_labels {
	struct pktmeta_label label[PKTMETA_LABELS_MAX];
	__u32 number; /* where xdp_label_hits counts these */
	__u32 reserved;
};

struct pktmeta_xdp_counters {
	__u64 packets;	 /* seen */
	__u64 records;	 /* have a record with all their fields */
	__u64 labelled;	 /* of them: got labels */
	__u64 unmatched; /* of them: their source is in no label's prefix */
	__u64 not_ip;	 /* of them: have no IP source address, or none in their linear part */
	__u64 foreign;	 /* metadata stood there that does not prove itself: replaced */
	__u64 no_area;	 /* the driver refused to reserve the area */
	__u64 no_room;	 /* a field did not fit the area */
};

#endif
