package pktmeta

import (
	"net"
	"net/netip"
	"testing"
)

func refuses[T any](t *testing.T, field Field[T], value T) {
	if data, err := field.Encode(value); err == nil {
		t.Errorf("%s took %v as %x", field.Name, value, data)
	}
}

func TestFieldsRefuseValuesThatTheyCannotHave(t *testing.T) {
	refuses(t, EdgeSampled, false)
	refuses(t, EdgeClient, netip.MustParseAddr("2001:db8::1"))
	refuses(t, EdgeClient6, netip.MustParseAddr("192.0.2.1"))
	refuses(t, EdgeClient6, netip.MustParseAddr("fe80::1%eth0"))
	refuses(t, EdgeOriginalDestination, netip.AddrPort{})
	refuses(t, EdgeNextHop, make(net.HardwareAddr, 5))
	refuses(t, EdgeCookie, make([]byte, 17))
	refuses(t, LabDigest, make([]byte, 19))
}

func TestValuesHaveTheNamesOfTheSchema(t *testing.T) {
	for value, name := range map[EdgeVerdictValue]string{EdgeVerdictDrop: "drop", 9: "9"} {
		if value.String() != name {
			t.Errorf("%d is %v", uint8(value), value)
		}
	}
}

func TestAFlagIsAnsweredWithAByteAlone(t *testing.T) {
	if set, err := EdgeSampled.answered([]byte{1}); err != nil || !set {
		t.Error(set, err)
	}
	if set, err := EdgeSampled.Decode([]byte{1}); err == nil {
		t.Error("in a record", set)
	}
}

func TestARecordHasItsLimit(t *testing.T) {
	record := &Record{fields: []tlv{{1, make([]byte, 64)}, {2, make([]byte, 64)}, {3, make([]byte, 64)}}}
	if data, err := record.Bytes(); err != nil || len(data) != 4+3*66 {
		t.Error(data, err)
	}
	record.fields = append(record.fields, tlv{4, make([]byte, 13)})
	if data, err := record.Bytes(); err == nil {
		t.Error(len(data), "bytes")
	}
}
