#!/usr/bin/env python3
"""Echo UDP. Each answer is the tenant's whose datagram it answers, as XDP says.

pktmeta gen python ../edge.toml -o pktmeta && python3 udp.py 192.0.2.2 7000
"""
import socket
import struct
import sys
import time

from pktmeta import (
    PKTMETA_TICKETS,
    PKTMETA_TICKETS_MARK,
    PKTMETA_TICKETS_TIMESTAMP,
    PKTMETA_TX_TICKET,
    SOL_PKTMETA,
    SOL_PKTMETA_DGRAM,
    Registry,
    edge,
)

# Linux has them on most machines, Python's socket does not; the names of cmsgs are the same.
SO_TIMESTAMPNS, SO_TXTIME, SO_RCVMARK = 35, 61, 75


class Tickets:
    """Where datagrams carry their tickets: in the mark, or, for who may not use that, in times."""

    def __init__(self, sock):
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
            self.mark = True
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            monotonic = struct.pack("iI", time.CLOCK_MONOTONIC, 0)
            sock.setsockopt(socket.SOL_SOCKET, SO_TXTIME, monotonic)
            self.mark = False
        self.ask(sock)

    def ask(self, sock):
        """Asks the datapath for tickets: again, once another came. OSError: there is none."""
        where = PKTMETA_TICKETS_MARK if self.mark else PKTMETA_TICKETS_TIMESTAMP
        sock.setsockopt(SOL_PKTMETA, PKTMETA_TICKETS, where)

    def received(self, control):
        """The ticket in the control messages of a datagram that arrived; 0 if it has none."""
        for level, name, data in control:
            if (level, name) == (socket.SOL_SOCKET, socket.SO_MARK):
                return struct.unpack("I", data)[0]
            if (level, name) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = struct.unpack("ll", data)
                # The time of arrival, if no datapath put a ticket in its place.
                return seconds * 10**9 + nanoseconds if seconds < 5 else 0
        return 0

    def to_send(self, ticket):
        """The control messages of a datagram with this ticket."""
        if self.mark:
            return [(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("I", ticket))]
        return [(socket.SOL_SOCKET, SO_TXTIME, struct.pack("Q", ticket))]


def bind(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    tickets = Tickets(sock)  # before it is bound, so that the first datagram has one
    sock.bind((host, port))
    return sock, tickets


def tenant_of(ticket, sock, tickets, registry):
    """Whose a datagram is; None: nobody said. What is wrong with metadata is no reason not to serve."""
    try:
        if ticket == 0:
            tickets.ask(sock)  # the datapath is another: it does not know this socket
            return None
        record = registry.read(sock, ticket, SOL_PKTMETA_DGRAM)
    except OSError:
        return None  # there is no datapath for now, or (ESTALE) we were too slow
    return record.get(edge.TENANT) if record else None


def label(tenant, sock, tickets, registry):
    """The control messages of an answer that is a tenant's."""
    if tenant is None:
        return []
    ticket = PKTMETA_TX_TICKET + tenant % 2**24  # any number of 24 bits will do
    try:
        answer = registry.record(sock).set(edge.TENANT, tenant)
        answer.set(edge.CLASS, edge.Class.INTERACTIVE)
        registry.write(sock, answer, ticket, SOL_PKTMETA_DGRAM)
    except OSError:
        return []  # the datapath went meanwhile
    return tickets.to_send(ticket)


def echo(sock, tickets, registry):
    """Answers one datagram."""
    data, control, _flags, peer = sock.recvmsg(2048, socket.CMSG_SPACE(16))
    tenant = tenant_of(tickets.received(control), sock, tickets, registry)
    print(f"{peer[0]}: tenant {tenant}", flush=True)
    sock.sendmsg([data], label(tenant, sock, tickets, registry), 0, peer)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(f"usage: {sys.argv[0]} ADDRESS PORT", file=sys.stderr)
        sys.exit(2)
    sock, tickets = bind(sys.argv[1], int(sys.argv[2]))
    registry = Registry(sock)
    print("listening", flush=True)
    while True:
        echo(sock, tickets, registry)
