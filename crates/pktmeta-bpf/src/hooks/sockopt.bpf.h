/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What getsockopt and setsockopt programs have in common. */
#ifndef PKTMETA_SOCKOPT_BPF_H
#define PKTMETA_SOCKOPT_BPF_H

#include <linux/bpf.h>
#include <pktmeta/socket.bpf.h>
#include "../carriers/connection.bpf.h"
#include "../carriers/fields.bpf.h"
#include "../carriers/history.bpf.h"
#include "../carriers/selection.bpf.h"
#include "../carriers/sending.bpf.h"
#include "../carriers/tickets.bpf.h"

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

#define EPERM 1
#define ENOENT 2
#define EAGAIN 11
#define EINVAL 22
#define ENOSPC 28
#define ENODATA 61
#define EMSGSIZE 90
#define EPROTOTYPE 91
#define ENOPROTOOPT 92
#define ENOBUFS 105
#define ESTALE 116

/* Answers to getsockopt have at most a page, and so have the options that others set. */
#define PAGE_SIZE 4096

static __always_inline int is_ours(const struct bpf_sockopt *ctx)
{
	return ctx->level >= SOL_PKTMETA && ctx->level <= SOL_PKTMETA_BYTE_FIELDS;
}

/*
 * Leaves an option to the kernel. A buffer that it trimmed for us must be given up, or the call fails
 * with EFAULT (__cgroup_bpf_run_filter_getsockopt, __cgroup_bpf_run_filter_setsockopt).
 */
static __always_inline int leave_to_kernel(struct bpf_sockopt *ctx)
{
	if (ctx->optlen > PAGE_SIZE)
		ctx->optlen = 0;
	return 1;
}

/*
 * Fails the call with an error, -ENOENT say; none of ours is below -256. Setting the bits that all
 * of those have shows the verifier that it is an error: Linux 7.2 takes nothing else.
 */
static __always_inline int refuse(int error)
{
	barrier_var(error);
	bpf_set_retval(error | -256);
	return 0;
}

#endif
