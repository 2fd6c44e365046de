class Socket(Protocol):
    """What has the two calls: a socket, or asyncio's get_extra_info("socket")."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...

    def setsockopt(self, level: int, optname: int, value: bytes, /) -> None: ...


# Of a struct pktmeta_value.
_VALUE_SIZE = 72

# What a record begins with, and all that is in front of its fields.
_MAGIC = bytes([PKTMETA_MAGIC_0, PKTMETA_MAGIC_1])
_HEADER_SIZE = 4

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R", covariant=True)
N = TypeVar("N", bound=int)


class Readable(Protocol[R]):
    """A field as far as reading goes: what has an int can be read where any object will do."""

    name: str
    kind: int
    size: int

    def decode(self, data: bytes, /) -> R: ...

    def answered(self, data: bytes, /) -> R: ...


class Field(Generic[T]):
    """A field by its name, and how its values stand in a record. Its number is the host's to say."""

    def __init__(self, name: str, kind: int, size: int) -> None:
        """Of a PKTMETA_KIND_*, with values of so many bytes at most."""
        self.name = name
        self.kind = kind
        self.size = size

    def encode(self, value: T) -> bytes:
        """The bytes of a value; ValueError or OverflowError if the field cannot have it."""
        raise NotImplementedError

    def decode(self, data: bytes) -> T:
        """The value that has these bytes in a record; ValueError if none has."""
        raise NotImplementedError

    def answered(self, data: bytes) -> T:
        """The value in the answer of PKTMETA_RX_FIELD and its likes; ValueError as of decode()."""
        return self.decode(data)

    def _sized(self, data: bytes) -> bytes:
        if len(data) != self.size:
            raise ValueError(f"{self.name}: {len(data)} bytes instead of {self.size}")
        return data


class Number(Field[int]):
    """An integer, or a time in nanoseconds."""

    def encode(self, value: int) -> bytes:
        return value.to_bytes(self.size, "little", signed=self.kind == PKTMETA_KIND_SIGNED)

    def decode(self, data: bytes) -> int:
        signed = self.kind == PKTMETA_KIND_SIGNED
        return int.from_bytes(self._sized(data), "little", signed=signed)


class Named(Field[N]):
    """A number or a set of bits that the schema has names for."""

    def __init__(self, name: str, kind: int, size: int, names: Callable[[int], N]) -> None:
        super().__init__(name, kind, size)
        self.names = names

    def encode(self, value: N) -> bytes:
        return value.to_bytes(self.size, "little")

    def decode(self, data: bytes) -> N:
        return self.names(int.from_bytes(self._sized(data), "little"))


class Names(IntEnum):
    """The names of an enumeration. A number that a later schema names is its own name here."""

    @classmethod
    def _missing_(cls, value: object) -> "Optional[Names]":
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = str(value)
        member._value_ = value
        return member


class Boolean(Field[bool]):
    """True or false; a flag is true, or the record does not have it."""

    def encode(self, value: bool) -> bytes:
        if self.kind == PKTMETA_KIND_FLAG:
            if not value:
                raise ValueError(f"{self.name}: leave a flag that is not set out")
            return b""
        return bytes([value])

    def decode(self, data: bytes) -> bool:
        if self._sized(data) not in (b"", b"\0", b"\1"):
            raise ValueError(f"{self.name}: neither true nor false: {data!r}")
        return data != b"\0"

    def answered(self, data: bytes) -> bool:
        # The kernel hands over no answer of no bytes.
        return self.decode(b"" if self.kind == PKTMETA_KIND_FLAG and data == b"\1" else data)


class Ipv4(Field[IPv4Address]):
    """An IPv4 address."""

    def encode(self, value: IPv4Address) -> bytes:
        return value.packed

    def decode(self, data: bytes) -> IPv4Address:
        return IPv4Address(self._sized(data))


class Ipv6(Field[IPv6Address]):
    """An IPv6 address."""

    def encode(self, value: IPv6Address) -> bytes:
        return value.packed

    def decode(self, data: bytes) -> IPv6Address:
        return IPv6Address(self._sized(data))


class SocketAddress(Field[Tuple[Union[IPv4Address, IPv6Address], int]]):
    """An address of either version, and a port."""

    def encode(self, value: Tuple[Union[IPv4Address, IPv6Address], int]) -> bytes:
        address, port = value
        mapped = bytes(10) + b"\xff\xff" if address.version == 4 else b""
        return mapped + address.packed + port.to_bytes(2, "big")

    def decode(self, data: bytes) -> Tuple[Union[IPv4Address, IPv6Address], int]:
        address = IPv6Address(self._sized(data)[:16])
        return address.ipv4_mapped or address, int.from_bytes(data[16:], "big")


class Octets(Field[bytes]):
    """Bytes, or the address of a network card."""

    def encode(self, value: bytes) -> bytes:
        return self.decode(value)

    def decode(self, data: bytes) -> bytes:
        if self.kind == PKTMETA_KIND_VARIABLE and len(data) <= self.size:
            return data
        return self._sized(data)


