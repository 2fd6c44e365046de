/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Receive UDP, and read what XDP says of each datagram without a system call: from the ring, which
 * belongs to the owner of the cgroup.
 *
 *	pktmeta gen c ../edge.toml -o .
 *	cc -I . -I ../../crates/pktmeta-headers/include -o ring ring.c && ./ring 192.0.2.2 7000
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

/* The ring of a datapath, and the field's number there. Both are right until the ring is closed. */
struct ring {
	const struct pktmeta_slot *slots;	  /* NULL: there is none */
	const struct pktmeta_ring_header *header; /* after the last slot */
	__u32 count;
	int tenant_number;
};

static size_t ring_size(__u32 slots)
{
	return (slots + 1ul) * sizeof(struct pktmeta_slot);
}

/* Maps the ring that a socket's datagrams are in now. Returns 0, or a negative errno. */
static int map_ring(int fd, struct ring *ring)
{
	struct pktmeta_info info;
	socklen_t length = sizeof(info);
	union bpf_attr attr = {};
	char path[128];
	void *slots;
	int map;

	if (getsockopt(fd, SOL_PKTMETA, PKTMETA_INFO, &info, &length))
		return -errno;
	snprintf(path, sizeof(path), "/sys/fs/bpf/pktmeta/cgroups/%llu/ring", info.cgroup);
	attr.pathname = (__u64)(unsigned long)path;
	/* Not BPF_F_RDONLY: the kernel shares no mapping of a map that was opened so. */
	map = syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	if (map < 0)
		return -errno;
	slots = mmap(NULL, ring_size(info.slots), PROT_READ, MAP_SHARED, map, 0);
	close(map);
	if (slots == MAP_FAILED)
		return -errno;
	ring->count = info.slots;
	ring->slots = slots;
	ring->header = (const void *)(ring->slots + info.slots);
	return 0;
}

static int is_closed(const struct ring *ring)
{
	return !ring->slots || *(const volatile __u32 *)&ring->header->closed;
}

/* Asks for tickets and maps the ring of the datapath that gives them: 0, or a negative errno. */
static int join(int fd, struct ring *ring)
{
	int where = PKTMETA_TICKETS_MARK, err;

	if (setsockopt(fd, SOL_PKTMETA, PKTMETA_TICKETS, &where, sizeof(where)))
		return -errno;
	if (!is_closed(ring))
		return 0;
	if (ring->slots)
		munmap((void *)ring->slots, ring_size(ring->count));
	ring->slots = NULL;
	err = map_ring(fd, ring);
	if (err)
		return err;
	ring->tenant_number = edge_tenant_number(fd);
	return is_closed(ring) ? -ENODEV : 0;
}

/*
 * Copies a datagram's record. Returns 0, or
 *   -ENODATA  the datagram has no record
 *   -ESTALE   another record has taken its slot
 *   -ENODEV   the datapath is down, or another one has taken its place
 */
static int read_ring(const struct ring *ring, __u32 ticket, __u64 cookie, void *record)
{
	const struct pktmeta_slot *slot;
	int mine;

	if (!ticket || is_closed(ring))
		return -ENODEV;
	if (ticket == PKTMETA_TICKET_ABSENT)
		return -ENODATA;
	slot = ring->slots + ticket % ring->count;
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
	struct ring ring = {};
	socklen_t length = sizeof(__u64);
	__u64 cookie;
	int on = 1;

	number("the ring", join(fd, &ring));
	must("SO_RCVMARK", setsockopt(fd, SOL_SOCKET, SO_RCVMARK, &on, sizeof(on)));
	must("bind", bind(fd, at->ai_addr, at->ai_addrlen));
	freeaddrinfo(at);
	must("SO_COOKIE", getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length));
	number("tenant", ring.tenant_number);
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
		struct msghdr message = { .msg_name = &peer,
					  .msg_namelen = sizeof(peer),
					  .msg_iov = &part,
					  .msg_iovlen = 1,
					  .msg_control = &control,
					  .msg_controllen = sizeof(control) };
		edge_tenant_t tenant;
		__u32 ticket = 0;
		int result;

		must("recvmsg", recvmsg(fd, &message, 0));
		if (CMSG_FIRSTHDR(&message)) /* the only one that was asked for */
			memcpy(&ticket, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(ticket));
		print_peer(&peer, message.msg_namelen);
		result = read_ring(&ring, ticket, cookie, record);
		if (result == -ENODEV)
			join(fd, &ring); /* for the next datagrams, if another datapath came */
		if (!result)
			result = edge_tenant_get(record, sizeof(record), ring.tenant_number,
						 &tenant);
		if (result)
			printf("%s\n", strerror(-result));
		else
			printf("tenant %u\n", tenant);
	}
}
