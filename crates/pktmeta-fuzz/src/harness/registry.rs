//! Any bytes as a host's registry, and any record read by it.

use super::{
    seeds::{GOLDEN, carrier_seed},
    target::Harness,
};
use crate::{carrier::Carrier, input::Input};
use pktmeta_core::{
    Field, FieldInfo, FieldName, Kind, Record, Registry, TlvType, registry::Wanted,
};

pub(super) const HARNESS: Harness = Harness {
    name: "registry",
    about: "a registry reads back from any of its bytes, and reads any record without a panic",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let mut registry = Registry::new();
    for (name, kind, hot) in [
        ("tenant", "u32", true),
        ("zone", "bool", true),
        ("cookie", "bytes[..8]", false),
        ("source", "socket", false),
    ] {
        let name = name.parse::<FieldName>();
        if let (Ok(name), Ok(kind)) = (name, kind.parse()) {
            let mut wanted = Wanted::new(name, name, kind);
            wanted.policy.hot = hot;
            // Four fields are not too many.
            let _ = registry.register(&wanted);
        }
    }
    let bytes: Vec<u8> = registry
        .fields()
        .iter()
        .flat_map(FieldInfo::to_bytes)
        .collect();
    // As many of 16 bytes as have places.
    let many: Vec<u8> = (0..11)
        .flat_map(|n| [n, n + 1, 6, 16, 4 + 18 * n, 1, 0])
        .collect();
    let seeds = GOLDEN.map(|golden| [&carrier_seed(golden)[..], b"\x86", &bytes].concat());
    let others = GOLDEN.map(|golden| [&carrier_seed(golden)[..], b"\x06", &many].concat());
    seeds.into_iter().chain(others).collect()
}

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let bytes = input.carrier(Carrier::CAPACITY_MAX);
    let choice = input.byte();
    let mut registry = match choice & 0x80 {
        0 => Registry::from_bytes(&fields(&mut input)),
        _ => Registry::from_bytes(input.rest()),
    };
    let all = registry.fields().iter().chain(registry.retired());
    let again: Vec<u8> = all.flat_map(FieldInfo::to_bytes).collect();
    assert_eq!(Registry::from_bytes(&again), registry);
    if let Ok(record) = Record::parse(&bytes) {
        read(&registry, &record);
    }
    let template = registry.layout().template;
    assert!(template.is_empty());
    assert_eq!(Record::parse(template.as_bytes()), Ok(template));
    for info in registry.fields() {
        if let Some(place) = info.place {
            let void = info.tag().byte() & !TlvType::MAX;
            assert_eq!(template.as_bytes()[usize::from(place)], void);
        }
    }
    if let (Some(name), Some(kind)) = (
        "tenant".parse().ok(),
        Kind::from_code(choice & 0x0f, choice >> 4),
    ) {
        let mut wanted = Wanted::new(name, name, kind);
        wanted.policy.hot = choice & 1 != 0;
        if let Ok(info) = registry.register(&wanted) {
            assert_eq!(registry.by_name("tenant"), Some(&info));
            assert_eq!(
                registry.remove("tenant").map(|info| info.tlv),
                Some(info.tlv)
            );
        }
    }
}

/// The bytes of fields of which most are possible.
fn fields(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !input.is_empty() && bytes.len() < 80 * FieldInfo::SIZE {
        let mut info = [0; FieldInfo::SIZE];
        info[0] = b'a' + input.byte() % 26;
        info[FieldName::CAPACITY] = b'a';
        let numbers = [input.byte() & 0x3f, input.byte() & 0x0f, input.byte() % 65];
        info[2 * FieldName::CAPACITY..][..3].copy_from_slice(&numbers);
        info[2 * FieldName::CAPACITY + 3] = input.byte();
        let policy = [input.byte(), input.byte() & 0x0f];
        info[2 * FieldName::CAPACITY + 4..][..2].copy_from_slice(&policy);
        bytes.extend(info);
    }
    bytes
}

fn read(registry: &Registry, record: &Record) {
    for (info, value) in registry.values(record) {
        let bytes = value.encode(info.kind);
        assert_eq!(record.get(info.tag()), bytes.as_deref());
        assert_eq!(info.value_in(record), Some(value));
    }
    for field in registry.fields() {
        let of_field = registry.read(record).filter(|(info, _)| *info == field);
        assert!(of_field.count() <= 1, "{field:?}");
    }
    let tenant = registry.get(record, Field::<u32>::new("tenant"));
    let same = registry.by_name("tenant").and_then(|info| {
        let bytes = record
            .get(info.tag())
            .filter(|_| info.kind == Kind::Unsigned { size: 4 })?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    });
    assert_eq!(tenant, same);
    let _ = registry.get(record, Field::<bool>::new("zone"));
    let _ = format!("{record:?}");
}
