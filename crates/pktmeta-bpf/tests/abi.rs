//! `docs/abi.md`, `abi.h` and `pktmeta_core::abi` say the same.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use pktmeta_core::{
    FieldInfo, Kind, Record, Tag, TlvType, VarBytes, abi,
    field::FieldName,
    registry::{GroMerge, Policy},
};
use std::{collections::BTreeMap, net::SocketAddr, process::Command};

const HEADER: &str = include_str!("../include/pktmeta/abi.h");
const DOCUMENT: &str = include_str!("../../../docs/abi.md");

#[test]
fn the_header_and_the_rust_constants_agree() {
    let header = defines();
    for (name, value) in rust() {
        assert_eq!(header.get(name), Some(&value), "{name}");
    }
}

#[test]
fn the_document_has_every_number_that_an_application_needs() {
    let header = defines();
    let mut documented = BTreeMap::new();
    for line in DOCUMENT.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        if let (Some(name), Some(value)) = (cells.next(), cells.next())
            && let Some(name) = name
                .strip_prefix('`')
                .and_then(|name| name.strip_suffix('`'))
            && let Some(value) = number(value)
        {
            documented.insert(name, value);
        }
    }
    for (name, value) in &documented {
        assert_eq!(header.get(name), Some(value), "{name}");
    }
    // The others are said in words there.
    let in_words = [
        "PKTMETA_MAGIC_",
        "PKTMETA_VERSION",
        "PKTMETA_RECORD_",
        "PKTMETA_TAG_",
        "PKTMETA_SIZE_",
        "PKTMETA_VALUE_MAX",
        "PKTMETA_FIELDS_MAX",
        "PKTMETA_NAME_SIZE",
    ];
    for name in header
        .keys()
        .filter(|name| !in_words.iter().any(|word| name.starts_with(word)))
    {
        assert!(
            documented.contains_key(name),
            "{name} is not in docs/abi.md"
        );
    }
}

#[test]
fn the_documents_golden_vectors_are_the_records_that_it_describes() {
    let tlv = |number| TlvType::new(number).unwrap();
    let mut record = Record::new();
    let documented = |record: &Record| {
        let hex: Vec<_> = record
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let squeezed = DOCUMENT.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(&hex.join(" ")), "{hex:?}");
    };
    documented(&record);
    record.set_value(tlv(6), &7u32).unwrap();
    record.set_value(tlv(7), &true).unwrap();
    let cookie: VarBytes<8> = VarBytes::new(&[0xaa, 0xbb]).unwrap();
    record.set_value(tlv(8), &cookie).unwrap();
    documented(&record);
    assert!(record.delete(Tag::fixed(tlv(6), 4)));
    documented(&record);
    record.compact();
    documented(&record);
    let mut every = Record::new();
    every.set_value(tlv(1), &()).unwrap();
    every.set_value(tlv(2), &0x0102u16).unwrap();
    every.set_value(tlv(3), &-2i64).unwrap();
    let address: SocketAddr = "192.0.2.1:53".parse().unwrap();
    every.set_value(tlv(63), &address).unwrap();
    documented(&every);
}

#[test]
fn the_headers_structs_have_the_layout_that_rust_reads() {
    let asserts = format!(
        "#include <stddef.h>\n#include <pktmeta/abi.h>\n\
         _Static_assert(sizeof(struct pktmeta_info) == {info}, \"\");\n\
         _Static_assert(sizeof(struct pktmeta_field_info) == {field}, \"\");\n\
         _Static_assert(offsetof(struct pktmeta_field_info, type) == {type_at}, \"\");\n\
         _Static_assert(sizeof(struct pktmeta_slot) == {slot}, \"\");\n\
         _Static_assert(offsetof(struct pktmeta_slot, record) == {record}, \"\");\n\
         _Static_assert(sizeof(struct pktmeta_ring_header) == {slot}, \"\");\n\
         _Static_assert(offsetof(struct pktmeta_ring_header, closed) == {closed}, \"\");\n\
         _Static_assert(sizeof(struct pktmeta_header) == {header}, \"\");\n\
         _Static_assert(offsetof(struct pktmeta_slot, displaced) == {displaced}, \"\");\n\
         _Static_assert(sizeof(struct pktmeta_value) == {value}, \"\");\n\
         _Static_assert(offsetof(struct pktmeta_value, value) == {value_at}, \"\");\n\
         _Static_assert(offsetof(struct pktmeta_field_info, policy) == {policy_at}, \"\");\n",
        info = abi::Info::SIZE,
        field = FieldInfo::SIZE,
        type_at = 2 * FieldName::CAPACITY,
        slot = abi::SLOT_SIZE,
        record = abi::SLOT_RECORD,
        closed = abi::RING_CLOSED,
        header = Record::HEADER,
        displaced = abi::SLOT_DISPLACED,
        value = abi::VALUE_SIZE,
        value_at = abi::VALUE_AT,
        policy_at = FieldInfo::SIZE - 4,
    );
    // A plain C compiler with the system's headers, as an application's author has.
    let source = std::env::temp_dir().join(format!("pktmeta-abi-{}.c", std::process::id()));
    std::fs::write(&source, asserts).unwrap();
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
    let compiled = Command::new("cc")
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fsyntax-only",
            "-I",
            include,
        ])
        .arg(&source)
        .status();
    std::fs::remove_file(&source).unwrap();
    assert!(compiled.unwrap().success());
}