class Numbers:
    """The numbers that one datapath gave to fields. They do not change."""

    def __init__(self, sock: Socket) -> None:
        """Asks for all of them; OSError as of Registry()."""
        self._tags: Dict[Tuple[str, int, int], int] = {}
        self._datapath = _datapath(sock)
        number = 1
        while number < PKTMETA_FIELDS_MAX:
            try:
                info = sock.getsockopt(SOL_PKTMETA, PKTMETA_FIELD_INFO + number, 64)
            except OSError as error:
                if error.errno == ENODATA:
                    break
                raise
            name = info[:PKTMETA_NAME_SIZE].rstrip(b"\0").decode()
            number, kind, size = info[56:59]
            code = {2: 1, 4: 2, 8: 3}.get(size, 0) if kind != PKTMETA_KIND_VARIABLE else 0
            self._tags[name, kind, size] = code << 6 | number
            number += 1

    def are_of(self, sock: Socket) -> bool:
        """True if the last answer of this socket came from the datapath that gave them."""
        return _datapath(sock) == self._datapath

    def tag(self, field: Readable[Any]) -> int:
        """The byte that the field begins with in records; LookupError if the host has no field of that
        name and type."""
        tag = self._tags.get((field.name, field.kind, field.size))
        if tag is None:
            raise LookupError(f"no field {field.name} of this type on this host: register its schema")
        return tag

    def number(self, field: Readable[Any]) -> int:
        """The number to be added to options such as PKTMETA_RX_FIELD; LookupError as of tag()."""
        return self.tag(field) & PKTMETA_TAG_TYPE

    def record(self, data: Optional[bytes] = None) -> "Record":
        """The record that has these bytes, else one without fields; ValueError if they are none."""
        return Record(self, {} if data is None else _parse(data))

    def selected(self, answer: bytes) -> "Record":
        """The values in the answer of PKTMETA_RX_FIELDS and its likes."""
        values: Dict[int, bytes] = {}
        tags = {tag & PKTMETA_TAG_TYPE: tag for tag in self._tags.values()}
        for at in range(0, len(answer), _VALUE_SIZE):
            number, status, size = answer[at : at + 3]
            if status == 0 and number in tags:
                values[tags[number]] = answer[at + 8 : at + 8 + size]
        return Record(self, values)

    def renumber(self, record: "Record") -> "Record":
        """The same record in these numbers; LookupError if a field of it has none."""
        if record._numbers is self:
            return record
        names = {tag: name for name, tag in record._numbers._tags.items()}
        values: Dict[int, bytes] = {}
        for tag, value in record._values.items():
            name = names.get(tag)
            if name is None or name not in self._tags:
                raise LookupError(f"no field {name[0] if name else tag} of this type on this host")
            values[self._tags[name]] = value
        return Record(self, values)


class Registry:
    """The fields of the host, for its sockets. Another datapath has numbers of its own (`pktmeta down`,
    `up`): so each call asks who answered it, which is one getsockopt, and does it again with the
    numbers of another."""

    def __init__(self, sock: Socket) -> None:
        """Asks for all fields, on any socket. OSError with errno ENOPROTOOPT or EOPNOTSUPP: no datapath
        delivers to the sockets of its cgroup."""
        self._numbers = Numbers(sock)
        self.numbers(sock)

    def numbers(self, sock: Socket) -> Numbers:
        """Those of who answers this socket now, for calls of your own: do these again if Numbers.are_of()
        says no afterwards."""
        return self._by_numbers(sock, lambda numbers: numbers)

    def record(self, sock: Socket) -> "Record":
        """A record without fields, to be set and written."""
        return self.numbers(sock).record()

    def read(self, sock: Socket, option: int, level: int = SOL_PKTMETA) -> "Optional[Record]":
        """Asks a socket for a record: PKTMETA_RX, PKTMETA_RX_SYN, PKTMETA_TX, or, at
        SOL_PKTMETA_DGRAM, that of a ticket. None if the packet had none. OSError with errno ENOBUFS:
        whether a connection's packet had one is not known (no memory, or the SYN was not remembered)."""

        def read(numbers: Numbers) -> "Optional[Record]":
            answer = _ask(sock, level, option, 256)
            return None if answer is None else numbers.record(answer)

        return self._by_numbers(sock, read)

    def read_field(self, sock: Socket, field: Readable[T], option: int) -> Optional[T]:
        """Asks for one field alone: PKTMETA_RX_FIELD, PKTMETA_RX_SYN_FIELD or PKTMETA_TX_FIELD. None if
        there is no record, or the field is not in it; LookupError as of Numbers.tag()."""

        def read(numbers: Numbers) -> Optional[T]:
            answer = _ask(sock, SOL_PKTMETA, option + numbers.number(field), 256)
            return None if answer is None else field.answered(answer)

        return self._by_numbers(sock, read)

    def select(self, sock: Socket, *fields: Readable[Any]) -> None:
        """Selects the fields that read_selected() gets; on a listener, for the connections it accepts."""

        def select(numbers: Numbers) -> None:
            selection = bytes(numbers.number(field) for field in fields)
            sock.setsockopt(SOL_PKTMETA, PKTMETA_FIELDS, selection)

        self._by_numbers(sock, select)

    def read_selected(
        self, sock: Socket, option: int, level: int = SOL_PKTMETA
    ) -> "Optional[Record]":
        """Asks for the selected fields: PKTMETA_RX_FIELDS, PKTMETA_RX_SYN_FIELDS, or a ticket or byte at
        its level. None if there is no record, or nothing is selected. Python takes answers of up to 1024
        bytes: 14 fields."""

        def read(numbers: Numbers) -> "Optional[Record]":
            answer = _ask(sock, level, option, 1024)
            return None if answer is None else numbers.selected(answer)

        return self._by_numbers(sock, read)

    def write(
        self, sock: Socket, record: "Record", option: int = PKTMETA_TX, level: int = SOL_PKTMETA
    ) -> None:
        """Says what a socket sends: a record, or, at SOL_PKTMETA_DGRAM, that of a ticket. LookupError if
        the host does not have a field of it any more."""

        def write(numbers: Numbers) -> None:
            sock.setsockopt(level, _signed(option), bytes(numbers.renumber(record)))

        self.numbers(sock)  # rather now than once something was sent with old ones
        self._by_numbers(sock, write)

    def write_field(
        self, sock: Socket, field: Field[T], value: T, option: int = PKTMETA_TX_FIELD
    ) -> None:
        """Sets one field of what a socket sends; errors as of Field.encode() and Numbers.tag()."""

        def write(numbers: Numbers) -> None:
            sock.setsockopt(SOL_PKTMETA, option + numbers.number(field), field.encode(value))

        self.numbers(sock)
        self._by_numbers(sock, write)

    def _by_numbers(self, sock: Socket, act: Callable[[Numbers], A]) -> A:
        """What is done with the numbers of who answers. Who does many calls at once keeps his own."""
        for _ in range(3):
            numbers = self._numbers
            try:
                done = act(numbers)
            except (OSError, LookupError, ValueError):
                if numbers.are_of(sock):
                    raise
            else:
                if numbers.are_of(sock):
                    return done
            self._numbers = Numbers(sock)
        raise OSError(ESTALE, "the datapath was replaced again and again")


