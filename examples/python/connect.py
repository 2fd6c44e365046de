#!/usr/bin/env python3
"""Connect as tenant 9, from the SYN on, then send as tenant 10.

pktmeta gen python ../edge.toml -o pktmeta && python3 connect.py 192.0.2.1 7000
"""
import socket
import sys

from pktmeta import PKTMETA_TX, Registry, edge

if len(sys.argv) != 3:
    print(f"usage: {sys.argv[0]} ADDRESS PORT", file=sys.stderr)
    sys.exit(2)
host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
with socket.socket(family) as connection:
    registry = Registry(connection)
    record = registry.record(connection).set(edge.TENANT, 9).set(edge.CLASS, edge.Class.BULK)
    registry.write(connection, record)
    connection.connect((host, port))
    connection.sendall(bytes(100))
    connection.recv(1)
    registry.write_field(connection, edge.TENANT, 10)
    connection.sendall(bytes(1000))
    sent = registry.read(connection, PKTMETA_TX)
    assert sent, "it was just set"
    print(f"tenant {sent.get(edge.TENANT)}, {'bulk' if sent.get(edge.CLASS) == edge.Class.BULK else '?'}")
