//! `docs/abi.md`, `abi.h` and `pktmeta_core::abi` say the same.

use pktmeta_core::{FieldInfo, Record, Tag, TlvType, VarBytes, abi, field::FieldName};
use std::{collections::BTreeMap, net::SocketAddr, process::Command};

const HEADER: &str = include_str!("../../pktmeta-headers/include/pktmeta/abi.h");
const DOCUMENT: &str = include_str!("../../../docs/abi.md");

#[test]
fn the_header_and_the_rust_constants_agree() {
    let header = defines();
    for (name, value) in abi::constants() {
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
    let include = pktmeta_headers::INCLUDE;
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
