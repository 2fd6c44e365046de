/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Packet traits: the key-value API that was proposed for the kernel, over pktmeta's record.
 *
 *	PKTMETA_TRAIT(7);
 *
 *	__u32 tenant = 42;
 *	pktmeta_trait_set(ctx, 7, &tenant, sizeof(tenant), 0);
 *
 * Keys are decimal literals, 0 to 63. Key 7 is the field trait_7, a bytes[..16], and a schema must
 * list it: two owners that choose the same key learn of each other when they register their
 * schemas. The calls and their errors are those of
 * https://lore.kernel.org/all/20250422-afabre-traits-010-rfc2-v2-0-92bcc6b146c9@arthurfabre.com/
 */
#ifndef PKTMETA_TRAITS_BPF_H
#define PKTMETA_TRAITS_BPF_H

#include <pktmeta/pktmeta.bpf.h>

#define PKTMETA_EBUSY 16
#define PKTMETA_EOPNOTSUPP 95
#define PKTMETA_ENOTSUPP 524 /* of the kernel alone: no system call returns it, but helpers do */

#define PKTMETA_TRAIT_MAX 16 /* bytes of a value */

/* Names a key that a program uses. */
#define PKTMETA_TRAIT(key)                                                                         \
	_Static_assert((key) >= 0 && (key) < 64, "keys are 0 to 63");                              \
	PKTMETA_FIELD_BYTES(trait_##key, PKTMETA_TRAIT_MAX)

/*
 * Sets a key to the value_size bytes at value. value_size is a constant, flags must be 0. Returns
 * 0, or
 *   -EINVAL      value_size is not 0, 2, 4, 8 or 16, or flags is not 0
 *   -EBUSY       the key has a value of another size
 *   -ENOSPC      there is no room
 *   -EOPNOTSUPP  XDP: the driver cannot reserve metadata; TC: XDP made no record
 *   -ENOENT, -EPERM, -EBADMSG  as pktmeta_set()
 */
#define pktmeta_trait_set(ctx, key, value, value_size, flags)                                      \
	PKTMETA_TRAIT_SET(ctx, trait_##key, value, value_size, flags, PKTMETA_UNIQUE,              \
			  PKTMETA_UNIQUE, PKTMETA_UNIQUE)

/*
 * Copies a key's value to the value_size bytes at value. Returns the value's size, -ENOENT, or
 * -ENOSPC if the value is longer.
 */
#define pktmeta_trait_get(ctx, key, value, value_size)                                             \
	PKTMETA_TRAIT_GET(ctx, trait_##key, value, value_size, PKTMETA_UNIQUE, PKTMETA_UNIQUE)

/* Takes a key out. Returns 0, -ENOENT, or an error of pktmeta_delete(). */
#define pktmeta_trait_del(ctx, key) pktmeta_trait_found(pktmeta_delete((ctx), trait_##key))

/* 1 if the key has a value, else 0. */
#define pktmeta_trait_is_set(ctx, key) PKTMETA_TRAIT_IS_SET(ctx, trait_##key, PKTMETA_UNIQUE)

/* The rest is not for programs. */

#define PKTMETA_TRAIT_SET(ctx, field, value, value_size, flags, context, trait, err)               \
	({                                                                                         \
		__typeof__(ctx) context = (ctx);                                                   \
		pktmeta_value_of_##field trait = {};                                               \
		long err = pktmeta_get(context, field, &trait);                                    \
                                                                                                   \
		err = pktmeta_trait_replace(&trait.size, err, (value), (value_size), (flags));     \
		err ?: pktmeta_trait_set_error(pktmeta_set(context, field, trait));                \
	})

#define PKTMETA_TRAIT_GET(ctx, field, value, value_size, trait, err)                               \
	({                                                                                         \
		pktmeta_value_of_##field trait = {};                                               \
		long err = pktmeta_get(ctx, field, &trait);                                        \
                                                                                                   \
		pktmeta_trait_copy(&trait.size, err, (value), (value_size));                       \
	})

#define PKTMETA_TRAIT_IS_SET(ctx, field, trait)                                                    \
	({                                                                                         \
		pktmeta_value_of_##field trait = {};                                               \
		pktmeta_get(ctx, field, &trait) == 0;                                              \
	})

/* Without a record there is no key. */
static __always_inline long pktmeta_trait_found(long err)
{
	return err == -PKTMETA_ENODATA ? -PKTMETA_ENOENT : err;
}

/* A record is not made if the driver refuses (bpf_xdp_adjust_meta), or at TC. */
static __always_inline long pktmeta_trait_set_error(long err)
{
	return err == -PKTMETA_ENODATA || err == -PKTMETA_ENOTSUPP ? -PKTMETA_EOPNOTSUPP : err;
}

/* Copies size bytes, a constant, also where the caller's constant is too large. */
static __always_inline void pktmeta_trait_bytes(void *to, const void *from, __u64 size)
{
	__builtin_memcpy(to, from, size < PKTMETA_TRAIT_MAX ? size : PKTMETA_TRAIT_MAX);
}

/*
 * Replaces a trait, a byte for its size and then its bytes, by the value that it is to be set to.
 * err is the result of reading the trait. Returns 0, -EINVAL or -EBUSY.
 */
static __always_inline long pktmeta_trait_replace(__u8 *trait, long err, const void *value,
						  __u64 size, __u64 flags)
{
	if (flags || (size != 0 && size != 2 && size != 4 && size != 8 && size != 16))
		return -PKTMETA_EINVAL;
	if (!err && *trait != size)
		return -PKTMETA_EBUSY;
	*trait = size;
	pktmeta_trait_bytes(trait + 1, value, size);
	return 0;
}

/* Copies the bytes of a trait. Returns their size, -ENOSPC, or the error of reading the trait. */
static __always_inline long pktmeta_trait_copy(const __u8 *trait, long err, void *value, __u64 size)
{
	if (err)
		return pktmeta_trait_found(err);
	if (*trait > size)
		return -PKTMETA_ENOSPC;
	pktmeta_trait_bytes(value, trait + 1, size);
	return *trait;
}

#endif
