// Field is a field by its name, and how its values stand in a record. Its number is the host's to say.
type Field[T any] struct {
	Name string
	// Kind is one of PKTMETA_KIND_*, Size that of a value in bytes, at most.
	Kind, Size uint8
	encode     func(T) ([]byte, bool)
	decode     func([]byte) (T, bool)
}

// Encode gives the bytes of a value, or an error if the field cannot have it.
func (f Field[T]) Encode(value T) ([]byte, error) {
	data, ok := f.encode(value)
	if !ok || len(data) != int(f.Size) && (f.Kind != PKTMETA_KIND_VARIABLE || len(data) > int(f.Size)) {
		return nil, fmt.Errorf("%s cannot be %v", f.Name, value)
	}
	return data, nil
}

// Decode gives the value that has these bytes in a record, or an error if none has.
func (f Field[T]) Decode(data []byte) (T, error) {
	value, ok := f.value(data)
	if !ok {
		return value, fmt.Errorf("%s cannot have the bytes %x", f.Name, data)
	}
	return value, nil
}

// answered gives the value in the answer of PKTMETA_RX_FIELD and its likes.
func (f Field[T]) answered(data []byte) (T, error) {
	if f.Kind == PKTMETA_KIND_FLAG && len(data) == 1 && data[0] == 1 {
		data = nil // The kernel hands over no answer of no bytes.
	}
	return f.Decode(data)
}

// value is what these bytes are in a record, and whether they are a value.
func (f Field[T]) value(data []byte) (T, bool) {
	if len(data) == int(f.Size) || f.Kind == PKTMETA_KIND_VARIABLE && len(data) < int(f.Size) {
		return f.decode(data)
	}
	var none T
	return none, false
}

// Number is what the host calls the field, to be added to options such as PKTMETA_RX_FIELD. It is an
// error if the host has no field of that name and type.
func (f Field[T]) Number(host *Registry) (int, error) {
	tag, err := f.tag(host)
	return int(tag & PKTMETA_TAG_TYPE), err
}

// Get gives the value of the field in a record, and whether it is there.
func (f Field[T]) Get(record *Record) (T, bool) {
	var none T
	tag, err := f.tag(record.host)
	if err != nil {
		return none, false
	}
	found := record.find(tag)
	if found == nil {
		return none, false
	}
	return f.value(found.value)
}

// Set sets the field in a record. The errors are those of Encode and Number.
func (f Field[T]) Set(record *Record, value T) error {
	tag, err := f.tag(record.host)
	if err != nil {
		return err
	}
	data, err := f.Encode(value)
	if err != nil {
		return err
	}
	if found := record.find(tag); found != nil {
		found.value = data
		return nil
	}
	record.fields = append(record.fields, tlv{tag, data})
	return nil
}

// Getsockopt asks a socket for this field alone: PKTMETA_RX_FIELD, PKTMETA_RX_SYN_FIELD or
// PKTMETA_TX_FIELD. The error is syscall.ENODATA if there is no record, ENOENT if it lacks the field.
func (f Field[T]) Getsockopt(host *Registry, conn syscall.RawConn, option int) (T, error) {
	var none T
	number, err := f.Number(host)
	if err != nil {
		return none, err
	}
	data, err := Getsockopt(conn, SOL_PKTMETA, option+number)
	if err != nil {
		return none, err
	}
	return f.answered(data)
}

// Setsockopt sets this field alone: PKTMETA_TX_FIELD.
func (f Field[T]) Setsockopt(host *Registry, conn syscall.RawConn, option int, value T) error {
	number, err := f.Number(host)
	if err != nil {
		return err
	}
	data, err := f.Encode(value)
	if err != nil {
		return err
	}
	return Setsockopt(conn, SOL_PKTMETA, option+number, data)
}

func (f Field[T]) tag(host *Registry) (byte, error) {
	tag, ok := host.tags[identity{f.Name, f.Kind, f.Size}]
	if !ok {
		return 0, fmt.Errorf("this host has no field %s of this type: register its schema", f.Name)
	}
	return tag, nil
}

// Registry has the numbers that a host gave to fields. They stay the same as long as the host has the
// fields: ask once.
type Registry struct{ tags map[identity]byte }

type identity struct {
	name       string
	kind, size uint8
}

