/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Echo UDP. Each answer is the tenant's whose datagram it answers, as XDP says.
 *
 *	pktmeta gen c ../edge.toml -o .
 *	cc -I . -I ../../crates/pktmeta-headers/include -o udp udp.c && ./udp 192.0.2.2 7000
 */
#include "example.h"
#include "edge.pktmeta.h"

#include <linux/net_tstamp.h>
#include <pktmeta/abi.h>
#include <time.h>

#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif

/* Room for any control message of these examples. */
union control {
	char bytes[CMSG_SPACE(sizeof(struct timespec))];
	struct cmsghdr header;
};

/* Tickets are in marks, or, for who may not use these, in times. */
static int marks;

/* Asks the datapath for tickets: again, once another came. */
static int ask_for_tickets(int fd)
{
	int where = marks ? PKTMETA_TICKETS_MARK : PKTMETA_TICKETS_TIMESTAMP;

	return setsockopt(fd, SOL_PKTMETA, PKTMETA_TICKETS, &where, sizeof(where)) ? -errno : 0;
}

/* To be called before the socket is bound, so that the first datagram has a ticket. */
static void use_tickets(int fd)
{
	struct sock_txtime txtime = { .clockid = CLOCK_MONOTONIC };
	int on = 1, mark = 0;

	marks = !setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	if (marks) {
		must("SO_RCVMARK", setsockopt(fd, SOL_SOCKET, SO_RCVMARK, &on, sizeof(on)));
	} else {
		must("SO_TIMESTAMPNS", setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)));
		must("SO_TXTIME", setsockopt(fd, SOL_SOCKET, SO_TXTIME, &txtime, sizeof(txtime)));
	}
	number("PKTMETA_TICKETS", ask_for_tickets(fd));
}

/* The ticket that came with a datagram; 0 if none did. */
static __u32 received_ticket(struct msghdr *message)
{
	struct timespec time;
	struct cmsghdr *c;
	__u32 ticket;

	for (c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SO_MARK) {
			memcpy(&ticket, CMSG_DATA(c), sizeof(ticket));
			return ticket;
		}
		if (c->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&time, CMSG_DATA(c), sizeof(time));
			/* The time of arrival, if no datapath put a ticket in its place. */
			return time.tv_sec < 5 ? time.tv_sec * 1000000000u + time.tv_nsec : 0;
		}
	}
	return 0;
}

/* Gives a datagram that is to be sent a ticket. */
static void put_ticket(struct msghdr *message, union control *control, __u32 ticket)
{
	__u64 time = ticket;

	message->msg_control = control;
	message->msg_controllen = CMSG_SPACE(marks ? sizeof(ticket) : sizeof(time));
	control->header.cmsg_level = SOL_SOCKET;
	control->header.cmsg_type = marks ? SO_MARK : SCM_TXTIME;
	control->header.cmsg_len = CMSG_LEN(marks ? sizeof(ticket) : sizeof(time));
	if (marks)
		memcpy(CMSG_DATA(&control->header), &ticket, sizeof(ticket));
	else
		memcpy(CMSG_DATA(&control->header), &time, sizeof(time));
}

static struct pktmeta_schema_host host;
static int tenant_number, class_number;

/*
 * Compares the numbers with the datapath that answered the last call. Returns 1 if the answer can
 * be used; 0 if the datapath was another one: its numbers have been asked for, repeat the call; or
 * a negative errno if no datapath answers or it has no such fields.
 */
static int numbers_are_right(int fd)
{
	int same = pktmeta_schema_same(fd, &host);

	if (same)
		return same;
	tenant_number = edge_tenant_number(fd);
	class_number = edge_class_number(fd);
	if (tenant_number > 0 && class_number > 0)
		return 0;
	memset(&host, 0, sizeof(host)); /* asks again next time */
	return tenant_number < 0 ? tenant_number : class_number;
}

/*
 * Finds the tenant of a datagram. Returns 0, or a negative errno: ENODATA if nobody labelled it,
 * ESTALE if this program was too slow, any other if there is no datapath at the moment.
 */
static int tenant_of(int fd, __u32 ticket, edge_tenant_t *tenant)
{
	__u8 record[256];
	socklen_t length;
	int err, right;

	if (!ticket) {
		/* The datapath is another: it does not know this socket. */
		err = ask_for_tickets(fd);
		return err ? err : -ENODATA;
	}
	do {
		length = sizeof(record);
		err = getsockopt(fd, SOL_PKTMETA_DGRAM, ticket, record, &length) ? -errno : 0;
		right = numbers_are_right(fd);
	} while (!right);
	if (err || right < 0)
		return err ? err : right;
	return edge_tenant_get(record, length, tenant_number, tenant) ? -ENODATA : 0;
}

/* Makes the record of datagrams with a ticket. */
static int label(int fd, __u32 ticket, edge_tenant_t tenant)
{
	__u8 answer[PKTMETA_SCHEMA_RECORD_MAX];
	int right;

	do {
		pktmeta_schema_begin(answer);
		edge_tenant_put(answer, tenant_number, tenant);
		edge_class_put(answer, class_number, EDGE_CLASS_INTERACTIVE);
		if (setsockopt(fd, SOL_PKTMETA_DGRAM, ticket, answer, answer[3]))
			return -errno;
		right = numbers_are_right(fd);
	} while (!right);
	return right < 0 ? right : 0;
}

int main(int argc, char **argv)
{
	struct addrinfo *at = address(argc, argv, SOCK_DGRAM);
	int fd = must("socket", socket(at->ai_family, SOCK_DGRAM, 0));

	use_tickets(fd);
	must("bind", bind(fd, at->ai_addr, at->ai_addrlen));
	freeaddrinfo(at);
	number("tenant and class", numbers_are_right(fd));
	setlinebuf(stdout);
	printf("listening\n");
	for (;;) {
		char payload[2048];
		union control control;
		struct sockaddr_storage peer;
		struct iovec part = { payload, sizeof(payload) };
		struct msghdr message = { .msg_name = &peer,
					  .msg_namelen = sizeof(peer),
					  .msg_iov = &part,
					  .msg_iovlen = 1,
					  .msg_control = &control,
					  .msg_controllen = sizeof(control) };
		edge_tenant_t tenant;
		__u32 ticket;

		part.iov_len = must("recvmsg", recvmsg(fd, &message, 0));
		ticket = received_ticket(&message);
		print_peer(&peer, message.msg_namelen);
		message.msg_controllen = 0;
		if (tenant_of(fd, ticket, &tenant)) {
			printf("tenant None\n"); /* which is no reason not to serve */
		} else {
			printf("tenant %u\n", tenant);
			ticket = PKTMETA_TX_TICKET + (tenant & 0xffffff); /* any 24 bits will do */
			if (!label(fd, ticket, tenant))
				put_ticket(&message, &control, ticket);
		}
		must("sendmsg", sendmsg(fd, &message, 0));
	}
}
