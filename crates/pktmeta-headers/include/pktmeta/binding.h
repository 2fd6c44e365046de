/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * What a loader writes into a program: `pktmeta bind` does it in the object. Loaders that are built
 * around a skeleton include this before it.
 */
#ifndef PKTMETA_BINDING_H
#define PKTMETA_BINDING_H

#include <pktmeta/abi.h>

/* What a field is called here, and what the registry says of it. Lies in .rodata. */
struct pktmeta_binding {
	__u8 magic[3];	/* by which bindings are found in loaded programs */
	__u8 version;	/* PKTMETA_BINDING_VERSION of the headers that it was compiled with */
	__u8 tag;	/* 0 until it is bound */
	__u8 size;	/* of values, at most; must be what the field is registered with */
	__u8 until;	/* end of its place, where it is looked for first; 0: it has none */
	__u8 flags;	/* PKTMETA_BINDING_* */
	__u32 registry; /* which one gave it the tag; numbers of others mean something else */
	char name[PKTMETA_NAME_SIZE];
};

/* Of how programs and their records are bound: others' records prove nothing to a program. */
#define PKTMETA_BINDING_VERSION 2

#define PKTMETA_BINDING_XDP (1 << 0)	  /* XDP may write it */
#define PKTMETA_BINDING_TC (1 << 1)	  /* TC may write it */
#define PKTMETA_BINDING_APP (1 << 2)	  /* applications may write it */
#define PKTMETA_BINDING_VARIABLE (1 << 7) /* values differ in size */

/* What the context of an object's __sk_buff programs is for: pktmeta_skb_access. */
#define PKTMETA_SKB_UNBOUND 0
#define PKTMETA_SKB_DIRECT 1	/* TC: data_meta leads to the record */
#define PKTMETA_SKB_CAST 2	/* anywhere above: the kernel's sk_buff leads to it */
#define PKTMETA_SKB_DISSECTOR 3 /* flow_dissector: what leads to the sk_buff does */

/* How records are laid out on this host, and what proves them. Lies in .rodata. */
struct pktmeta_layout {
	__u8 area;    /* bytes to reserve for a record, a multiple of 8; 0 until it is bound */
	__u8 version; /* PKTMETA_BINDING_VERSION */
	__u8 reserved[2];
	__u32 registry;			   /* whose fields and secret these are */
	__u64 secret;			   /* of seals of areas of other sizes */
	__u64 seal;			   /* of areas of this size */
	__u8 template[PKTMETA_RECORD_MAX]; /* a new area: header, voids at places, and the seal */
} __attribute__((aligned(8)));

#endif
