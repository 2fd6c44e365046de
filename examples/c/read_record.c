/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Receives one datagram and prints what XDP and TC said of it, field by field. No library: the
 * numbers are those of docs/abi.md.
 *
 *	cc -o read_record read_record.c && ./read_record 192.0.2.2 7000
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SOL_PKTMETA 0x504d
#define SOL_PKTMETA_DGRAM 0x504e
#define PKTMETA_TICKETS 4
#define PKTMETA_TICKETS_MARK 1
#define PKTMETA_FIELD_INFO 0x100
#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_socket(const char *address, int port)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), where = PKTMETA_TICKETS_MARK, on = 1;

	if (fd < 0)
		fail("socket");
	if (setsockopt(fd, SOL_PKTMETA, PKTMETA_TICKETS, &where, sizeof(where)))
		fail("PKTMETA_TICKETS: is the datapath up?");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVMARK, &on, sizeof(on)))
		fail("SO_RCVMARK");
	if (inet_pton(AF_INET, address, &name.sin_addr) != 1 ||
	    bind(fd, (struct sockaddr *)&name, sizeof(name)))
		fail("bind");
	return fd;
}

/* The ticket of one received datagram. */
static unsigned int receive_ticket(int fd)
{
	char payload[2048], control[CMSG_SPACE(sizeof(unsigned int))];
	struct iovec part = { payload, sizeof(payload) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof(control) };
	unsigned int ticket = 0;
	struct cmsghdr *c;

	if (recvmsg(fd, &message, 0) < 0)
		fail("recvmsg");
	for (c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_MARK)
			memcpy(&ticket, CMSG_DATA(c), sizeof(ticket));
	return ticket;
}

static void print_field(int fd, unsigned char type, const unsigned char *value, unsigned int size)
{
	unsigned char info[64];
	socklen_t length = sizeof(info);
	unsigned int i;

	if (getsockopt(fd, SOL_PKTMETA, PKTMETA_FIELD_INFO + type, info, &length))
		fail("PKTMETA_FIELD_INFO");
	printf("%.28s =", info);
	for (i = 0; i < size; i++)
		printf(" %02x", value[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	unsigned char record[256];
	socklen_t length = sizeof(record);
	unsigned int at, start, code, size;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: %s ADDRESS PORT\n", argv[0]);
		return 2;
	}
	fd = open_socket(argv[1], atoi(argv[2]));
	printf("listening\n");
	fflush(stdout);
	/* ENODATA: it had no record. ESTALE: we were too slow. */
	if (getsockopt(fd, SOL_PKTMETA_DGRAM, receive_ticket(fd), record, &length))
		fail("the datagram's record");
	for (at = 4; at + 1 < length; at = start + size) {
		code = record[at] >> 6;
		start = at + (code ? 1 : 2);
		size = code ? 1u << code : record[at + 1];
		if (start + size <= length && record[at] & 0x3f) /* else a void */
			print_field(fd, record[at] & 0x3f, record + start, size);
	}
	return 0;
}