// NewRegistry asks for all fields, on any socket. The error is syscall.ENOPROTOOPT if no datapath
// delivers to the sockets of its cgroup.
func NewRegistry(conn syscall.RawConn) (*Registry, error) {
	host := &Registry{map[identity]byte{}}
	for number := 1; number < PKTMETA_FIELDS_MAX; number++ {
		info, err := Getsockopt(conn, SOL_PKTMETA, PKTMETA_FIELD_INFO+number)
		if errors.Is(err, syscall.ENODATA) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(info) < 64 {
			return nil, fmt.Errorf("%d bytes are no pktmeta_field_info", len(info))
		}
		name := strings.TrimRight(string(info[:PKTMETA_NAME_SIZE]), "\x00")
		kind, size := info[57], info[58]
		number = int(info[56])
		host.register(name, kind, size, number)
	}
	return host, nil
}

func (host *Registry) register(name string, kind, size uint8, number int) {
	tag := byte(number)
	if kind != PKTMETA_KIND_VARIABLE {
		tag |= map[uint8]byte{2: 1, 4: 2, 8: 3}[size] << 6
	}
	host.tags[identity{name, kind, size}] = tag
}

// Record gives a record without fields.
func (host *Registry) Record() *Record { return &Record{host: host} }

// Parse reads a record. It is an error if the bytes are none.
func (host *Registry) Parse(data []byte) (*Record, error) {
	record := host.Record()
	if len(data) < 4 || data[0] != PKTMETA_MAGIC_0 || data[1] != PKTMETA_MAGIC_1 ||
		data[2]>>4 != PKTMETA_RECORD_VERSION {
		return nil, errors.New("not a record: it does not begin as one")
	}
	length := int(data[3])
	if length < 4 || length > len(data) || length > PKTMETA_RECORD_MAX {
		return nil, fmt.Errorf("not a record: %d bytes that say they are %d", len(data), length)
	}
	data = data[4:length]
	for len(data) > 0 {
		tag, header, size := data[0], 1, 1<<(data[0]>>6)
		if tag>>6 == 0 && len(data) > 1 {
			header, size = 2, int(data[1])
		}
		if header+size > len(data) {
			return nil, errors.New("not a record: a field runs past its end")
		}
		// Of a field that is there twice the first counts.
		if tag&PKTMETA_TAG_TYPE != 0 && record.find(tag) == nil {
			value := append([]byte{}, data[header:header+size]...)
			record.fields = append(record.fields, tlv{tag, value})
		}
		data = data[header+size:]
	}
	return record, nil
}

// Select chooses the fields that PKTMETA_RX_FIELDS and its likes answer with.
func (host *Registry) Select(conn syscall.RawConn, fields ...interface{ Number(*Registry) (int, error) }) error {
	selection := make([]byte, len(fields))
	for i, field := range fields {
		number, err := field.Number(host)
		if err != nil {
			return err
		}
		selection[i] = byte(number)
	}
	return Setsockopt(conn, SOL_PKTMETA, PKTMETA_FIELDS, selection)
}

// Selected reads the answer of PKTMETA_RX_FIELDS and its likes.
func (host *Registry) Selected(answer []byte) *Record {
	record := host.Record()
	for ; len(answer) >= valueSize; answer = answer[valueSize:] {
		for _, tag := range host.tags {
			if size := int(answer[2]); tag&PKTMETA_TAG_TYPE == answer[0] && answer[1] == 0 && size <= PKTMETA_VALUE_MAX {
				record.fields = append(record.fields, tlv{tag, append([]byte{}, answer[8:8+size]...)})
			}
		}
	}
	return record
}

// Of a struct pktmeta_value.
const valueSize = 72

// Read asks a socket for a record: PKTMETA_RX, PKTMETA_RX_SYN, PKTMETA_TX, or, at SOL_PKTMETA_DGRAM,
// that of a ticket. The error is syscall.ENODATA if the packet had none.
func (host *Registry) Read(conn syscall.RawConn, level, option int) (*Record, error) {
	data, err := Getsockopt(conn, level, option)
	if err != nil {
		return nil, err
	}
	return host.Parse(data)
}

// Record is the fields of a packet.
type Record struct {
	host   *Registry
	fields []tlv
}

type tlv struct {
	tag   byte
	value []byte
}

// find gives the field with a tag, nil if there is none.
func (record *Record) find(tag byte) *tlv {
	for i := range record.fields {
		if record.fields[i].tag == tag {
			return &record.fields[i]
		}
	}
	return nil
}

// Bytes is what PKTMETA_TX takes. It is an error if it is longer than a record can be.
func (record *Record) Bytes() ([]byte, error) {
	data := []byte{PKTMETA_MAGIC_0, PKTMETA_MAGIC_1, PKTMETA_RECORD_VERSION << 4, 0}
	for _, field := range record.fields {
		data = append(data, field.tag)
		if field.tag>>6 == 0 {
			data = append(data, byte(len(field.value)))
		}
		data = append(data, field.value...)
	}
	if len(data) > PKTMETA_RECORD_MAX {
		return nil, fmt.Errorf("a record has at most %d bytes: set fewer fields", PKTMETA_RECORD_MAX)
	}
	data[3] = byte(len(data))
	return data, nil
}

