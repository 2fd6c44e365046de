//! Bytes that a record takes, in pktmeta's format and in others.

use pktmeta_core::Kind;
use serde_json::{Value, json};

/// Fields in the order in which the examples grow.
const FIELDS: [(&str, Kind); 10] = [
    ("tenant", Kind::Unsigned { size: 4 }),
    ("rule", Kind::Unsigned { size: 2 }),
    ("verdict", Kind::Unsigned { size: 1 }),
    ("rx_timestamp", Kind::Timestamp),
    ("orig_dst", Kind::Ipv4),
    ("orig_port", Kind::Unsigned { size: 2 }),
    ("trace_id", Kind::Unsigned { size: 8 }),
    ("zone", Kind::Unsigned { size: 1 }),
    ("backend", Kind::Unsigned { size: 2 }),
    ("flow_hash", Kind::Unsigned { size: 4 }),
];

/// Numbers of those that are in an example.
const EXAMPLES: [usize; 3] = [6, 8, 10];

/// Bytes of a record with fields of these kinds.
type Bytes = fn(&[Kind]) -> usize;

const FORMATS: [(&str, Bytes); 5] = [
    ("raw struct, packed", |kinds| {
        kinds.iter().map(|kind| usize::from(kind.size())).sum()
    }),
    (super::subjects::PKTMETA, |kinds| {
        let tlvs: usize = kinds.iter().map(|kind| kind.tlv_size()).sum();
        pktmeta_core::Record::HEADER + tlvs
    }),
    ("TLVs with 2-byte headers", |kinds| {
        let tlvs: usize = kinds.iter().map(|kind| 2 + usize::from(kind.size())).sum();
        pktmeta_core::Record::HEADER + tlvs
    }),
    ("traits v1", |kinds| traits(kinds, &[2, 4, 8])),
    ("traits v2", |kinds| traits(kinds, &[0, 4, 8])),
];

/// Two words, and each value in the smallest size that holds it.
fn traits(kinds: &[Kind], sizes: &[usize]) -> usize {
    let rounded = |kind: &Kind| {
        let size = usize::from(kind.size());
        sizes
            .iter()
            .copied()
            .find(|&wide| wide >= size)
            .unwrap_or(size)
    };
    16 + kinds.iter().map(rounded).sum::<usize>()
}

/// The bytes of a format's records, one for each example.
pub(super) fn sizes() -> impl Iterator<Item = (&'static str, [usize; EXAMPLES.len()])> {
    FORMATS.into_iter().map(|(format, bytes)| {
        let sizes = EXAMPLES.map(|count| {
            let kinds: Vec<_> = FIELDS[..count].iter().map(|(_, kind)| *kind).collect();
            bytes(&kinds)
        });
        (format, sizes)
    })
}

pub(super) fn to_json() -> Value {
    let rows = sizes().map(|(format, bytes)| json!({ "format": format, "bytes": bytes }));
    json!({
        "fields": FIELDS.map(|(name, kind)| json!([name, kind.to_string()])),
        "counts": EXAMPLES,
        "formats": rows.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_counted_by_hand() {
        let find = |name| sizes().find(|(format, _)| *format == name).unwrap().1;
        assert_eq!(find("raw struct, packed"), [21, 30, 36]);
        // 4 + (4+1) + (2+1) + (1+2) + (8+1) + (4+1) + (2+1)
        assert_eq!(find("pktmeta"), [32, 44, 52]);
        assert_eq!(find("traits v1"), [16 + 22, 16 + 32, 16 + 38]);
        assert_eq!(find("traits v2"), [16 + 28, 16 + 40, 16 + 48]);
        assert_eq!(find("TLVs with 2-byte headers"), [37, 50, 60]);
    }
}
