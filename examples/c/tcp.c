/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Echo TCP. What is answered is the tenant's that opened the connection, as XDP says.
 *
 *	pktmeta gen c ../edge.toml -o .
 *	cc -I . -I ../../crates/pktmeta-headers/include -o tcp tcp.c && ./tcp 192.0.2.2 7000
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

/* On a listener, for the connections that it accepts. */
static int select_fields(int fd)
{
	__u8 selection[3];
	int right, ifindex;

	do {
		ifindex = pktmeta_schema_number(fd, "rx_ifindex", /* one of pktmeta's own */
						PKTMETA_KIND_UNSIGNED, 4);
		if (ifindex < 0)
			return ifindex;
		selection[0] = tenant_number;
		selection[1] = class_number;
		selection[2] = ifindex;
		if (setsockopt(fd, SOL_PKTMETA, PKTMETA_FIELDS, selection, sizeof(selection)))
			return -errno;
		right = numbers_are_right(fd);
	} while (!right);
	return right < 0 ? right : 0;
}

/* What was selected of a SYN. */
static int ask_selected(int fd, struct pktmeta_value values[3])
{
	socklen_t length = 3 * sizeof(*values);

	return getsockopt(fd, SOL_PKTMETA, PKTMETA_RX_SYN_FIELDS, values, &length) ? -errno : 0;
}

/*
 * Asks in three ways for the fields that came with the SYN. Returns the tenant, or a negative
 * errno. The caller then checks that the numbers were right.
 */
static long long ask_tenant(int fd, int listening, char *said, size_t room)
{
	struct pktmeta_value values[3];
	__u8 record[256], bytes[EDGE_TENANT_SIZE];
	edge_tenant_t whole, alone, selected;
	edge_class_t class;
	char class_said[16] = "None";
	socklen_t length;
	int err;

	/* All fields. */
	length = sizeof(record);
	if (getsockopt(fd, SOL_PKTMETA, PKTMETA_RX_SYN, record, &length))
		return -errno;
	if (edge_tenant_get(record, length, tenant_number, &whole))
		return -ENODATA;
	/* One of them. */
	length = sizeof(bytes);
	if (getsockopt(fd, SOL_PKTMETA, PKTMETA_RX_SYN_FIELD + tenant_number, bytes, &length))
		return -errno;
	if (edge_tenant_decode(bytes, length, &alone))
		return -ENODATA;
	/* The selected ones. A datapath that came since then knows of no selection. */
	err = ask_selected(fd, values);
	if (err == -ENODATA) {
		err = select_fields(listening);
		if (!err)
			err = select_fields(fd);
		if (!err)
			err = ask_selected(fd, values);
	}
	if (err)
		return err;
	if (values[0].status || edge_tenant_decode(values[0].value, values[0].size, &selected))
		return -ENODATA;
	if (!values[1].status && !edge_class_decode(values[1].value, values[1].size, &class))
		snprintf(class_said, sizeof(class_said), "%u", class);
	snprintf(said, room, "tenant %u; alone %u; selected %u, %s, interface %llu", whole, alone,
		 selected, class_said, pktmeta_schema_integer(values[2].value, values[2].size));
	return whole;
}

/* Whose a connection is, or a negative errno. */
static long long tenant_of(int fd, int listening, char *said, size_t room)
{
	long long tenant;
	int right;

	do {
		right = numbers_are_right(fd);
	} while (!right);
	if (right < 0)
		return right;
	do {
		tenant = ask_tenant(fd, listening, said, room);
		right = numbers_are_right(fd);
	} while (!right);
	return right < 0 ? right : tenant;
}

/* From now on, what this socket sends is this tenant's. */
static int send_as(int fd, edge_tenant_t tenant)
{
	__u8 bytes[EDGE_TENANT_SIZE];
	int size = edge_tenant_encode(bytes, tenant), right;

	do {
		if (setsockopt(fd, SOL_PKTMETA, PKTMETA_TX_FIELD + tenant_number, bytes, size))
			return -errno;
		right = numbers_are_right(fd);
	} while (!right);
	return right < 0 ? right : 0;
}

int main(int argc, char **argv)
{
	int fd = listener(argc, argv);

	number("tenant and class", numbers_are_right(fd));
	number("the selection", select_fields(fd));
	setlinebuf(stdout);
	printf("listening\n");
	for (;;) {
		struct sockaddr_storage peer;
		socklen_t length = sizeof(peer);
		int connection = must("accept", accept(fd, (struct sockaddr *)&peer, &length));
		char payload[2048], said[128];
		long long tenant;
		ssize_t size;

		print_peer(&peer, length);
		tenant = tenant_of(connection, fd, said, sizeof(said));
		if (tenant >= 0 && send_as(connection, tenant))
			tenant = -ENODEV;
		/* That there is no datapath for now is no reason not to serve. */
		printf("%s\n", tenant >= 0	  ? said :
			       tenant == -ENODATA ? "no record" :
						    strerror(-tenant));
		while ((size = read(connection, payload, sizeof(payload))) > 0)
			must("write", write(connection, payload, size));
		close(connection);
	}
}
