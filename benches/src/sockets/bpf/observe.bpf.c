// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Counts a thread's system calls. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Set by the loader. */
const volatile __u32 thread = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} system_calls SEC(".maps");

SEC("raw_tp/sys_enter")
int count_call(void *ctx __attribute__((unused)))
{
	__u32 zero = 0;
	__u64 *count;

	if ((__u32)bpf_get_current_pid_tgid() != thread)
		return 0;
	count = bpf_map_lookup_elem(&system_calls, &zero);
	if (count)
		++*count;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
