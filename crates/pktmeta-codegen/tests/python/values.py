"""Which values fields have, and which they refuse."""
from pktmeta import edge, lab

later = edge.VERDICT.decode(b"\x09")
assert later == 9 and later.name == "9" and edge.VERDICT.encode(later) == b"\x09"
assert edge.VERDICT.decode(b"\x07") is edge.Verdict.DROP
seen = edge.SEEN.decode(b"\xff\xff")
assert edge.Seen.LATE in seen and edge.SEEN.encode(seen) == b"\xff\xff"
assert edge.SAMPLED.answered(b"\1") is True and edge.SAMPLED.decode(b"") is True
for field, data in [(edge.SAMPLED, b"\1"), (edge.SAMPLED, b"\0"), (lab.MATCH, b"\2"), (lab.MATCH, b"")]:
    try:
        field.decode(data)
    except ValueError:
        continue
    raise SystemExit(f"{field.name} has {data!r} in a record")
for field, value in [
    (edge.TENANT, 1 << 32),
    (edge.TENANT, -1),
    (lab.NEW, 128),
    (edge.NEXT_HOP, bytes(5)),
    (edge.COOKIE, bytes(17)),
    (edge.SAMPLED, False),
]:
    try:
        field.encode(value)
    except (ValueError, OverflowError):
        continue
    raise SystemExit(f"{field.name} took {value}")
