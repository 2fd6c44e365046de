/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Receive UDP, and read what XDP says of each datagram without a system call: from the ring, which
 * belongs to the owner of the cgroup.
 *
 *	pktmeta gen c ../edge.toml -o .
 *	cc -I . -I ../../crates/pktmeta-bpf/include -o ring ring.c && ./ring 192.0.2.2 7000
 */
#include "example.h"
#include "edge.pktmeta.h"

#include <linux/bpf.h>
#include <pktmeta/abi.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif

struct ring {
	const struct pktmeta_slot *slots;
	const struct pktmeta_ring_header *header; /* after the last slot */
	__u32 count;
};

static struct ring map_ring(int fd)
{
	struct pktmeta_info info;
	socklen_t length = sizeof(info);
	union bpf_attr attr = {};
	struct ring ring;
	char path[128];
	void *map;

	must("PKTMETA_INFO", getsockopt(fd, SOL_PKTMETA, PKTMETA_INFO, &info, &length));
	snprintf(path, sizeof(path), "/sys/fs/bpf/pktmeta/cgroups/%llu/ring", info.cgroup);
	attr.pathname = (__u64)(unsigned long)path;
	/* Not BPF_F_RDONLY: the kernel shares no mapping of a map that was opened so. */
	map = mmap(NULL, (info.slots + 1ul) * sizeof(struct pktmeta_slot), PROT_READ, MAP_SHARED,
		   must(path, syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr))), 0);
	if (map == MAP_FAILED)
		fail(path, errno);
	ring.count = info.slots;
	ring.slots = map;
	ring.header = (const void *)(ring.slots + info.slots);
	return ring;
}

/*
 * Copies a datagram's record: 0, or -ENODATA: it had none, -ESTALE: it was overwritten, -ENODEV: the
 * datapath is down.
 */
static int read_ring(const struct ring *ring, __u32 ticket, __u64 cookie, void *record)
{
	const struct pktmeta_slot *slot = ring->slots + ticket % ring->count;
	int mine;

	if (*(const volatile __u32 *)&ring->header->closed)
		return -ENODEV;
	if (!ticket || ticket == PKTMETA_TICKET_ABSENT)
		return -ENODATA;
	mine = __atomic_load_n(&slot->ticket, __ATOMIC_ACQUIRE) == ticket && slot->cookie == cookie;
	memcpy(record, slot->record, PKTMETA_RECORD_MAX);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (!mine || __atomic_load_n(&slot->ticket, __ATOMIC_RELAXED) != ticket)
		return -ESTALE;
	return 0;
}

int main(int argc, char **argv)
{
	struct addrinfo *at = address(argc, argv, SOCK_DGRAM);
	int fd = must("socket", socket(at->ai_family, SOCK_DGRAM, 0));
	int where = PKTMETA_TICKETS_MARK, on = 1, type;
	socklen_t length = sizeof(__u64);
	struct ring ring;
	__u64 cookie;

	must("PKTMETA_TICKETS", setsockopt(fd, SOL_PKTMETA, PKTMETA_TICKETS, &where, sizeof(where)));
	must("SO_RCVMARK", setsockopt(fd, SOL_SOCKET, SO_RCVMARK, &on, sizeof(on)));
	must("bind", bind(fd, at->ai_addr, at->ai_addrlen));
	freeaddrinfo(at);
	must("SO_COOKIE", getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length));
	ring = map_ring(fd);
	/* Of the ring's datapath: until the ring says that this is gone, numbers are right. */
	type = number("tenant", edge_tenant_number(fd));
	setlinebuf(stdout);
	printf("listening\n");
	for (;;) {
		char payload[2048];
		__u8 record[PKTMETA_RECORD_MAX];
		union {
			char bytes[CMSG_SPACE(sizeof(__u32))];
			struct cmsghdr header;
		} control;
		struct sockaddr_storage peer;
		struct iovec part = { payload, sizeof(payload) };
		struct msghdr message = { .msg_name = &peer, .msg_namelen = sizeof(peer),
					  .msg_iov = &part, .msg_iovlen = 1,
					  .msg_control = &control, .msg_controllen = sizeof(control) };
		edge_tenant_t tenant;
		__u32 ticket = 0;
		int result;

		must("recvmsg", recvmsg(fd, &message, 0));
		if (CMSG_FIRSTHDR(&message)) /* the only one that was asked for */
			memcpy(&ticket, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(ticket));
		print_peer(&peer, message.msg_namelen);
		result = read_ring(&ring, ticket, cookie, record);
		if (!result)
			result = edge_tenant_get(record, sizeof(record), type, &tenant);
		if (result)
			printf("%s\n", strerror(-result));
		else
			printf("tenant %u\n", tenant);
	}
}
