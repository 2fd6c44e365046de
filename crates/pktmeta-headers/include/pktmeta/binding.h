/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * The structures that a loader fills in before it loads a program; `pktmeta bind` fills them in in
 * the object file. A loader with a skeleton includes this header before the skeleton.
 */
#ifndef PKTMETA_BINDING_H
#define PKTMETA_BINDING_H

#include <pktmeta/abi.h>

/* A field's name, and its entry in the registry. In .rodata. */
struct pktmeta_binding {
	__u8 magic[3];	/* finds the bindings of a loaded program */
	__u8 version;	/* PKTMETA_BINDING_VERSION of the headers that compiled the program */
	__u8 tag;	/* 0 until the program is bound */
	__u8 size;	/* bytes of a value, at most; the registry must have the same */
	__u8 until;	/* end of the field's place in a record; 0: it has no place */
	__u8 flags;	/* PKTMETA_BINDING_* */
	__u32 registry; /* the registry that gave the tag: a tag means nothing in another */
	char name[PKTMETA_NAME_SIZE];
};

/* The version of these structures and of the seal. Programs of other versions share no records. */
#define PKTMETA_BINDING_VERSION 2

#define PKTMETA_BINDING_XDP (1 << 0)	  /* XDP may write it */
#define PKTMETA_BINDING_TC (1 << 1)	  /* TC may write it */
#define PKTMETA_BINDING_APP (1 << 2)	  /* applications may write it */
#define PKTMETA_BINDING_VARIABLE (1 << 7) /* its values differ in size */

/* How the programs of an object reach the packet of a struct __sk_buff: pktmeta_skb_access. */
#define PKTMETA_SKB_UNBOUND 0
#define PKTMETA_SKB_DIRECT 1	/* TC: by data_meta */
#define PKTMETA_SKB_CAST 2	/* above TC: by the kernel's sk_buff */
#define PKTMETA_SKB_DISSECTOR 3 /* flow_dissector: by a structure that leads to the sk_buff */

/* The layout of records on this host, and their seals. In .rodata. */
struct pktmeta_layout {
	__u8 area;    /* bytes to reserve, a multiple of 8; 0 until the program is bound */
	__u8 version; /* PKTMETA_BINDING_VERSION */
	__u8 reserved[2];
	__u32 registry;			   /* the registry that has the fields and the secret */
	__u64 secret;			   /* makes the seals of areas of any size */
	__u64 seal;			   /* the seal of an area of this size */
	__u8 template[PKTMETA_RECORD_MAX]; /* a new area: header, voids at places, and the seal */
} __attribute__((aligned(8)));

#endif
