/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What getsockopt and setsockopt programs have in common. */
#ifndef PKTMETA_SOCKOPT_BPF_H
#define PKTMETA_SOCKOPT_BPF_H

#include <linux/bpf.h>
#include <pktmeta/socket.bpf.h>
#include "stores/connections.bpf.h"
#include "stores/registry.bpf.h"
#include "stores/histories.bpf.h"
#include "stores/selections.bpf.h"
#include "senders.bpf.h"
#include "stores/tickets.bpf.h"
#include "socket_kind.bpf.h"

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

static __always_inline int is_ours(const struct bpf_sockopt *ctx)
{
	return ctx->level >= SOL_PKTMETA && ctx->level <= SOL_PKTMETA_DGRAM_DISPLACED;
}

static __always_inline enum socket_kind kind_of(const struct bpf_sock *sk)
{
	return socket_kind(sk->family, sk->type, sk->protocol);
}

/*
 * Leaves an option to the kernel. A copy that is shorter than the option must be given up, or the
 * call fails with EFAULT (__cgroup_bpf_run_filter_getsockopt, __cgroup_bpf_run_filter_setsockopt):
 * it has at most a page, and of a getsockopt no more than the caller had room for, whatever the
 * answer's length.
 */
static __always_inline int leave_to_kernel(struct bpf_sockopt *ctx)
{
	if (ctx->optlen > ctx->optval_end - ctx->optval)
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
