package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
)

// Reads records from stdin, a line of hexadecimal digits each, and prints what the generated package
// finds in them, then the record that it makes of that, and the one given once it has set what it found
// in it. Arguments are the numbers of the fields. It is in the package itself, because that has its numbers from no one else than the kernel.
func main() {
	host := &Numbers{tags: map[identity]byte{}}
	lines := bufio.NewScanner(os.Stdin)
	for register(host); lines.Scan(); {
		data, err := hex.DecodeString(lines.Text())
		if err != nil {
			panic(err)
		}
		record, err := host.Parse(data)
		again := host.Record()
		kept, _ := host.Parse(data)
		visit(&printer{record: record, again: again, kept: kept})
		if err != nil {
			fmt.Println("again none\nkept none")
			continue
		}
		fmt.Println("again", encoded(again))
		fmt.Println("kept", encoded(kept))
	}
}

func encoded(record *Record) string {
	data, err := record.Bytes()
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(data)
}

func visit(p *printer) {
	show(p, "edge_tenant", EdgeTenant)
	show(p, "edge_verdict", EdgeVerdict)
	show(p, "edge_seen", EdgeSeen)
	show(p, "edge_rx_time", EdgeRxTime)
	show(p, "edge_original_destination", EdgeOriginalDestination)
	show(p, "edge_client", EdgeClient)
	show(p, "edge_client6", EdgeClient6)
	show(p, "edge_next_hop", EdgeNextHop)
	show(p, "edge_trace_id", EdgeTraceId)
	show(p, "edge_cookie", EdgeCookie)
	show(p, "edge_sampled", EdgeSampled)
	show(p, "lab_type", LabType)
	show(p, "lab_int", LabInt)
	show(p, "lab_self", LabSelf)
	show(p, "lab_new", LabNew)
	show(p, "lab_linux", LabLinux)
	show(p, "lab_delta", LabDelta)
	show(p, "lab_offset_ns", LabOffsetNs)
	show(p, "lab_wide", LabWide)
	show(p, "lab_option", LabOption)
	show(p, "lab_big", LabBig)
	show(p, "lab_b", LabB)
	show(p, "lab_bits", LabBits)
	show(p, "lab_flags", LabFlags)
	show(p, "lab_match", LabMatch)
	show(p, "lab_digest", LabDigest)
	show(p, "lab_blob", LabBlob)
}

type printer struct {
	record, again, kept *Record
	register            func(name string, kind, size uint8)
}

func show[T any](p *printer, name string, field Field[T]) {
	if p.register != nil {
		p.register(field.Name, field.Kind, field.Size)
		return
	}
	if p.record == nil {
		fmt.Println(name, "none")
		return
	}
	value, ok := field.Get(p.record)
	if !ok {
		fmt.Println(name, "absent")
		return
	}
	for _, record := range []*Record{p.again, p.kept} {
		if err := field.Set(record, value); err != nil {
			panic(err)
		}
	}
	data, err := field.Encode(value)
	if err != nil {
		panic(err)
	}
	fmt.Println(name, text(value, data))
}

func text(value any, data []byte) string {
	switch value := value.(type) {
	case bool:
		if len(data) == 0 {
			return "set"
		}
		return strconv.Itoa(int(data[0]))
	case Uint128:
		return fmt.Sprintf("%016x%016x", value.Hi, value.Lo)
	case Int128:
		return fmt.Sprintf("%016x%016x", uint64(value.Hi), value.Lo)
	case interface{ Port() uint16 }:
		return fmt.Sprintf("%x %d", data[:16], value.Port())
	case []byte, net.HardwareAddr, netip.Addr:
		return hex.EncodeToString(data)
	}
	// A number, also of an enumeration, which prints itself by its name.
	return fmt.Sprintf("%d", value)
}

// register gives the fields the numbers that the arguments say.
func register(host *Numbers) {
	arguments := os.Args[1:]
	visit(&printer{register: func(name string, kind, size uint8) {
		number, err := strconv.Atoi(arguments[0])
		if err != nil {
			panic(err)
		}
		arguments = arguments[1:]
		host.register(name, kind, size, number)
	}})
}
