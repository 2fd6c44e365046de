/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The types of the system's headers, which others of them build on. Where there are none, as in the
 * build of pktmeta's own programs, which takes nothing of the machine that it runs on: the few that
 * <linux/bpf.h> and BPF programs need.
 */
#ifndef PKTMETA_UAPI_LINUX_TYPES_H
#define PKTMETA_UAPI_LINUX_TYPES_H

#if __has_include_next(<linux/types.h>)
#include_next <linux/types.h>
#else

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;

typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u16 __sum16;

#define __aligned_u64 __u64 __attribute__((aligned(8)))

#endif
#endif
