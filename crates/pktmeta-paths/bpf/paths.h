/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/* What the programs and src/kernel/ tell each other. */
#ifndef PATHS_H
#define PATHS_H

#include "pool.h"

#define CELLS 64
#define SEQUENCES 128
#define STEPS 8
#define FINDINGS 64
#define TALLIES 4096

/* Where a record was looked for. */
enum hook {
	HOOK_XDP,
	HOOK_TC_INGRESS,
	HOOK_TC_EGRESS,
	HOOKS,
};

/* What came of it; the later one of two is worse. */
enum verdict {
	RIGHT,
	READ_ONLY, /* right, and the kernel refuses to write it */
	ABSENT,	   /* a record without a field that was written */
	NO_RECORD, /* none, it says */
	REFUSED,   /* another error */
	WRONG,
	VERDICTS,
};

/* What every packet has as its last bytes, if it is not a SYN. */
struct passport {
	__u64 magic;
	__u64 seed;
	__u8 cell;
	__u8 tcp;
	__u8 reserved[6];
};

/*
 * The end of a packet: of a SYN, the TCP header that Linux sends; else a passport, and before it.
 */
union tail {
	__u8 bytes[40];
	struct {
		__u16 source, destination;
		__u32 sequence, acknowledged;
		__u8 words, flags;
		__u8 rest[6];
		__u8 option, option_size; /* the first option is the MSS */
	} tcp;
	struct {
		__u8 before[16];
		struct passport passport;
	} data;
};

/* Looks of one worth at one stop of a cell's packets. */
struct stop {
	__u32 cell;
	__u32 hook;
	__u32 ifindex;
	__u32 verdict;
};

struct tally {
	__u64 count;
	__u64 first; /* when, by the monotonic clock in nanoseconds */
};

/* A packet of ours. */
struct identity {
	__u64 seed;
	__u32 cell;
	__u32 tcp;
};

/* What is done with the packets of a cell where they come in first. */
struct cell {
	__u32 label;   /* enum labelling */
	__u32 action;  /* enum action */
	__u32 ifindex; /* of the device that the action is about */
	__u32 again;   /* enum again */
	__u32 bytes;   /* that a second XDP pass reserves */
};

/* What XDP does where the packet has been through XDP before. */
enum again {
	AGAIN_LOOK,
	AGAIN_LABEL,   /* as where it came in */
	AGAIN_RESERVE, /* room, and writes nothing there */
};

/* What is written in front of a packet. */
enum labelling {
	LABEL_NOTHING,
	LABEL_RIGHT,  /* its values */
	LABEL_FORGED, /* the bytes of the map forged, as they are */
};

enum action {
	ACTION_NEXT,
	ACTION_XDP_REDIRECT,
	ACTION_REDIRECT,
	ACTION_REDIRECT_INGRESS,
	ACTION_REDIRECT_NEIGH,
	ACTION_REDIRECT_PEER,
	ACTION_CLONE_REDIRECT,
	ACTION_XDP_CPU,
};

/* A change of a packet at TC. */
struct step {
	__u8 operation; /* enum operation */
	__u8 undoes;	/* number of the step, from 1, without which this one makes no sense */
	__s16 by;
	__u32 flags;
};

enum operation {
	STEP_NONE,
	STEP_VLAN_PUSH,
	STEP_VLAN_POP,
	STEP_ROOM,
	STEP_PROTO, /* to the other version of IP and back */
	STEP_TAIL,  /* longer by, and back */
	STEP_PULL,
	STEP_STORE, /* writes what is there */
	STEP_SET,   /* every field, to what it is */
	STEP_HEAD,  /* room in front of the MAC header: the packet ends here */
};

struct sequence {
	struct step steps[STEPS];
};

/* A wrong value, for the report. */
struct finding {
	__u64 seed;
	__u32 cell;
	__u32 hook;
	__u32 ifindex;
	__u32 sequence;
	__u32 step;  /* after how many */
	__u32 field; /* POOL_SIZE: the record itself */
	__s32 result;
	__u32 size;
	__u8 got[VALUE_MAX];
};

#endif
