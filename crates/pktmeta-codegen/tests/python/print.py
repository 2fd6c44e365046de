"""Reads records from stdin, a line of hexadecimal digits each, and prints what the generated package
finds in them, then the record that it makes of that, and the one given once it has set what it found in
it. Arguments are the numbers of the fields.
"""
import sys
from errno import ENODATA
from ipaddress import IPv4Address, IPv6Address

import pktmeta
from pktmeta import edge, lab

FIELDS = [
    (f"{owner}_{field.name}", field)
    for owner, module in (("edge", edge), ("lab", lab))
    for field in vars(module).values()
    if isinstance(field, pktmeta.Field)
]
NUMBERS = [int(number) for number in sys.argv[1:]]


class Host:
    """A socket on a host that gave these numbers."""

    def getsockopt(self, level, optname, buflen, /):
        assert level == pktmeta.SOL_PKTMETA
        if optname == pktmeta.PKTMETA_INFO:
            return bytes(32)
        assert buflen == 64
        wanted = optname - pktmeta.PKTMETA_FIELD_INFO
        found = [pair for pair in zip(NUMBERS, FIELDS) if pair[0] >= wanted]
        if not found:
            raise OSError(ENODATA, "no more fields")
        number, (_, field) = min(found, key=lambda pair: pair[0])
        name = field.name.encode().ljust(28, b"\0")
        return name + bytes(28) + bytes([number, field.kind, field.size]) + bytes(5)


def shown(field, value):
    if field.kind == pktmeta.PKTMETA_KIND_FLAG:
        return "set"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (IPv4Address, IPv6Address)):
        return value.packed.hex()
    if isinstance(value, tuple):
        return field.encode(value)[:16].hex() + f" {value[1]}"
    if field.size == 16:
        return field.encode(value)[::-1].hex()
    return str(int(value))


numbers = pktmeta.Registry(Host()).numbers(Host())
for line in sys.stdin:
    try:
        record = numbers.record(bytes.fromhex(line))
    except ValueError:
        record = None
    again = numbers.record()
    kept = numbers.record(bytes.fromhex(line)) if record else None
    for name, field in FIELDS:
        value = record and record.get(field)
        if value is not None:
            again.set(field, value)
            kept.set(field, value)
        print(name, "none" if record is None else "absent" if value is None else shown(field, value))
    print("again", "none" if record is None else bytes(again).hex())
    print("kept", "none" if record is None else bytes(kept).hex())
