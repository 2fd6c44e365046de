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

// Number is what a datapath calls the field, to be added to options such as PKTMETA_RX_FIELD. It is an
// error if the host has no field of that name and type.
func (f Field[T]) Number(numbers *Numbers) (int, error) {
	tag, err := f.tag(numbers)
	return int(tag & PKTMETA_TAG_TYPE), err
}

// Get gives the value of the field in a record, and whether it is there.
func (f Field[T]) Get(record *Record) (T, bool) {
	var none T
	tag, err := f.tag(record.numbers)
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
	tag, err := f.tag(record.numbers)
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
func (f Field[T]) Getsockopt(host *Registry, conn syscall.RawConn, option int) (value T, err error) {
	err = host.byNumbers(conn, func(numbers *Numbers) error {
		number, err := f.Number(numbers)
		if err != nil {
			return err
		}
		data, err := Getsockopt(conn, SOL_PKTMETA, option+number)
		if err != nil {
			return err
		}
		value, err = f.answered(data)
		return err
	})
	return value, err
}

// Setsockopt sets this field alone: PKTMETA_TX_FIELD.
func (f Field[T]) Setsockopt(host *Registry, conn syscall.RawConn, option int, value T) error {
	return host.write(conn, func(numbers *Numbers) error {
		number, err := f.Number(numbers)
		if err != nil {
			return err
		}
		data, err := f.Encode(value)
		if err != nil {
			return err
		}
		return Setsockopt(conn, SOL_PKTMETA, option+number, data)
	})
}

func (f Field[T]) tag(numbers *Numbers) (byte, error) {
	tag, ok := numbers.tags[identity{f.Name, f.Kind, f.Size}]
	if !ok {
		return 0, fmt.Errorf("this host has no field %s of this type: register its schema", f.Name)
	}
	return tag, nil
}

// Numbers are those that one datapath gave to fields. They do not change.
type Numbers struct {
	tags     map[identity]byte
	datapath datapath
}

type identity struct {
	name       string
	kind, size uint8
}

// datapath is who answers a socket, and which fields it has: instance and schema of PKTMETA_INFO.
type datapath struct {
	instance uint32
	schema   uint64
}

func whoAnswers(conn syscall.RawConn) (datapath, error) {
	info, err := Getsockopt(conn, SOL_PKTMETA, PKTMETA_INFO)
	if err != nil {
		return datapath{}, err
	}
	if len(info) < 32 {
		return datapath{}, fmt.Errorf("%d bytes are no pktmeta_info", len(info))
	}
	return datapath{binary.LittleEndian.Uint32(info[4:]), binary.LittleEndian.Uint64(info[24:])}, nil
}

// askNumbers asks for all of them, on any socket. The error is that of NewRegistry.
func askNumbers(conn syscall.RawConn) (*Numbers, error) {
	datapath, err := whoAnswers(conn)
	if err != nil {
		return nil, err
	}
	numbers := &Numbers{map[identity]byte{}, datapath}
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
		numbers.register(name, kind, size, number)
	}
	return numbers, nil
}

// AreOf says whether the last answer of this socket came from the datapath that gave the numbers.
func (numbers *Numbers) AreOf(conn syscall.RawConn) (bool, error) {
	now, err := whoAnswers(conn)
	return now == numbers.datapath, err
}

// Registry is the fields of the host, for its sockets and any number of goroutines. Another datapath has
// numbers of its own (`pktmeta down`, `up`): so each call asks who answered it, which is one getsockopt,
// and does it again with the numbers of another.
type Registry struct{ numbers atomic.Pointer[Numbers] }

// NewRegistry asks for all fields, on any socket. The error is syscall.ENOPROTOOPT or EOPNOTSUPP if no
// datapath delivers to the sockets of its cgroup.
func NewRegistry(conn syscall.RawConn) (*Registry, error) {
	numbers, err := askNumbers(conn)
	if err != nil {
		return nil, err
	}
	host := &Registry{}
	host.numbers.Store(numbers)
	_, err = host.Numbers(conn)
	return host, err
}

// Numbers gives those of who answers this socket now, for calls of your own: do these again if
// Numbers.AreOf says no afterwards.
func (host *Registry) Numbers(conn syscall.RawConn) (numbers *Numbers, err error) {
	err = host.byNumbers(conn, func(now *Numbers) error {
		numbers = now
		return nil
	})
	return numbers, err
}

// byNumbers does what needs numbers with those of who answers.
func (host *Registry) byNumbers(conn syscall.RawConn, act func(*Numbers) error) error {
	for try := 0; try < 3; try++ {
		numbers := host.numbers.Load()
		acted := act(numbers)
		same, err := numbers.AreOf(conn)
		if err != nil {
			return err
		}
		if same {
			return acted
		}
		if numbers, err = askNumbers(conn); err != nil {
			return err
		}
		host.numbers.Store(numbers)
	}
	return os.NewSyscallError("getsockopt", syscall.ESTALE) // it was replaced again and again
}

// write asks before, too: rather than once something was sent with old numbers.
func (host *Registry) write(conn syscall.RawConn, act func(*Numbers) error) error {
	if _, err := host.Numbers(conn); err != nil {
		return err
	}
	return host.byNumbers(conn, act)
}

