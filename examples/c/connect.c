/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Connect as tenant 9, from the SYN on, then send as tenant 10.
 *
 *	pktmeta gen c ../edge.toml -o .
 *	cc -I . -I ../../crates/pktmeta-headers/include -o connect connect.c
 *	./connect 192.0.2.1 7000
 */
#include "example.h"
#include "edge.pktmeta.h"

#include <pktmeta/abi.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct addrinfo *to = address(argc, argv, SOCK_STREAM);
	int fd = must("socket", socket(to->ai_family, SOCK_STREAM, 0));
	int tenant_number = number("tenant", edge_tenant_number(fd));
	int class_number = number("class", edge_class_number(fd));
	__u8 record[256], bytes[EDGE_TENANT_SIZE];
	socklen_t length = sizeof(record);
	char payload[1000] = {};
	edge_tenant_t tenant;
	edge_class_t class;

	pktmeta_schema_begin(record);
	edge_tenant_put(record, tenant_number, 9);
	edge_class_put(record, class_number, EDGE_CLASS_BULK);
	must("PKTMETA_TX", setsockopt(fd, SOL_PKTMETA, PKTMETA_TX, record, record[3]));
	must("connect", connect(fd, to->ai_addr, to->ai_addrlen));
	must("write", write(fd, payload, 100));
	must("read", read(fd, payload, 1));
	must("PKTMETA_TX_FIELD", setsockopt(fd, SOL_PKTMETA, PKTMETA_TX_FIELD + tenant_number,
					    bytes, edge_tenant_encode(bytes, 10)));
	must("write", write(fd, payload, 1000));
	must("PKTMETA_TX", getsockopt(fd, SOL_PKTMETA, PKTMETA_TX, record, &length));
	if (!edge_tenant_get(record, length, tenant_number, &tenant) &&
	    !edge_class_get(record, length, class_number, &class))
		printf("tenant %u, %s\n", tenant,
		       class == EDGE_CLASS_BULK ? "bulk" : "interactive");
	freeaddrinfo(to);
	return 0;
}
