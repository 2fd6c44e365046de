#!/usr/bin/env python3
"""Echo UDP. Each answer is the tenant's whose datagram it answers, as XDP says.

pktmeta gen python ../edge.toml -o pktmeta && python3 udp.py 192.0.2.2 7000
"""
import errno
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
        where = PKTMETA_TICKETS_MARK if self.mark else PKTMETA_TICKETS_TIMESTAMP
        sock.setsockopt(SOL_PKTMETA, PKTMETA_TICKETS, where)

    def received(self, control):
        """The ticket in the control messages of a datagram that arrived."""
        for level, name, data in control:
            if (level, name) == (socket.SOL_SOCKET, socket.SO_MARK):
                return struct.unpack("I", data)[0]
            if (level, name) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = struct.unpack("ll", data)
                return seconds * 10**9 + nanoseconds
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


def echo(sock, tickets, registry):
    """Answers one datagram."""
    data, control, _flags, peer = sock.recvmsg(2048, socket.CMSG_SPACE(16))
    try:
        record = registry.read(sock, tickets.received(control), SOL_PKTMETA_DGRAM)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        record = None  # we were too slow
    tenant = record.get(edge.TENANT) if record else None
    print(f"{peer[0]}: tenant {tenant}", flush=True)
    control = []
    if tenant is not None:
        ticket = PKTMETA_TX_TICKET + tenant % 2**24  # any number of 24 bits will do
        answer = registry.record(sock).set(edge.TENANT, tenant)
        answer.set(edge.CLASS, edge.Class.INTERACTIVE)
        registry.write(sock, answer, ticket, SOL_PKTMETA_DGRAM)
        control = tickets.to_send(ticket)
    sock.sendmsg([data], control, 0, peer)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(f"usage: {sys.argv[0]} ADDRESS PORT", file=sys.stderr)
        sys.exit(2)
    sock, tickets = bind(sys.argv[1], int(sys.argv[2]))
    registry = Registry(sock)
    print("listening", flush=True)
    while True:
        echo(sock, tickets, registry)