// Getsockopt is the system call, which package syscall does not have for answers such as these. A
// ticket is an option too.
func Getsockopt(conn syscall.RawConn, level, option int) ([]byte, error) {
	value := make([]byte, valueSize*PKTMETA_SELECTION_MAX)
	length := uint32(len(value))
	var errno syscall.Errno
	err := conn.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, uintptr(level), uintptr(option),
			uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&length)), 0)
	})
	if err == nil && errno != 0 {
		err = os.NewSyscallError("getsockopt", errno)
	}
	if err != nil {
		return nil, err
	}
	return value[:length], nil
}

// Setsockopt is the system call.
func Setsockopt(conn syscall.RawConn, level, option int, value []byte) error {
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = syscall.SetsockoptString(int(fd), level, option, string(value))
	})
	if err == nil {
		err = os.NewSyscallError("setsockopt", failed)
	}
	return err
}

// Uint128 is the value of a u128 field.
type Uint128 struct{ Hi, Lo uint64 }

// Int128 is the value of an i128 field.
type Int128 struct {
	Hi int64
	Lo uint64
}

type number interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int8 | ~int16 | ~int32 | ~int64
}

func numbers[T number](name string, kind, size uint8) Field[T] {
	return Field[T]{name, kind, size,
		func(value T) ([]byte, bool) {
			return binary.LittleEndian.AppendUint64(nil, uint64(value))[:size], true
		},
		func(data []byte) (T, bool) {
			var bytes [8]byte
			copy(bytes[:], data)
			return T(binary.LittleEndian.Uint64(bytes[:])), true
		}}
}

func uint128(name string) Field[Uint128] {
	return Field[Uint128]{name, PKTMETA_KIND_UNSIGNED, 16,
		func(value Uint128) ([]byte, bool) { return wide(value.Hi, value.Lo), true },
		func(data []byte) (Uint128, bool) {
			return Uint128{binary.LittleEndian.Uint64(data[8:]), binary.LittleEndian.Uint64(data)}, true
		}}
}

func int128(name string) Field[Int128] {
	return Field[Int128]{name, PKTMETA_KIND_SIGNED, 16,
		func(value Int128) ([]byte, bool) { return wide(uint64(value.Hi), value.Lo), true },
		func(data []byte) (Int128, bool) {
			return Int128{int64(binary.LittleEndian.Uint64(data[8:])), binary.LittleEndian.Uint64(data)}, true
		}}
}

func wide(hi, lo uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, lo), hi)
}

func boolean(name string) Field[bool] {
	return Field[bool]{name, PKTMETA_KIND_BOOL, 1,
		func(value bool) ([]byte, bool) {
			if value {
				return []byte{1}, true
			}
			return []byte{0}, true
		},
		func(data []byte) (bool, bool) { return data[0] == 1, data[0] <= 1 }}
}

// A flag is true, or the record does not have it.
func flag(name string) Field[bool] {
	return Field[bool]{name, PKTMETA_KIND_FLAG, 0,
		func(value bool) ([]byte, bool) { return nil, value },
		func([]byte) (bool, bool) { return true, true }}
}

func address(name string, kind, size uint8) Field[netip.Addr] {
	return Field[netip.Addr]{name, kind, size,
		func(value netip.Addr) ([]byte, bool) { return value.AsSlice(), value.Zone() == "" }, netip.AddrFromSlice}
}

func endpoint(name string) Field[netip.AddrPort] {
	return Field[netip.AddrPort]{name, PKTMETA_KIND_SOCKET, 18,
		func(value netip.AddrPort) ([]byte, bool) {
			address := value.Addr().As16()
			return binary.BigEndian.AppendUint16(address[:], value.Port()), value.IsValid()
		},
		func(data []byte) (netip.AddrPort, bool) {
			address, ok := netip.AddrFromSlice(data[:16])
			return netip.AddrPortFrom(address.Unmap(), binary.BigEndian.Uint16(data[16:])), ok
		}}
}

func octets[T ~[]byte](name string, kind, size uint8) Field[T] {
	same := func(value []byte) T { return append(T{}, value...) }
	return Field[T]{name, kind, size,
		func(value T) ([]byte, bool) { return same(value), true },
		func(data []byte) (T, bool) { return same(data), true }}
}
