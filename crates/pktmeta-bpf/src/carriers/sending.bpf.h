/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Who may say something of what his sockets send. */
#ifndef PKTMETA_SENDING_BPF_H
#define PKTMETA_SENDING_BPF_H

#include <bpf/bpf_helpers.h>

#define SENDERS_MAX 16

/* Set by the loader: everybody, or these users only. Numbers of the initial user namespace. */
const volatile __u8 senders_all = 1;
const volatile __u32 senders_count = 0;
const volatile __u32 senders[SENDERS_MAX] = {};

static __always_inline int may_send(void)
{
	__u32 uid = bpf_get_current_uid_gid(), i;

	if (senders_all)
		return 1;
	for (i = 0; i < SENDERS_MAX; i++) {
		if (i < senders_count && senders[i] == uid)
			return 1;
	}
	return 0;
}

#endif