func (numbers *Numbers) register(name string, kind, size uint8, number int) {
	tag := byte(number)
	if kind != PKTMETA_KIND_VARIABLE {
		tag |= map[uint8]byte{2: 1, 4: 2, 8: 3}[size] << 6
	}
	numbers.tags[identity{name, kind, size}] = tag
}

// Record gives a record without fields.
func (numbers *Numbers) Record() *Record { return &Record{numbers: numbers} }

// Parse reads a record. It is an error if the bytes are none.
func (numbers *Numbers) Parse(data []byte) (*Record, error) {
	record := numbers.Record()
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

// Selected reads the answer of PKTMETA_RX_FIELDS and its likes.
func (numbers *Numbers) Selected(answer []byte) *Record {
	record := numbers.Record()
	for ; len(answer) >= valueSize; answer = answer[valueSize:] {
		for _, tag := range numbers.tags {
			if size := int(answer[2]); tag&PKTMETA_TAG_TYPE == answer[0] && answer[1] == 0 && size <= PKTMETA_VALUE_MAX {
				record.fields = append(record.fields, tlv{tag, append([]byte{}, answer[8:8+size]...)})
			}
		}
	}
	return record
}

// Renumber gives the same record in these numbers. It is an error if a field of it has none.
func (numbers *Numbers) Renumber(record *Record) (*Record, error) {
	if record.numbers == numbers {
		return record, nil
	}
	names := map[byte]identity{}
	for name, tag := range record.numbers.tags {
		names[tag] = name
	}
	renumbered := numbers.Record()
	for _, field := range record.fields {
		name, known := names[field.tag]
		tag, here := numbers.tags[name]
		if !known || !here {
			return nil, fmt.Errorf("this host has no field %s of this type: register its schema", name.name)
		}
		renumbered.fields = append(renumbered.fields, tlv{tag, field.value})
	}
	return renumbered, nil
}

// Record gives a record without fields, to be set and written.
func (host *Registry) Record(conn syscall.RawConn) (*Record, error) {
	numbers, err := host.Numbers(conn)
	if err != nil {
		return nil, err
	}
	return numbers.Record(), nil
}

// Read asks a socket for a record: PKTMETA_RX, PKTMETA_RX_SYN, PKTMETA_TX, or, at SOL_PKTMETA_DGRAM,
// that of a ticket. The error is syscall.ENODATA if the packet had none, syscall.ENOBUFS if whether a
// connection's packet had one is not known (no memory, or the SYN was not remembered).
func (host *Registry) Read(conn syscall.RawConn, level, option int) (*Record, error) {
	return host.read(conn, level, option, (*Numbers).Parse)
}

// ReadSelected asks for the selected fields: PKTMETA_RX_FIELDS, PKTMETA_RX_SYN_FIELDS, or a ticket or
// byte at its level. The error is syscall.ENODATA if there is no record, or nothing is selected.
func (host *Registry) ReadSelected(conn syscall.RawConn, level, option int) (*Record, error) {
	return host.read(conn, level, option, func(numbers *Numbers, answer []byte) (*Record, error) {
		return numbers.Selected(answer), nil
	})
}

func (host *Registry) read(conn syscall.RawConn, level, option int,
	parse func(*Numbers, []byte) (*Record, error)) (record *Record, err error) {
	err = host.byNumbers(conn, func(numbers *Numbers) error {
		answer, err := Getsockopt(conn, level, option)
		if err != nil {
			return err
		}
		record, err = parse(numbers, answer)
		return err
	})
	if err != nil {
		return nil, err
	}
	return record, nil
}

// Select chooses the fields that ReadSelected gets; on a listener, for the connections it accepts.
func (host *Registry) Select(conn syscall.RawConn, fields ...interface{ Number(*Numbers) (int, error) }) error {
	return host.byNumbers(conn, func(numbers *Numbers) error {
		selection := make([]byte, len(fields))
		for i, field := range fields {
			number, err := field.Number(numbers)
			if err != nil {
				return err
			}
			selection[i] = byte(number)
		}
		return Setsockopt(conn, SOL_PKTMETA, PKTMETA_FIELDS, selection)
	})
}

// Write says what a socket sends: a record at SOL_PKTMETA with PKTMETA_TX or, at SOL_PKTMETA_DGRAM, that
// of a ticket. It is an error if the host does not have a field of it any more.
func (host *Registry) Write(conn syscall.RawConn, level, option int, record *Record) error {
	return host.write(conn, func(numbers *Numbers) error {
		renumbered, err := numbers.Renumber(record)
		if err != nil {
			return err
		}
		data, err := renumbered.Bytes()
		if err != nil {
			return err
		}
		return Setsockopt(conn, level, option, data)
	})
}

// Of a struct pktmeta_value.
const valueSize = 72

// Record is the fields of a packet.
type Record struct {
	numbers *Numbers
	fields  []tlv
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

// Bytes is what PKTMETA_TX takes, of who gave the numbers. It is an error if it is longer than a record can be.
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
