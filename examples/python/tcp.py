#!/usr/bin/env python3
"""Echo TCP. What is answered is the tenant's that opened the connection, as XDP says.

pktmeta gen python ../edge.toml -o pktmeta && python3 tcp.py 192.0.2.2 7000
"""
import socket
import sys

from pktmeta import (
    PKTMETA_FIELDS,
    PKTMETA_RX_SYN,
    PKTMETA_RX_SYN_FIELD,
    PKTMETA_RX_SYN_FIELDS,
    PKTMETA_TX_FIELD,
    RX_IFINDEX,
    SOL_PKTMETA,
    Registry,
    edge,
)

if len(sys.argv) != 3:
    print(f"usage: {sys.argv[0]} ADDRESS PORT", file=sys.stderr)
    sys.exit(2)
host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
listener = socket.create_server((host, port), family=family)
registry = Registry(listener)
# The connections that it accepts have this selection too.
selection = [registry.number(edge.TENANT), registry.number(edge.CLASS), registry.number(RX_IFINDEX)]
listener.setsockopt(SOL_PKTMETA, PKTMETA_FIELDS, bytes(selection))
print("listening", flush=True)

while True:
    connection, peer = listener.accept()
    # All that came with the SYN.
    syn = registry.read(connection, PKTMETA_RX_SYN)
    if syn is None:
        print(f"{peer[0]}: no record", flush=True)
        continue
    print(f"{peer[0]}: tenant {syn.get(edge.TENANT)}", end="; ")
    # One field of it, without the others.
    option = PKTMETA_RX_SYN_FIELD + registry.number(edge.TENANT)
    tenant = edge.TENANT.decode(connection.getsockopt(SOL_PKTMETA, option, edge.TENANT.size))
    print(f"alone {tenant}", end="; ")
    # The selected ones.
    values = registry.selected(connection.getsockopt(SOL_PKTMETA, PKTMETA_RX_SYN_FIELDS, 1024))
    print(f"selected {values.get(edge.TENANT)}, {values.get(edge.CLASS)}", end=", ")
    print(f"interface {values.get(RX_IFINDEX)}", flush=True)
    # From now on, what this socket sends is this tenant's.
    option = PKTMETA_TX_FIELD + registry.number(edge.TENANT)
    connection.setsockopt(SOL_PKTMETA, option, edge.TENANT.encode(tenant))
    while data := connection.recv(2048):
        connection.sendall(data)
    connection.close()