class Record:
    """The fields of a packet. bytes(record) is what PKTMETA_TX takes, of who gave the numbers."""

    def __init__(self, numbers: Numbers, values: Dict[int, bytes]) -> None:
        """Values by their tags; Registry and Numbers make records."""
        self._numbers = numbers
        self._values = values

    def get(self, field: Readable[T]) -> Optional[T]:
        """The value of a field; None if the record does not have it."""
        try:
            return field.decode(self._values[self._numbers.tag(field)])
        except (LookupError, ValueError):
            return None

    def set(self, field: Field[T], value: T) -> "Record":
        """Sets a field, and returns the record; errors as of encode() and Numbers.tag()."""
        self._values[self._numbers.tag(field)] = field.encode(value)
        return self

    def __bytes__(self) -> bytes:
        """ValueError: it would be longer than a record can be."""
        parts = []
        for tag, value in self._values.items():
            parts.append(bytes([tag] if tag >> 6 else [tag, len(value)]) + value)
        fields = b"".join(parts)
        length = _HEADER_SIZE + len(fields)
        if length > PKTMETA_RECORD_MAX:
            raise ValueError(f"a record has at most {PKTMETA_RECORD_MAX} bytes: set fewer fields")
        return _MAGIC + bytes([PKTMETA_RECORD_VERSION << 4, length]) + fields


def _datapath(sock: Socket) -> bytes:
    """Which datapath answers a socket, and which fields it has: instance and schema of PKTMETA_INFO."""
    info = sock.getsockopt(SOL_PKTMETA, PKTMETA_INFO, 32)
    return info[4:8] + info[24:32]


def _ask(sock: Socket, level: int, option: int, size: int) -> Optional[bytes]:
    """An answer; None if there is nothing of what is asked for."""
    try:
        return sock.getsockopt(level, _signed(option), size)
    except OSError as error:
        if error.errno in (ENODATA, ENOENT):
            return None
        raise


def _signed(option: int) -> int:
    """An option is an int to the kernel and to Python; tickets and positions have all 32 bits."""
    return option - (option >> 31 << 32)


def _parse(data: bytes) -> Dict[int, bytes]:
    """The values of a record by their tags."""
    if len(data) < _HEADER_SIZE or data[:2] != _MAGIC or data[2] >> 4 != PKTMETA_RECORD_VERSION:
        raise ValueError("not a record: it does not begin as one")
    length = data[3]
    if not _HEADER_SIZE <= length <= min(len(data), PKTMETA_RECORD_MAX):
        raise ValueError(f"not a record: {len(data)} bytes that say they are {length}")
    values: Dict[int, bytes] = {}
    at = _HEADER_SIZE
    while at < length:
        tag = data[at]
        at += 1
        if tag >> 6:
            size = 1 << (tag >> 6)
        else:
            size = data[at] if at < length else length
            at += 1
        if size > length - at:
            raise ValueError("not a record: a field runs past its end")
        if tag & PKTMETA_TAG_TYPE:
            values.setdefault(tag, data[at : at + size])
        at += size
    return values
