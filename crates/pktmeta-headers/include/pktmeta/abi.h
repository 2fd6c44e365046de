/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Numbers and layouts that BPF programs and applications share. For C on either side; docs/abi.md
 * is the contract.
 */
#ifndef PKTMETA_ABI_H
#define PKTMETA_ABI_H

#ifndef __VMLINUX_H__ /* which has the same types */
#include <linux/types.h>
#endif

#define PKTMETA_VERSION 1

/*
 * Socket option levels. Names of options at the others than SOL_PKTMETA say which record: the
 * ticket of a datagram, or the position of a byte in a connection's stream.
 */
#define SOL_PKTMETA 0x504d
#define SOL_PKTMETA_DGRAM 0x504e	   /* get: a datagram's record; set: of one to be sent */
#define SOL_PKTMETA_DGRAM_FIELDS 0x504f	   /* get: the selected fields of it */
#define SOL_PKTMETA_BYTE 0x5050		   /* get: record of the segment that a byte came with */
#define SOL_PKTMETA_BYTE_FIELDS 0x5051	   /* get: the selected fields of it */
#define SOL_PKTMETA_DGRAM_DISPLACED 0x5052 /* get: the mark or priority that a ticket displaced */

/* Socket options at SOL_PKTMETA. T is a TLV type. */
#define PKTMETA_INFO 1		   /* get: struct pktmeta_info */
#define PKTMETA_RX 2		   /* get, TCP: latest record of the connection */
#define PKTMETA_RX_SYN 3	   /* get, TCP: record of the segment that opened it */
#define PKTMETA_TICKETS 4	   /* get and set, UDP: __s32, PKTMETA_TICKETS_* */
#define PKTMETA_RX_HISTORY 5	   /* get and set, TCP: __s32, 1 for SOL_PKTMETA_BYTE to work */
#define PKTMETA_TX 6		   /* get and set: record of what the socket sends */
#define PKTMETA_FIELDS 7	   /* get and set: the types of the selected fields, a byte each */
#define PKTMETA_RX_FIELDS 8	   /* get, TCP: struct pktmeta_value of each, of PKTMETA_RX */
#define PKTMETA_RX_SYN_FIELDS 9	   /* get, TCP: the same of PKTMETA_RX_SYN */
#define PKTMETA_FIELD_INFO 0x100   /* + T, get: struct pktmeta_field_info of type T or the next */
#define PKTMETA_RX_FIELD 0x200	   /* + T, get, TCP: one value of PKTMETA_RX */
#define PKTMETA_RX_SYN_FIELD 0x300 /* + T, get, TCP: one value of PKTMETA_RX_SYN */
#define PKTMETA_TX_FIELD 0x400	   /* + T, get and set: one value of PKTMETA_TX */
#define PKTMETA_TX_DELETE 0x500	   /* + T, set: takes a field out of PKTMETA_TX */

#define PKTMETA_TICKETS_OFF 0
#define PKTMETA_TICKETS_MARK 1	    /* in the SO_MARK cmsg of SO_RCVMARK */
#define PKTMETA_TICKETS_PRIORITY 2  /* in the SO_PRIORITY cmsg of SO_RCVPRIORITY */
#define PKTMETA_TICKETS_TIMESTAMP 3 /* in the SCM_TIMESTAMPNS cmsg of SO_TIMESTAMPNS, nanoseconds */

/* The ticket of a datagram without a record; 0 is that of one which nobody looked at. */
#define PKTMETA_TICKET_ABSENT 1

/*
 * A ticket of a datagram to be sent: this, and below it what the application likes. In the SO_MARK
 * or SCM_TXTIME cmsg of sendmsg(). A socket remembers the records of PKTMETA_TX_SLOTS tickets; one
 * takes the place of another with the same number modulo that.
 */
#define PKTMETA_TX_TICKET 0x50000000
#define PKTMETA_TX_TICKET_MASK 0xff000000
#define PKTMETA_TX_SLOTS 32

/* Records of so many segments are remembered for SOL_PKTMETA_BYTE. */
#define PKTMETA_HISTORY_SEGMENTS 32

/* So many fields can be selected. */
#define PKTMETA_SELECTION_MAX 32

/*
 * A record: header, then TLVs up to length. A TLV is a tag, the size of its value if the tag does
 * not say that, and the value. Integers are little-endian.
 */
#define PKTMETA_MAGIC_0 'P'
#define PKTMETA_MAGIC_1 'M'
#define PKTMETA_RECORD_VERSION 1 /* high half of the third byte */
#define PKTMETA_RECORD_MAX 216	 /* 256 bytes of headroom less sizeof(struct xdp_frame) */
#define PKTMETA_VALUE_MAX 64

struct pktmeta_header {
	__u8 magic[2];
	__u8 version; /* high half version, low half flags */
	__u8 length;  /* of the record with this header, in bytes */
};

