/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the programs at getsockopt and setsockopt. */
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
#include "defs.bpf.h"
#include "socket_kind.bpf.h"

static __always_inline int is_ours(const struct bpf_sockopt *ctx)
{
	return ctx->level >= SOL_PKTMETA && ctx->level <= SOL_PKTMETA_DGRAM_DISPLACED;
}

static __always_inline enum pktmeta_socket_kind kind_of(const struct bpf_sock *sk)
{
	return socket_kind(sk->family, sk->type, sk->protocol);
}

/*
 * Leaves an option to the kernel. The kernel gave the program a copy of the option: at most a page,
 * and for getsockopt at most the room of the caller, however long the answer is. If the copy is
 * shorter than the option, the program must discard it, or the call fails with EFAULT
 * (__cgroup_bpf_run_filter_getsockopt, __cgroup_bpf_run_filter_setsockopt).
 */
static __always_inline int leave_to_kernel(struct bpf_sockopt *ctx)
{
	if (ctx->optlen > ctx->optval_end - ctx->optval)
		ctx->optlen = 0;
	return 1;
}

/* Bits that are set in each of our errors, which are from -256 to -1. */
#define ERROR_BITS (~0xff)

/*
 * Fails the call with an error, such as -ENOENT. Setting bits that an error has shows the verifier
 * that it is one: from Linux 7.2 on it accepts no other number.
 */
static __always_inline int refuse(int error)
{
	barrier_var(error);
	bpf_set_retval(error | ERROR_BITS);
	return 0;
}

#endif
