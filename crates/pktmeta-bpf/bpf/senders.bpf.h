/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Who may say something of what his sockets send. */
#ifndef PKTMETA_SENDERS_BPF_H
#define PKTMETA_SENDERS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SENDERS_MAX 16

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cred___pktmeta {
	struct {
		__u32 val;
	} euid;
};

struct task_struct___pktmeta {
	struct cred___pktmeta *cred;
};

#pragma clang attribute pop

/* Set by the loader: everybody, or these users only. Numbers of the initial user namespace. */
const volatile __u8 senders_all = 1;
const volatile __u32 senders_count = 0;
const volatile __u32 senders[SENDERS_MAX] = {};

/*
 * By the effective user, as for all that the kernel permits; bpf_get_current_uid_gid() tells the
 * real one.
 */
static __always_inline int may_send(void)
{
	struct task_struct___pktmeta *task = (void *)bpf_get_current_task_btf();
	__u32 uid = task->cred->euid.val, i;

	if (senders_all)
		return 1;
	for (i = 0; i < SENDERS_MAX; i++) {
		if (i < senders_count && senders[i] == uid)
			return 1;
	}
	return 0;
}

#endif
