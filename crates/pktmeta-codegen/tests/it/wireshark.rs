//! The generated dissector, loaded by tshark.

use crate::{sample, tool};
use pktmeta_codegen::{Input, Language, generate};
use pktmeta_core::{Kind, Record, Registry, Value as FieldValue, registry::Found, schema::Schema};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// `LINKTYPE_USER0`, for which the dissector registers itself.
const USER0: u32 = 147;

#[test]
fn every_field_has_its_value_and_can_be_filtered_for() {
    let directory = dissector("wireshark-values", &crate::input());
    let records = ["edge", "lab"].map(|owner| sample::record(owner).as_bytes().to_vec());
    let packets = dissect(&directory, &capture(USER0, &records), &[]);
    let [edge, lab] = &packets[..] else {
        panic!("{packets:#?}")
    };
    for (packet, field, shown) in [
        (edge, "pktmeta._magic", "PM"),
        (edge, "pktmeta._version", "1"),
        (edge, "pktmeta.tenant", "4294967295"),
        (edge, "pktmeta.verdict", "7"),
        (edge, "pktmeta.seen", "0x8001"),
        (edge, "pktmeta.seen.internal", "1"),
        (edge, "pktmeta.seen.encrypted", "0"),
        (edge, "pktmeta.seen.late", "1"),
        (edge, "pktmeta.rx_time", "18446744073709551615"),
        (edge, "pktmeta.original_destination", "192.0.2.1:53"),
        (
            edge,
            "pktmeta.original_destination.address",
            "::ffff:192.0.2.1",
        ),
        (edge, "pktmeta.original_destination.port", "53"),
        (edge, "pktmeta.client", "198.51.100.7"),
        (edge, "pktmeta.client6", "2001:db8::1"),
        (edge, "pktmeta.next_hop", "02:00:5e:00:53:01"),
        (
            edge,
            "pktmeta.trace_id",
            "338770000845734292534325025077361652240",
        ),
        (edge, "pktmeta.cookie", "00:ff:10"),
        (lab, "pktmeta.type", "255"),
        (lab, "pktmeta.int", "4660"),
        (lab, "pktmeta.self", "1311768467463790320"),
        (lab, "pktmeta.new", "-128"),
        (lab, "pktmeta.linux", "-2"),
        (lab, "pktmeta.delta", "-2147483648"),
        (lab, "pktmeta.offset_ns", "-9223372036854775808"),
        (
            lab,
            "pktmeta.wide",
            "-170141183460469231731687303715884105728",
        ),
        (lab, "pktmeta.option", "65535"),
        (lab, "pktmeta.big", "4294967295"),
        (lab, "pktmeta.b", "0x80"),
        (lab, "pktmeta.b.high", "1"),
        (lab, "pktmeta.bits", "0x80000001"),
        (lab, "pktmeta.bits.names", "0"),
        (lab, "pktmeta.bits.high", "1"),
        (lab, "pktmeta.flags", "0x8000000000000001"),
        (lab, "pktmeta.flags.low", "1"),
        (lab, "pktmeta.flags.high", "1"),
        (lab, "pktmeta.match", "1"),
        (
            lab,
            "pktmeta.digest",
            "00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13",
        ),
        (lab, "pktmeta.blob", ""),
    ] {
        assert_eq!(find(packet, field).as_deref(), Some(shown), "{field}");
    }
    assert!(find(edge, "pktmeta.sampled").is_some() && find(lab, "pktmeta.sampled").is_none());
    for unwanted in ["_ws.expert", "pktmeta._unknown", "pktmeta._rest"] {
        assert_eq!(find(edge, unwanted).or(find(lab, unwanted)), None);
    }
    for (filter, count) in [
        ("pktmeta.tenant == 4294967295", 1),
        ("pktmeta.rx_time > 18446744073709551614", 1),
        ("pktmeta.offset_ns < -9223372036854775807", 1),
        ("pktmeta.verdict == \"drop\"", 1),
        ("pktmeta.seen.late && pktmeta.sampled", 1),
        ("pktmeta.client == 198.51.100.0/24", 1),
        ("pktmeta.match == 0", 0),
        ("pktmeta._length > 90", 2),
    ] {
        let packets = dissect(&directory, &capture(USER0, &records), &["-Y", filter]);
        assert_eq!(packets.len(), count, "{filter}");
    }
}

/// Has the dissector show records, and compares that with what Rust finds in them.
pub(crate) fn reader() -> impl Fn(&[Vec<u8>]) {
    let directory = dissector("wireshark-readers", &crate::input());
    move |carriers| {
        let packets = dissect(&directory, &capture(USER0, carriers), &[]);
        assert_eq!(packets.len(), carriers.len());
        let registry = sample::registry();
        for (carrier, packet) in carriers.iter().zip(&packets) {
            compare(carrier, packet, &registry);
        }
    }
}

