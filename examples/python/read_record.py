#!/usr/bin/env python3
"""Accept one TCP connection and print what XDP and TC said of its SYN.

No library: the numbers are those of docs/abi.md.
"""
import socket
import struct
import sys

SOL_PKTMETA, RX_SYN, FIELD_INFO = 0x504D, 3, 0x100

if len(sys.argv) != 3:
    print(f"usage: {sys.argv[0]} ADDRESS PORT", file=sys.stderr)
    sys.exit(2)
host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
with socket.create_server((host, port), family=family) as listener:
    print("listening", flush=True)
    connection, _ = listener.accept()

record = connection.getsockopt(SOL_PKTMETA, RX_SYN, 256)
at = 4  # after the header
while at < len(record):
    number, code = record[at] & 63, record[at] >> 6
    start, size = (at + 1, 1 << code) if code else (at + 2, record[at + 1])
    value = record[start : start + size]
    at = start + size
    if number:  # 0 is a void
        info = connection.getsockopt(SOL_PKTMETA, FIELD_INFO + number, 64)
        name, _owner, _number, kind = struct.unpack("28s28sBB6x", info)
        number = kind in (1, 10)  # unsigned integers and timestamps
        shown = int.from_bytes(value, "little") if number else value.hex()
        print(name.rstrip(b"\0").decode(), "=", shown)
