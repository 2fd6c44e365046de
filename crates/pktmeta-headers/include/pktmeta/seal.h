/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * The seal: the last bytes of the area in front of a packet, by which a program knows that the
 * record there was made by a program of its own registry, and that nothing has moved or overwritten
 * it. For BPF programs and for programs on the host. pktmeta_core::seal is the same in Rust.
 */
#ifndef PKTMETA_SEAL_H
#define PKTMETA_SEAL_H

#include <pktmeta/record.h>

/*
 * The seal: 6 bytes of check, then 2 spare ones. Whoever gives a packet a new link-layer header of
 * 14 bytes writes 16 (neigh_hh_output), and so zeroes the two bytes in front of it.
 */
#define PKTMETA_SEAL_SIZE 8
#define PKTMETA_SEAL_SPARE_BITS 16

/* Odd, so that areas of different sizes have different checks. */
#define PKTMETA_SEAL_STEP 0x9e3779b97f4a7c15ull

/* The seal of an area of this size, with nothing in its spare bytes. */
static __always_inline __u64 pktmeta_seal(__u64 secret, __u32 area)
{
	return (secret - area * PKTMETA_SEAL_STEP) << PKTMETA_SEAL_SPARE_BITS >>
	       PKTMETA_SEAL_SPARE_BITS;
}

/* Whether two seals are the same, whatever stands in their spare bytes. */
static __always_inline int pktmeta_same_seal(__u64 one, __u64 other)
{
	return !((one ^ other) << PKTMETA_SEAL_SPARE_BITS);
}

/* Bytes of an area, by its header. */
static __always_inline __u32 pktmeta_area_size(__u32 header)
{
	return header >> 8 & 0xff;
}

/*
 * Bytes that a header leaves for its record in an area, if it is an area's header and the record
 * ends there; else 0. What is copied in eights of such a record is nothing of the seal.
 */
static __always_inline __u32 pktmeta_area_room(__u32 header)
{
	__u32 area = pktmeta_area_size(header), length = header >> 24;

	if ((header & PKTMETA_AREA_MAGIC_MASK) != PKTMETA_AREA_MAGIC)
		return 0;
	if (area % 8 || area > PKTMETA_RECORD_MAX)
		return 0;
	if (length < sizeof(struct pktmeta_header) || length + PKTMETA_SEAL_SIZE > area)
		return 0;
	return area - PKTMETA_SEAL_SIZE;
}

/*
 * Bytes for the record in the area from area to end, if there is a record and the seal proves it;
 * else 0. No byte of it may be believed before. No secret proves nothing.
 */
static __always_inline __u32 pktmeta_sealed_room(const void *area, const void *end, __u64 secret)
{
	const void *seal, *behind;
	__u32 header, room;
	__u64 found;

	if (!secret || area + sizeof(header) > end)
		return 0;
	pktmeta_copy(&header, area, sizeof(header));
	room = pktmeta_area_room(header);
	barrier_var(room); /* whatever the compiler knows of it, the verifier has to be shown */
	if (!room || room > PKTMETA_RECORD_MAX - PKTMETA_SEAL_SIZE)
		return 0;
	seal = area + room;
	barrier_var(seal);
	behind = seal + PKTMETA_SEAL_SIZE;
	if (behind > end)
		return 0;
	/*
	 * Exactly there. Two tests of order: that pointers are equal is for privileged programs to
	 * ask.
	 */
	barrier_var(behind);
	if (behind < end)
		return 0;
	pktmeta_copy(&found, seal, sizeof(found));
	return pktmeta_same_seal(found, pktmeta_seal(secret, room + PKTMETA_SEAL_SIZE)) ? room : 0;
}

#endif