#[track_caller]
fn compare(carrier: &[u8], packet: &Value, registry: &Registry) {
    let record = Record::parse(carrier).ok();
    for field in registry.fields() {
        let value = record.as_ref().and_then(|record| field.value_in(record));
        let shown = find(packet, &format!("pktmeta.{}", field.name));
        let same = match (&value, &shown) {
            (Some(value), Some(shown)) => is_shown_as(field.kind, value, shown),
            (value, shown) => value.is_none() && shown.is_none(),
        };
        assert!(
            same,
            "{}: {value:?} as {shown:?} of {carrier:02x?}",
            field.name
        );
    }
    let is = |found: &Found<'_>| matches!(found, Found::Odd(_));
    let odd = record.is_some_and(|record| registry.read(&record).any(|(_, found)| is(&found)));
    let said = find(packet, "pktmeta._odd").is_some();
    assert_eq!(said, odd, "{carrier:02x?}");
}

/// True if tshark writes a value so.
fn is_shown_as(kind: Kind, value: &FieldValue, shown: &str) -> bool {
    let octets = |text: String| {
        let digits: Vec<_> = text
            .as_bytes()
            .chunks(2)
            .map(String::from_utf8_lossy)
            .collect();
        digits.join(":")
    };
    match (value, kind) {
        (FieldValue::Flag, _) => true,
        (FieldValue::Bool(value), _) => shown == u8::from(*value).to_string(),
        (FieldValue::Unsigned(value), Kind::Bits { size }) => {
            shown == format!("0x{value:0digits$x}", digits = 2 * usize::from(size))
        }
        // There are several ways to write one address.
        (FieldValue::Ipv6(value), _) => shown.parse() == Ok(*value),
        (FieldValue::Socket(value), _) => shown.parse() == Ok(*value),
        (FieldValue::Bytes(_), _) => shown == octets(value.to_string()),
        _ => shown == value.to_string(),
    }
}

