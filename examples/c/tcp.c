/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Echo TCP. What is answered is the tenant's that opened the connection, as XDP says.
 *
 *	pktmeta gen c ../edge.toml -o .
 *	cc -I . -I ../../crates/pktmeta-bpf/include -o tcp tcp.c && ./tcp 192.0.2.2 7000
 */
#include "example.h"
#include "edge.pktmeta.h"

#include <pktmeta/abi.h>
#include <unistd.h>

static struct pktmeta_schema_host host;
static int tenant_number, class_number;

static int listener(int argc, char **argv)
{
	struct addrinfo *at = address(argc, argv, SOCK_STREAM);
	int fd = must("socket", socket(at->ai_family, SOCK_STREAM, 0)), on = 1;

	must("SO_REUSEADDR", setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	must("bind", bind(fd, at->ai_addr, at->ai_addrlen));
	must("listen", listen(fd, 16));
	freeaddrinfo(at);
	return fd;
}

/* 1 if the numbers are those of who answered last; else asks for them, and 0: do it again. */
static int numbers_are_right(int fd)
{
	int same = number("PKTMETA_INFO", pktmeta_schema_same(fd, &host));

	if (!same) {
		tenant_number = number("tenant", edge_tenant_number(fd));
		class_number = number("class", edge_class_number(fd));
	}
	return same;
}

/* On a listener, for the connections that it accepts. */
static void select_fields(int fd)
{
	__u8 selection[3];

	do {
		selection[0] = tenant_number;
		selection[1] = class_number;
		selection[2] = number("rx_ifindex", /* one of pktmeta's own */
				      pktmeta_schema_number(fd, "rx_ifindex",
							    PKTMETA_KIND_UNSIGNED, 4));
		must("PKTMETA_FIELDS",
		     setsockopt(fd, SOL_PKTMETA, PKTMETA_FIELDS, selection, sizeof(selection)));
	} while (!numbers_are_right(fd));
}

/*
 * What came with the SYN, asked for in three ways: the tenant, or -1: there is no record. Of use if the
 * numbers are right afterwards.
 */
static long long ask_tenant(int fd)
{
	struct pktmeta_value values[3];
	__u8 record[256], bytes[EDGE_TENANT_SIZE];
	edge_tenant_t whole, alone, selected;
	edge_class_t class;
	socklen_t length;

	/* All fields. */
	length = sizeof(record);
	if (getsockopt(fd, SOL_PKTMETA, PKTMETA_RX_SYN, record, &length)) {
		if (errno != ENODATA)
			fail("PKTMETA_RX_SYN", errno);
		return -1;
	}
	if (edge_tenant_get(record, length, tenant_number, &whole))
		return -1;
	/* One of them. */
	length = sizeof(bytes);
	must("PKTMETA_RX_SYN_FIELD",
	     getsockopt(fd, SOL_PKTMETA, PKTMETA_RX_SYN_FIELD + tenant_number, bytes, &length));
	if (edge_tenant_decode(bytes, length, &alone))
		return -1;
	/* The selected ones. */
	length = sizeof(values);
	must("PKTMETA_RX_SYN_FIELDS",
	     getsockopt(fd, SOL_PKTMETA, PKTMETA_RX_SYN_FIELDS, values, &length));
	if (values[0].status || edge_tenant_decode(values[0].value, values[0].size, &selected))
		return -1;
	printf("tenant %u; alone %u; selected %u, ", whole, alone, selected);
	if (values[1].status || edge_class_decode(values[1].value, values[1].size, &class))
		printf("None");
	else
		printf("%u", class);
	printf(", interface %llu\n", pktmeta_schema_integer(values[2].value, values[2].size));
	return whole;
}

/* Of a datapath that came since, neither socket has its selection. */
static long long tenant_of(int fd, int listening)
{
	long long tenant;

	while (!numbers_are_right(fd)) {
		select_fields(fd);
		select_fields(listening);
	}
	tenant = ask_tenant(fd);
	return numbers_are_right(fd) ? tenant : -1;
}

/* From now on, what this socket sends is this tenant's. */
static void send_as(int fd, edge_tenant_t tenant)
{
	__u8 bytes[EDGE_TENANT_SIZE];
	int size = edge_tenant_encode(bytes, tenant);

	do {
		must("PKTMETA_TX_FIELD",
		     setsockopt(fd, SOL_PKTMETA, PKTMETA_TX_FIELD + tenant_number, bytes, size));
	} while (!numbers_are_right(fd));
}

int main(int argc, char **argv)
{
	int fd = listener(argc, argv);

	numbers_are_right(fd);
	select_fields(fd);
	setlinebuf(stdout);
	printf("listening\n");
	for (;;) {
		struct sockaddr_storage peer;
		socklen_t length = sizeof(peer);
		int connection = must("accept", accept(fd, (struct sockaddr *)&peer, &length));
		char payload[2048];
		long long tenant;
		ssize_t size;

		print_peer(&peer, length);
		tenant = tenant_of(connection, fd);
		if (tenant < 0)
			printf("no record\n");
		else
			send_as(connection, tenant);
		while ((size = read(connection, payload, sizeof(payload))) > 0)
			must("write", write(connection, payload, size));
		close(connection);
	}
}
