/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The users that may set records for what their sockets send. */
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

/* The loader sets these: all users may, or those listed, by their ids in the initial namespace. */
const volatile __u8 senders_all = 1;
const volatile __u32 senders_count = 0;
const volatile __u32 senders[SENDERS_MAX] = {};

/*
 * Returns 1 if the current user may. The effective user counts, as in all checks of the kernel;
 * bpf_get_current_uid_gid() returns the real one.
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