/* A tag: the type, 0 for a void, and above it a code for the value's size. */
#define PKTMETA_TAG_TYPE 0x3f
#define PKTMETA_TAG_SIZE_SHIFT 6
#define PKTMETA_SIZE_BYTE 0 /* the size is in the byte that follows */
#define PKTMETA_SIZE_2 1
#define PKTMETA_SIZE_4 2
#define PKTMETA_SIZE_8 3

/* PKTMETA_INFO */
struct pktmeta_info {
	__u32 version;	/* PKTMETA_VERSION */
	__u32 instance; /* differs between two datapaths on a host */
	__u32 slots;	/* of the ring, a power of two */
	__u32 features; /* PKTMETA_FEATURE_* */
	__u64 cgroup;	/* whose sockets it delivers to; names the ring's pin */
	__u64 schema;	/* hash of all fields: changes when they do */
};

#define PKTMETA_FEATURE_RX_TCP 0x01
#define PKTMETA_FEATURE_RX_UDP 0x02
#define PKTMETA_FEATURE_HISTORY 0x04
#define PKTMETA_FEATURE_TX 0x08 /* this user may set fields that applications may write */

/* A selected field. PKTMETA_FIELDS has types only, answers an array of these in the same order. */
struct pktmeta_value {
	__u8 type;
	__u8 status; /* 0; ENOENT (2): the record does not have it */
	__u8 size;   /* of the value, in bytes */
	__u8 reserved[5];
	__u8 value[PKTMETA_VALUE_MAX]; /* as in the record; zero behind size */
};

/* PKTMETA_FIELD_INFO + T: the field registered with type T, else with the next type that is */
#define PKTMETA_FIELDS_MAX 64 /* types are 1 .. PKTMETA_FIELDS_MAX - 1 */
#define PKTMETA_NAME_SIZE 28

#define PKTMETA_KIND_UNSIGNED 1	  /* 1, 2, 4, 8 or 16 bytes */
#define PKTMETA_KIND_BOOL 2	  /* 1 byte, 0 or 1 */
#define PKTMETA_KIND_IPV4 3	  /* 4 bytes */
#define PKTMETA_KIND_IPV6 4	  /* 16 bytes */
#define PKTMETA_KIND_MAC 5	  /* 6 bytes */
#define PKTMETA_KIND_BYTES 6	  /* 1 to 64 bytes */
#define PKTMETA_KIND_SIGNED 7	  /* 1, 2, 4, 8 or 16 bytes */
#define PKTMETA_KIND_ENUM 8	  /* 1, 2 or 4 bytes */
#define PKTMETA_KIND_BITS 9	  /* 1, 2, 4 or 8 bytes */
#define PKTMETA_KIND_TIMESTAMP 10 /* 8 bytes, nanoseconds */
#define PKTMETA_KIND_SOCKET 11	  /* 16 bytes of IPv6 address, 2 of port, both big-endian */
#define PKTMETA_KIND_VARIABLE 12  /* up to size bytes */
#define PKTMETA_KIND_FLAG 13	  /* no bytes */

/* Policy of a field */
#define PKTMETA_POLICY_HOT 0x001
#define PKTMETA_POLICY_WIRE 0x002
#define PKTMETA_POLICY_XDP 0x004 /* may write it */
#define PKTMETA_POLICY_TC 0x008	 /* may write it */
#define PKTMETA_POLICY_APP 0x010 /* may write it */
#define PKTMETA_POLICY_TRUSTED 0x020
#define PKTMETA_POLICY_GRO 0x0c0 /* 0 block, 1 first, 2 last, 3 sum */
#define PKTMETA_POLICY_DROP_ON_CLONE 0x100
#define PKTMETA_POLICY_DROP_ON_NETNS 0x200
#define PKTMETA_POLICY_KEPT 0x400    /* registered by its owner, not by a datapath */
#define PKTMETA_POLICY_RETIRED 0x800 /* removed: the number is given to no other field */

struct pktmeta_field_info {
	char name[PKTMETA_NAME_SIZE];  /* NUL-padded */
	char owner[PKTMETA_NAME_SIZE]; /* NUL-padded */
	__u8 type;
	__u8 kind;    /* PKTMETA_KIND_* */
	__u8 size;    /* of a value, at most, in bytes */
	__u8 place;   /* offset in records where it is looked for first; 0: none */
	__u32 policy; /* PKTMETA_POLICY_* */
};

/*
 * A slot of the ring, where a datagram's record waits for its reader. The writer clears the ticket
 * first and sets it last: a reader whose ticket stands there before and after it copied the record
 * has the record of its own datagram.
 */
struct pktmeta_slot {
	__u32 ticket;
	__u32 displaced; /* the mark or priority that the ticket took the place of */
	__u64 cookie;	 /* SO_COOKIE of the socket that the datagram went to */
	__u8 record[PKTMETA_RECORD_MAX];
	__u8 padding[24];
};

/* The ring is an array map of info.slots slots and, after them, one of these. */
struct pktmeta_ring_header {
	struct pktmeta_info info; /* schema is 0 here */
	__u32 closed;		  /* not 0 once the datapath is down */
	__u8 padding[220];
};

#endif
