//! The generated Rust modules, as part of a program.
//!
//! Not of the program that refreshes the snapshots: that has to build even if they do not.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

// What applications link and generated modules name; its data model is all they use.
extern crate pktmeta_core as pktmeta;

#[path = "it/sample.rs"]
mod sample;
#[path = "../../pktmeta-core/vectors/mod.rs"]
mod vectors;

use pktmeta_core::{Field, FieldType, Kind, MacAddr, Timestamp, ToRecord, Value, VarBytes};
use std::net::SocketAddr;

#[deny(warnings, clippy::pedantic, unreachable_pub)]
mod edge {
    include!("snapshots/edge.rs");
}

/// Fields of lab, as a file of the crate.
#[deny(warnings, clippy::pedantic, missing_docs, unreachable_pub)]
#[expect(clippy::doc_markdown, reason = "the words are the schema's")]
#[path = "snapshots/lab.rs"]
pub mod lab;

/// Nobody uses any of it.
#[deny(warnings)]
mod unused {
    include!("snapshots/edge.rs");
}

#[test]
fn fields_have_the_types_of_their_schema() {
    fn kind<T: FieldType>(field: Field<T>) -> (&'static str, Kind) {
        (field.name(), T::KIND)
    }
    let typed = [
        kind(edge::TENANT),
        kind(edge::VERDICT),
        kind(edge::SEEN),
        kind(edge::RX_TIME),
        kind(edge::ORIGINAL_DESTINATION),
        kind(edge::CLIENT),
        kind(edge::CLIENT6),
        kind(edge::NEXT_HOP),
        kind(edge::TRACE_ID),
        kind(edge::COOKIE),
        kind(edge::SAMPLED),
        kind(lab::TYPE),
        kind(lab::INT),
        kind(lab::SELF),
        kind(lab::NEW),
        kind(lab::LINUX),
        kind(lab::DELTA),
        kind(lab::OFFSET_NS),
        kind(lab::WIDE),
        kind(lab::OPTION),
        kind(lab::BIG),
        kind(lab::B),
        kind(lab::BITS),
        kind(lab::FLAGS),
        kind(lab::MATCH),
        kind(lab::DIGEST),
        kind(lab::BLOB),
    ];
    let fields = sample::fields();
    let described = fields
        .iter()
        .map(|field| (field.wanted.name.as_str(), field.wanted.kind));
    assert!(described.eq(typed));
}

#[test]
fn a_record_that_is_built_by_name_has_the_bytes_of_the_schema() {
    let registry = sample::registry();
    let edge = edge::Record::new()
        .tenant(u32::MAX)
        .verdict(edge::Verdict::DROP)
        .seen(edge::Seen::INTERNAL | edge::Seen::LATE)
        .rx_time(Timestamp {
            nanoseconds: u64::MAX,
        })
        .original_destination(SocketAddr::from(([192, 0, 2, 1], 53)))
        .client([198, 51, 100, 7].into())
        .client6("2001:db8::1".parse().unwrap())
        .next_hop(MacAddr([2, 0, 0x5e, 0, 0x53, 1]))
        .trace_id(338_770_000_845_734_292_534_325_025_077_361_652_240)
        .cookie(VarBytes::new(&[0, 0xff, 0x10]).unwrap())
        .sampled();
    assert_eq!(edge.to_record(&registry), Ok(sample::record("edge")));
    let lab = lab::Record::new()
        .r#type(255)
        .int(0x1234)
        .self_(0x1234_5678_9abc_def0)
        .new_(-128)
        .linux(-2)
        .delta(i32::MIN)
        .offset_ns(i64::MIN)
        .wide(i128::MIN)
        .option(lab::OptionValue::MAX)
        .big(lab::Big::ALL)
        .b(lab::BValue::HIGH)
        .bits(lab::Bits::LOW | lab::Bits::HIGH)
        .flags(lab::Flags::LOW | lab::Flags::HIGH)
        .r#match(true)
        .digest(std::array::from_fn(|at| at as u8))
        .blob(VarBytes::new(&[]).unwrap());
    let record = lab.to_record(&registry).unwrap();
    assert_eq!(record, sample::record("lab"));
    assert_eq!(
        registry.get(&record, lab::OPTION),
        Some(lab::OptionValue::MAX)
    );
    assert_eq!(
        registry.get(&record, lab::SELF),
        Some(0x1234_5678_9abc_def0)
    );
    assert_eq!(registry.get(&record, edge::TENANT), None);
    assert!(edge::Record::new().to_record(&registry).unwrap().is_empty());
}

#[test]
fn named_values_are_shown_as_the_schema_shows_them() {
    let fields = sample::fields();
    let shown = |name: &str, number: u64| {
        let mut fields = fields.iter();
        let field = fields.find(|field| field.wanted.name.as_str() == name);
        field
            .unwrap()
            .display_value(&Value::Unsigned(number.into()))
    };
    for number in 0..=255 {
        let verdict = edge::Verdict(number);
        assert_eq!(verdict.to_string(), shown("verdict", number.into()));
        assert_eq!(format!("{verdict:?}"), verdict.to_string());
        let seen = edge::Seen(u16::from(number) << 8 | 1);
        assert_eq!(seen.to_string(), shown("seen", seen.0.into()));
        let b = lab::BValue(number);
        assert_eq!(b.to_string(), shown("b", number.into()));
    }
    assert_eq!(format!("{:>6}", edge::Verdict::LOG), "   log");
    let mut seen = edge::Seen::default();
    assert!(seen.is_empty());
    seen |= edge::Seen::LATE;
    assert!(seen.contains(edge::Seen::LATE) && !seen.contains(edge::Seen::INTERNAL));
}

#[test]
fn records_of_two_owners_become_one() {
    let registry = sample::registry();
    let both = (edge::Record::new().tenant(7), lab::Record::new().linux(-2));
    let record = both.to_record(&registry).unwrap();
    assert_eq!(registry.get(&record, edge::TENANT), Some(7));
    assert_eq!(registry.get(&record, lab::LINUX), Some(-2));
    let none = pktmeta_core::Registry::new();
    assert!(both.to_record(&none).is_err());
}
