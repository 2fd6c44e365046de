#!/usr/bin/env python3
"""Echo TCP. What is answered is the tenant's that opened the connection, as XDP says.

pktmeta gen python ../edge.toml -o pktmeta && python3 tcp.py 192.0.2.2 7000
"""
import socket
import sys

from pktmeta import (
    PKTMETA_RX_SYN,
    PKTMETA_RX_SYN_FIELD,
    PKTMETA_RX_SYN_FIELDS,
    RX_IFINDEX,
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
selection = edge.TENANT, edge.CLASS, RX_IFINDEX
registry.select(listener, *selection)  # and so do the connections that it accepts
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
    tenant = registry.read_field(connection, edge.TENANT, PKTMETA_RX_SYN_FIELD)
    print(f"alone {tenant}", end="; ")
    # The selected ones.
    values = registry.read_selected(connection, PKTMETA_RX_SYN_FIELDS)
    if values is None:
        # A datapath that came since then knows of no selection.
        registry.select(listener, *selection)
        registry.select(connection, *selection)
        values = registry.read_selected(connection, PKTMETA_RX_SYN_FIELDS)
    assert values
    print(f"selected {values.get(edge.TENANT)}, {values.get(edge.CLASS)}", end=", ")
    print(f"interface {values.get(RX_IFINDEX)}", flush=True)
    assert tenant is not None
    # From now on, what this socket sends is this tenant's.
    registry.write_field(connection, edge.TENANT, tenant)
    while data := connection.recv(2048):
        connection.sendall(data)
    connection.close()
