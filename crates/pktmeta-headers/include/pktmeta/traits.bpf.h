/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause OR MIT */
/*
 * Packet traits: the key-value API that was proposed for the kernel, over pktmeta's record.
 *
 *	PKTMETA_TRAIT(7);
 *
 *	__u32 tenant = 42;
 *	pktmeta_trait_set(ctx, 7, &tenant, sizeof(tenant), 0);
 *
 * Keys are 0 to 63, written as decimal literals. Key 7 is the field trait_7, a bytes[..16], which a
 * schema has to list as any other: two owners that choose the same key learn of each other when
 * their schemas are registered. Calls are those of
 * https://lore.kernel.org/all/20250422-afabre-traits-010-rfc2-v2-0-92bcc6b146c9@arthurfabre.com/
 * and so are their errors.
 */
#ifndef PKTMETA_TRAITS_BPF_H
#define PKTMETA_TRAITS_BPF_H

#include <pktmeta/pktmeta.bpf.h>

#define PKTMETA_EBUSY 16
#define PKTMETA_EOPNOTSUPP 95
#define PKTMETA_ENOTSUPP 524 /* the kernel's own, which never leaves it but in programs */

#define PKTMETA_TRAIT_MAX 16 /* bytes of a value */

/* What is copied of a constant number of bytes, be it wrong. */
#define PKTMETA_TRAIT_SIZE(size) ((size) < PKTMETA_TRAIT_MAX ? (size) : PKTMETA_TRAIT_MAX)

/* Names a key that a program uses. */
#define PKTMETA_TRAIT(key)                                                                         \
	_Static_assert((key) >= 0 && (key) < 64, "keys are 0 to 63");                              \
	PKTMETA_FIELD_BYTES(trait_##key, PKTMETA_TRAIT_MAX)

/*
 * Sets a key to the value_size bytes at value, a constant; flags must be 0. 0, or
 *   -EINVAL      value_size is not 0, 2, 4, 8 or 16, or flags is not 0
 *   -EBUSY       the key has a value of another size
 *   -ENOSPC      there is no room
 *   -EOPNOTSUPP  XDP: the driver cannot reserve metadata; TC: XDP made no record
 *   -ENOENT, -EPERM, -EBADMSG  as from pktmeta_set()
 */
#define pktmeta_trait_set(ctx, key, value, value_size, flags)                                      \
	({                                                                                         \
		struct pktmeta_value_of_trait_##key __old, __new = {};                             \
		long __err = pktmeta_trait_check((value_size), (flags));                           \
                                                                                                   \
		if (!__err && !pktmeta_get((ctx), trait_##key, &__old) &&                          \
		    __old.size != (value_size))                                                    \
			__err = -PKTMETA_EBUSY;                                                    \
		if (!__err) {                                                                      \
			__new.size = (value_size);                                                 \
			__builtin_memcpy(__new.bytes, (value), PKTMETA_TRAIT_SIZE(value_size));    \
			__err = pktmeta_trait_set_error(pktmeta_set((ctx), trait_##key, __new));   \
		}                                                                                  \
		__err;                                                                             \
	})

/*
 * Copies a key's value to the value_size bytes at value: its size, -ENOENT, or -ENOSPC: it is
 * longer.
 */
#define pktmeta_trait_get(ctx, key, value, value_size)                                             \
	({                                                                                         \
		struct pktmeta_value_of_trait_##key __found = {};                                  \
		long __err = pktmeta_trait_found(pktmeta_get((ctx), trait_##key, &__found));       \
                                                                                                   \
		if (!__err && __found.size > (value_size))                                         \
			__err = -PKTMETA_ENOSPC;                                                   \
		if (!__err) {                                                                      \
			__builtin_memcpy((value), __found.bytes, PKTMETA_TRAIT_SIZE(value_size));  \
			__err = __found.size;                                                      \
		}                                                                                  \
		__err;                                                                             \
	})

/* Takes a key out: 0, -ENOENT, or as from pktmeta_delete(). */
#define pktmeta_trait_del(ctx, key) pktmeta_trait_found(pktmeta_delete((ctx), trait_##key))

/* 1 if the key has a value. */
#define pktmeta_trait_is_set(ctx, key)                                                             \
	({                                                                                         \
		struct pktmeta_value_of_trait_##key __found;                                       \
		pktmeta_get((ctx), trait_##key, &__found) == 0;                                    \
	})

static __always_inline long pktmeta_trait_check(__u64 size, __u64 flags)
{
	if (flags || (size != 0 && size != 2 && size != 4 && size != 8 && size != 16))
		return -PKTMETA_EINVAL;
	return 0;
}

/* Without a record there is no key. */
static __always_inline long pktmeta_trait_found(long err)
{
	return err == -PKTMETA_ENODATA ? -PKTMETA_ENOENT : err;
}

/* What keeps a record from being made is the driver (bpf_xdp_adjust_meta), or that this is TC. */
static __always_inline long pktmeta_trait_set_error(long err)
{
	return err == -PKTMETA_ENODATA || err == -PKTMETA_ENOTSUPP ? -PKTMETA_EOPNOTSUPP : err;
}

#endif