fn rust() -> Vec<(&'static str, i64)> {
    let kind = |name| i64::from(Kind::parse(name).unwrap().code());
    let policy = |set: fn(&mut Policy)| {
        let mut policy = Policy::default();
        set(&mut policy);
        i64::from(policy.bits())
    };
    vec![
        ("SOL_PKTMETA", abi::SOL_PKTMETA.into()),
        ("SOL_PKTMETA_DGRAM", abi::SOL_PKTMETA_DGRAM.into()),
        (
            "SOL_PKTMETA_DGRAM_FIELDS",
            abi::SOL_PKTMETA_DGRAM_FIELDS.into(),
        ),
        ("SOL_PKTMETA_BYTE", abi::SOL_PKTMETA_BYTE.into()),
        (
            "SOL_PKTMETA_BYTE_FIELDS",
            abi::SOL_PKTMETA_BYTE_FIELDS.into(),
        ),
        ("PKTMETA_VERSION", abi::VERSION.into()),
        ("PKTMETA_INFO", abi::PKTMETA_INFO.into()),
        ("PKTMETA_RX", abi::PKTMETA_RX.into()),
        ("PKTMETA_RX_SYN", abi::PKTMETA_RX_SYN.into()),
        ("PKTMETA_TICKETS", abi::PKTMETA_TICKETS.into()),
        ("PKTMETA_RX_HISTORY", abi::PKTMETA_RX_HISTORY.into()),
        ("PKTMETA_TX", abi::PKTMETA_TX.into()),
        ("PKTMETA_FIELDS", abi::PKTMETA_FIELDS.into()),
        ("PKTMETA_RX_FIELDS", abi::PKTMETA_RX_FIELDS.into()),
        ("PKTMETA_RX_SYN_FIELDS", abi::PKTMETA_RX_SYN_FIELDS.into()),
        ("PKTMETA_FIELD_INFO", abi::PKTMETA_FIELD_INFO.into()),
        ("PKTMETA_RX_FIELD", abi::PKTMETA_RX_FIELD.into()),
        ("PKTMETA_RX_SYN_FIELD", abi::PKTMETA_RX_SYN_FIELD.into()),
        ("PKTMETA_TX_FIELD", abi::PKTMETA_TX_FIELD.into()),
        ("PKTMETA_TX_DELETE", abi::PKTMETA_TX_DELETE.into()),
        ("PKTMETA_TX_TICKET", abi::TX_TICKET.into()),
        ("PKTMETA_TX_TICKET_MASK", abi::TX_TICKET_MASK.into()),
        ("PKTMETA_TX_SLOTS", abi::TX_SLOTS.into()),
        ("PKTMETA_HISTORY_SEGMENTS", abi::HISTORY_SEGMENTS as i64),
        ("PKTMETA_SELECTION_MAX", abi::SELECTION_MAX as i64),
        ("PKTMETA_FEATURE_RX_TCP", abi::FEATURE_RX_TCP.into()),
        ("PKTMETA_FEATURE_RX_UDP", abi::FEATURE_RX_UDP.into()),
        ("PKTMETA_FEATURE_HISTORY", abi::FEATURE_HISTORY.into()),
        ("PKTMETA_FEATURE_TX", abi::FEATURE_TX.into()),
        ("PKTMETA_TICKETS_OFF", abi::PKTMETA_TICKETS_OFF.into()),
        ("PKTMETA_TICKETS_MARK", abi::PKTMETA_TICKETS_MARK.into()),
        (
            "PKTMETA_TICKETS_PRIORITY",
            abi::PKTMETA_TICKETS_PRIORITY.into(),
        ),
        (
            "PKTMETA_TICKETS_TIMESTAMP",
            abi::PKTMETA_TICKETS_TIMESTAMP.into(),
        ),
        ("PKTMETA_TICKET_ABSENT", abi::TICKET_ABSENT.into()),
        ("PKTMETA_FIELDS_MAX", abi::FIELDS_MAX as i64),
        ("PKTMETA_NAME_SIZE", FieldName::CAPACITY as i64),
        ("PKTMETA_MAGIC_0", Record::MAGIC[0].into()),
        ("PKTMETA_MAGIC_1", Record::MAGIC[1].into()),
        ("PKTMETA_RECORD_VERSION", i64::from(Record::MAGIC[2] >> 4)),
        ("PKTMETA_RECORD_MAX", Record::CAPACITY as i64),
        ("PKTMETA_VALUE_MAX", Kind::BYTES_MAX.into()),
        ("PKTMETA_TAG_TYPE", TlvType::MAX.into()),
        ("PKTMETA_KIND_UNSIGNED", kind("u8")),
        ("PKTMETA_KIND_BOOL", kind("bool")),
        ("PKTMETA_KIND_IPV4", kind("ipv4")),
        ("PKTMETA_KIND_IPV6", kind("ipv6")),
        ("PKTMETA_KIND_MAC", kind("mac")),
        ("PKTMETA_KIND_BYTES", kind("bytes[1]")),
        ("PKTMETA_KIND_SIGNED", kind("i8")),
        ("PKTMETA_KIND_ENUM", kind("enum8")),
        ("PKTMETA_KIND_BITS", kind("bits8")),
        ("PKTMETA_KIND_TIMESTAMP", kind("timestamp")),
        ("PKTMETA_KIND_SOCKET", kind("socket")),
        ("PKTMETA_KIND_VARIABLE", kind("bytes[..1]")),
        ("PKTMETA_KIND_FLAG", kind("flag")),
        ("PKTMETA_POLICY_HOT", policy(|policy| policy.hot = true)),
        ("PKTMETA_POLICY_WIRE", policy(|policy| policy.wire = true)),
        (
            "PKTMETA_POLICY_XDP",
            policy(|policy| policy.writers.xdp = true),
        ),
        (
            "PKTMETA_POLICY_TC",
            policy(|policy| policy.writers.tc = true),
        ),
        (
            "PKTMETA_POLICY_APP",
            policy(|policy| policy.writers.app = true),
        ),
        (
            "PKTMETA_POLICY_TRUSTED",
            policy(|policy| policy.trusted = true),
        ),
        (
            "PKTMETA_POLICY_GRO",
            policy(|policy| policy.gro = GroMerge::Sum),
        ),
        (
            "PKTMETA_POLICY_DROP_ON_CLONE",
            policy(|policy| policy.drop_on_clone = true),
        ),
        (
            "PKTMETA_POLICY_DROP_ON_NETNS",
            policy(|policy| policy.drop_on_netns = true),
        ),
        ("PKTMETA_POLICY_KEPT", policy(|policy| policy.kept = true)),
        (
            "PKTMETA_POLICY_RETIRED",
            policy(|policy| policy.retired = true),
        ),
    ]
}

/// `#define NAME NUMBER`, comments left out.
fn defines() -> BTreeMap<&'static str, i64> {
    let defines = HEADER
        .lines()
        .filter_map(|line| line.strip_prefix("#define "));
    defines
        .filter_map(|line| {
            line.split_once(' ')
                .and_then(|(n, v)| Some((n, number(v)?)))
        })
        .collect()
}

/// A C number or character, and whatever behind it.
fn number(text: &str) -> Option<i64> {
    let word = text.split_whitespace().next()?;
    if let Some(character) = word.strip_prefix('\'') {
        return character
            .chars()
            .next()
            .map(|character| i64::from(u32::from(character)));
    }
    match word.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}