#[test]
fn values_are_shown_by_their_names() {
    let directory = dissector("wireshark-names", &crate::input());
    let records = ["edge", "lab"].map(|owner| sample::record(owner).as_bytes().to_vec());
    let shown = tshark(&directory, &capture(USER0, &records), &["-V"]);
    for line in [
        "verdict: drop (7)",
        "1... .... = late: True",
        ".... ..0. = encrypted: False",
        "rx_time: 18446744073709551615 ns",
        "option: max (65535)",
        "big: all (4294967295)",
        "match: True",
    ] {
        assert!(
            shown.lines().any(|shown| shown.trim() == line),
            "{line}: {shown}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_record_is_said() {
    let directory = dissector("wireshark-broken", &crate::input());
    const RECORDS: [&str; 4] = [
        "field 1 is tenant",
        "verdict has 1 bytes, not 2",
        "a bool is 0 or 1",
        "the first counts",
    ];
    let cases: [(&[u8], &str); 14] = [
        (b"", "not a pktmeta record"),
        (b"PM\x10", "not a pktmeta record"),
        (b"XX\x10\x04", "not a pktmeta record"),
        (b"PM\x20\x04", "version"),
        (b"PM\x10\x03", "4 to 216 bytes"),
        (b"PM\x10\xd9", "4 to 216 bytes"),
        (b"PM\x10\x05", "longer than the bytes that hold it"),
        (b"PM\x10\x05\x02", "byte 4 runs past"),
        (b"PM\x10\x07\x02\x02\x00", "byte 4 runs past"),
        (b"PM\x10\x08\x81\x00\x00\x00", "byte 4 runs past"),
        (b"PM\x10\x07\x41\x01\x00", "field 1 is tenant"),
        (b"PM\x10\x08\x02\x02\x00\x00", "verdict has 1 bytes, not 2"),
        (b"PM\x10\x07\x19\x01\x02", "a bool is 0 or 1"),
        (b"PM\x10\x0a\x02\x01\x00\x02\x01\x01", "the first counts"),
    ];
    let packets = cases.map(|(packet, _)| packet.to_vec());
    let dissected = dissect(&directory, &capture(USER0, &packets), &[]);
    assert_eq!(dissected.len(), cases.len());
    for ((bytes, wanted), packet) in cases.iter().zip(&dissected) {
        let said = find(packet, "_ws.expert.message");
        let said = said.unwrap_or_default();
        assert!(said.to_lowercase().contains(wanted), "{bytes:02x?}: {said}");
        // The last four are records in which something is wrong.
        let is_record = Record::parse(bytes).is_ok();
        assert_eq!(is_record, RECORDS.contains(wanted), "{bytes:02x?}");
    }
}

#[test]
fn unknown_fields_voids_and_the_rest_of_the_area_are_shown_as_they_are() {
    let directory = dissector("wireshark-unknown", &crate::input());
    let record = b"PM\x10\x13\x80\0\0\0\0\xbf\x01\x02\x03\x04\x81\x07\0\0\0\0\0";
    let packets = dissect(&directory, &capture(USER0, &[record.to_vec()]), &[]);
    let packet = &packets[0];
    assert_eq!(
        find(packet, "pktmeta._unknown").as_deref(),
        Some("01:02:03:04")
    );
    assert_eq!(
        find(packet, "pktmeta._void").as_deref(),
        Some("80:00:00:00:00")
    );
    assert_eq!(find(packet, "pktmeta._rest").as_deref(), Some("00:00"));
    assert_eq!(find(packet, "pktmeta.tenant").as_deref(), Some("7"));
    assert_eq!(find(packet, "_ws.expert"), None);
}

#[test]
fn numbers_are_those_of_the_registry_that_is_given() {
    let [edge, lab] = &sample::schemas()[..] else {
        panic!("two schemas")
    };
    let host: Registry = Schema::registry([lab, edge]).unwrap();
    let input = Input::new(vec![edge.clone()]).unwrap();
    let input = input.with_registry(host.clone());
    let directory = dissector("wireshark-host", &input);
    let mut record = Record::new();
    let tenant = host.by_name("tenant").unwrap();
    record.set_value(tenant.tlv, &7u32).unwrap();
    // Nobody described it, but the host knows its type.
    let delta = host.by_name("delta").unwrap();
    record.set_value(delta.tlv, &-7i32).unwrap();
    let packets = dissect(
        &directory,
        &capture(USER0, &[record.as_bytes().to_vec()]),
        &[],
    );
    assert_eq!(find(&packets[0], "pktmeta.tenant").as_deref(), Some("7"));
    assert_eq!(find(&packets[0], "pktmeta.delta").as_deref(), Some("-7"));
}

#[test]
fn a_record_in_a_datagram_can_be_decoded_as_one() {
    let directory = dissector("wireshark-udp", &crate::input());
    let record = sample::record("edge").as_bytes().to_vec();
    let datagram = udp(&record);
    // Raw IPv4.
    let file = capture(228, &[datagram]);
    let packets = dissect(&directory, &file, &["-d", "udp.port==4660,pktmeta"]);
    let tenant = find(&packets[0], "pktmeta.tenant");
    assert_eq!(tenant.as_deref(), Some("4294967295"));
    let packets = dissect(&directory, &file, &[]);
    assert_eq!(find(&packets[0], "pktmeta.tenant"), None);
}

/// A directory with the dissector.
fn dissector(test: &str, input: &Input) -> PathBuf {
    assert!(
        tool::is_there("tshark"),
        "tshark is not in the path: run `cargo xtask setup`"
    );
    let directory = tool::directory(test);
    for file in generate(Language::Wireshark, input).unwrap() {
        fs::write(directory.join(file.name), file.text).unwrap();
    }
    directory
}

fn dissect(directory: &Path, capture: &[u8], options: &[&str]) -> Vec<Value> {
    let options = [&["-T", "json"], options].concat();
    let json = tshark(directory, capture, &options);
    serde_json::from_str(&json).unwrap()
}

fn tshark(directory: &Path, capture: &[u8], options: &[&str]) -> String {
    let file = directory.join("test.pcap");
    fs::write(&file, capture).unwrap();
    let mut tshark = Command::new("tshark");
    tshark
        // Nothing of the user's own configuration takes part.
        .env("HOME", directory)
        .env_remove("XDG_CONFIG_HOME")
        .arg("-r")
        .arg(file)
        .arg("-X")
        .arg(format!(
            "lua_script:{}",
            directory.join("pktmeta.lua").display()
        ))
        .args(options);
    let output = tshark.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("Lua"), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The value of a field, wherever in the packet it is.
fn find(packet: &Value, field: &str) -> Option<String> {
    match packet {
        Value::Object(members) => members.iter().find_map(|(name, value)| match value {
            Value::String(text) if name == field => Some(text.clone()),
            _ => find(value, field),
        }),
        Value::Array(values) => values.iter().find_map(|value| find(value, field)),
        _ => None,
    }
}

/// A pcap file.
fn capture(link_type: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    // Magic, version 2.4, time zone, accuracy, longest packet, link type.
    file.extend(words(&[0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65535, link_type]));
    for packet in packets {
        let size = packet.len() as u32;
        file.extend(words(&[0, 0, size, size]));
        file.extend(packet);
    }
    file
}

/// An IPv4 packet with a datagram, without checksums.
fn udp(payload: &[u8]) -> Vec<u8> {
    let length = |header: usize| ((header + payload.len()) as u16).to_be_bytes();
    let ([total0, total1], [udp0, udp1]) = (length(28), length(8));
    let mut packet = vec![0x45, 0, total0, total1, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend([0x12, 0x34, 0x12, 0x34, udp0, udp1, 0, 0]);
    packet.extend(payload);
    packet
}
