/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * The seal: the last bytes of the area in front of a packet. They prove to a program that another
 * program of the same registry made the record in the area, and that nobody moved it or overwrote
 * its end. For BPF programs and for programs on the host. pktmeta_core::seal is the same in Rust.
 */
#ifndef PKTMETA_SEAL_H
#define PKTMETA_SEAL_H

#include <pktmeta/record.h>

/*
 * The seal has 6 bytes of check and 2 spare bytes. neigh_hh_output() gives a packet a new
 * link-layer header of 14 bytes by a write of 16, and so zeroes the 2 bytes in front of the header.
 */
#define PKTMETA_SEAL_SIZE 8
#define PKTMETA_SEAL_SPARE_BITS 16

/* An odd factor, so that areas of different sizes have different checks. */
#define PKTMETA_SEAL_STEP 0x9e3779b97f4a7c15ull

/* Returns the seal of an area of this size, with zeros in the spare bytes. */
static __always_inline __u64 pktmeta_seal(__u64 secret, __u32 area)
{
	return (secret - area * PKTMETA_SEAL_STEP) << PKTMETA_SEAL_SPARE_BITS >>
	       PKTMETA_SEAL_SPARE_BITS;
}

/* Returns 1 if two seals have the same check; the spare bytes do not count. */
static __always_inline int pktmeta_same_seal(__u64 one, __u64 other)
{
	return !((one ^ other) << PKTMETA_SEAL_SPARE_BITS);
}

/* Returns the bytes of an area, as its header says. */
static __always_inline __u32 pktmeta_area_size(__u32 header)
{
	return header >> 8 & 0xff;
}

/*
 * Returns the bytes in an area for the record, or 0 if this is not the header of an area, or the
 * record would not end before the seal. They are a multiple of 8: a copy of the record in eights
 * stops before the seal.
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
 * Returns the bytes for the record in the area from area to end, if the seal proves that a record
 * is there; else 0. Callers must not use any byte of the area before. Without a secret, no seal
 * proves anything.
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
	barrier_var(room); /* or the compiler leaves out the next test, which the verifier needs */
	if (!room || room > PKTMETA_RECORD_MAX - PKTMETA_SEAL_SIZE)
		return 0;
	seal = area + room;
	barrier_var(seal);
	behind = seal + PKTMETA_SEAL_SIZE;
	if (behind > end)
		return 0;
	/*
	 * The seal must end exactly at end. Two comparisons of order say so: only privileged
	 * programs may compare pointers for equality.
	 */
	barrier_var(behind);
	if (behind < end)
		return 0;
	pktmeta_copy(&found, seal, sizeof(found));
	return pktmeta_same_seal(found, pktmeta_seal(secret, room + PKTMETA_SEAL_SIZE)) ? room : 0;
}

#endif
