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


def tenant_of(connection):
    """Whose a connection is, by three ways to ask, and what to say of it. OSError: nobody answers."""
    # All that came with the SYN.
    syn = registry.read(connection, PKTMETA_RX_SYN)
    if syn is None:
        return None, "no record"
    # One field of it, without the others.
    tenant = registry.read_field(connection, edge.TENANT, PKTMETA_RX_SYN_FIELD)
    # The selected ones.
    values = registry.read_selected(connection, PKTMETA_RX_SYN_FIELDS)
    if values is None:
        # A datapath that came since then knows of no selection.
        registry.select(listener, *selection)
        registry.select(connection, *selection)
        values = registry.read_selected(connection, PKTMETA_RX_SYN_FIELDS)
    if tenant is None or values is None:
        return None, "no tenant"
    selected = f"selected {values.get(edge.TENANT)}, {values.get(edge.CLASS)}"
    interface = f"interface {values.get(RX_IFINDEX)}"
    return tenant, f"tenant {syn.get(edge.TENANT)}; alone {tenant}; {selected}, {interface}"


while True:
    connection, peer = listener.accept()
    try:
        tenant, said = tenant_of(connection)
        if tenant is not None:
            # From now on, what this socket sends is this tenant's.
            registry.write_field(connection, edge.TENANT, tenant)
    except OSError as error:
        # There is no datapath for now, which is no reason not to serve.
        said = error.strerror
    print(f"{peer[0]}: {said}", flush=True)
    while data := connection.recv(2048):
        connection.sendall(data)
    connection.close()
