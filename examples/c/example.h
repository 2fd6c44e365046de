/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the examples have in common, none of it pktmeta. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static inline void fail(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(error));
	exit(1);
}

/* What a system call returned, unless it failed. */
static inline int must(const char *what, int result)
{
	if (result < 0)
		fail(what, errno);
	return result;
}

/* The number of a field, unless this host has none. */
static inline int number(const char *field, int result)
{
	if (result < 0)
		fail(field, -result);
	return result;
}

/* The address that the arguments say, of either version. */
static inline struct addrinfo *address(int argc, char **argv, int type)
{
	struct addrinfo hints = { .ai_socktype = type,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct addrinfo *found;

	if (argc != 3 || getaddrinfo(argv[1], argv[2], &hints, &found)) {
		fprintf(stderr, "usage: %s ADDRESS PORT\n", argv[0]);
		exit(2);
	}
	return found;
}

static inline void print_peer(const struct sockaddr_storage *peer, socklen_t length)
{
	char host[64];

	if (getnameinfo((const struct sockaddr *)peer, length, host, sizeof(host), NULL, 0,
			NI_NUMERICHOST))
		strcpy(host, "?");
	printf("%s: ", host);
}

#endif
