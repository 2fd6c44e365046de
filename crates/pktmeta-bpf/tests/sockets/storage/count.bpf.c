// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Counts the sockets that have something in a map of socket storage. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/*
 * The kernel's struct bpf_iter_meta and bpf_iter__bpf_sk_storage_map, as far as they matter here.
 */
struct iter_meta {
	struct seq_file *seq;
};

struct iter_storage {
	struct iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

/* Reading the iterator gives a byte for each socket. */
SEC("iter/bpf_sk_storage_map")
int count(struct iter_storage *ctx)
{
	char one = 1;

	if (ctx->value)
		bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
