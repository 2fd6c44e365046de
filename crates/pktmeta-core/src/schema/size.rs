//! The bytes that fields take in front of packets, how to take fewer, and the fields that keep GRO
//! from merging segments.

use super::{field::SchemaField, file::Schema};
use crate::{
    field::{FieldName, Kind},
    record::Record,
    registry::Policy,
};
use std::{iter::Sum, ops::Add};

/// Bytes of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Size {
    /// If every field is there, with as many bytes as it may have.
    pub worst: usize,
    /// On average over packets, by the shares in the schema. Values of `bytes[..N]` count with all
    /// N, because no schema says how long they usually are.
    pub expected: f64,
}

impl Size {
    /// The header, which every record has.
    pub const HEADER: Self = Self {
        worst: Record::HEADER,
        expected: Record::HEADER as f64,
    };
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            worst: self.worst + other.worst,
            expected: self.expected + other.expected,
        }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), Add::add)
    }
}

impl SchemaField {
    /// Bytes that the field takes of a record. A hot field takes its place even in records that do
    /// not have it.
    #[must_use]
    pub fn size(&self) -> Size {
        size(self.wanted.kind, self.wanted.policy.hot, self.present)
    }

    /// Why the field keeps GRO from merging any segments of a flow; `None` if it does not. The
    /// kernel merges only packets whose metadata is equal, whatever the schema's `gro` says.
    #[must_use]
    pub fn gro_obstacle(&self) -> Option<&'static str> {
        self.varies_per_packet.then_some(match self.wanted.kind {
            Kind::Timestamp => "a timestamp differs between packets unless varies = \"flow\"",
            _ => "it says varies = \"packet\"",
        })
    }
}

/// A change that would save bytes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Saving {
    /// The fields it is about.
    pub fields: Vec<FieldName>,
    /// What to write instead.
    pub advice: String,
    /// Bytes fewer.
    pub saved: Size,
    /// A condition that the schema does not show.
    pub provided: Option<&'static str>,
}

impl Schema {
    /// The changes that would save bytes, as far as the schema tells. A type can change only before
    /// the field is in use.
    ///
    /// A smaller integer does not always help: values of one and of two bytes both take three,
    /// because the size of one byte needs a byte too.
    #[must_use]
    pub fn savings(&self) -> Vec<Saving> {
        let each = self.fields().iter().flat_map(field_savings);
        each.chain(self.truths_in_one()).collect()
    }

    /// Flags and booleans that could share a set of bits, because they are treated alike.
    fn truths_in_one(&self) -> Vec<Saving> {
        let mut groups: Vec<Vec<&SchemaField>> = Vec::new();
        let truths = self.fields().iter();
        for field in truths.filter(|field| matches!(field.wanted.kind, Kind::Flag | Kind::Bool)) {
            let alike = |group: &&mut Vec<&SchemaField>| treatment(group[0]) == treatment(field);
            match groups.iter_mut().find(alike) {
                Some(group) => group.push(field),
                None => groups.push(vec![field]),
            }
        }
        groups
            .iter()
            .filter_map(|group| truths_saving(group))
            .collect()
    }
}

fn field_savings(field: &SchemaField) -> Vec<Saving> {
    /// If fewer packets than this have a hot field, its place is mostly empty.
    const MOSTLY: f64 = 0.5;

    let SchemaField {
        wanted, present, ..
    } = field;
    let name = wanted.name;
    let mut savings = Vec::new();
    if wanted.policy.hot && *present < MOSTLY {
        let cold = size(wanted.kind, false, *present);
        let share = 100.0 * present;
        let advice = format!("hot = false: its place is used by {share:.0}% of packets");
        savings.extend(saving(vec![name], advice, field.size(), cold, None));
    }
    let smaller = match wanted.kind {
        Kind::Enum { .. } => {
            let highest = field.names.iter().map(|(_, number)| number).max();
            let fits = |size: &u8| highest.is_some_and(|highest| highest >> (8 * size) == 0);
            [2].into_iter().find(fits).map(|size| Kind::Enum { size })
        }
        Kind::Bits { .. } => {
            let highest = field.names.iter().map(|(_, bit)| bit).max();
            highest.and_then(|highest| bits(highest + 1))
        }
        _ => None,
    };
    let resized = |kind| size(kind, wanted.policy.hot, *present);
    if let Some(kind) = smaller {
        let advice = format!("{kind}: its names need no more");
        savings.extend(saving(
            vec![name],
            advice,
            field.size(),
            resized(kind),
            None,
        ));
    }
    if wanted.kind == Kind::Socket {
        let two = resized(Kind::Ipv4) + resized(Kind::Unsigned { size: 2 });
        let advice = "an ipv4 and a u16 field".into();
        let provided = Some("its addresses are all IPv4");
        savings.extend(saving(vec![name], advice, field.size(), two, provided));
    }
    savings
}

/// A single boolean can be a flag; several can be bits of one field.
fn truths_saving(group: &[&SchemaField]) -> Option<Saving> {
    let now = group.iter().map(|field| field.size()).sum();
    let hot = group.iter().any(|field| field.wanted.policy.hot);
    // No schema says which of them come together: at most so many packets have any.
    let present = group
        .iter()
        .map(|field| field.present)
        .sum::<f64>()
        .min(1.0);
    let kind = match group.len() {
        1 => Kind::Flag,
        count => bits(count as u64)?,
    };
    let advice = match kind {
        Kind::Flag => "a flag".into(),
        _ => format!("one {kind} field with a name for each"),
    };
    let names = group.iter().map(|field| field.wanted.name).collect();
    let provided = Some("absent and false mean the same");
    saving(names, advice, now, size(kind, hot, present), provided)
}

/// `None` if nothing is saved, or if one of the two sizes grows.
fn saving(
    fields: Vec<FieldName>,
    advice: String,
    now: Size,
    then: Size,
    provided: Option<&'static str>,
) -> Option<Saving> {
    let saved = Size {
        worst: now.worst.saturating_sub(then.worst),
        expected: now.expected - then.expected,
    };
    let grows = then.worst > now.worst || then.expected > now.expected;
    (!grows && saved != Size::default()).then_some(Saving {
        fields,
        advice,
        saved,
        provided,
    })
}

fn size(kind: Kind, hot: bool, present: f64) -> Size {
    let worst = kind.tlv_size();
    let share = if hot { 1.0 } else { present };
    Size {
        worst,
        expected: worst as f64 * share,
    }
}

/// The cheapest set of so many bits; the larger of two that cost the same.
fn bits(count: u64) -> Option<Kind> {
    let size = [2, 4, 8]
        .into_iter()
        .find(|size| count <= 8 * u64::from(*size))?;
    Some(Kind::Bits { size })
}

/// The properties, besides being hot, that fields must share to become one.
fn treatment(field: &SchemaField) -> (Policy, bool) {
    let policy = Policy {
        hot: false,
        ..field.wanted.policy
    };
    (policy, field.varies_per_packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &[&str]) -> Schema {
        let fields = fields.iter().enumerate();
        let fields = fields.map(|(n, field)| format!("[[field]]\nname = \"f{n}\"\n{field}\n"));
        let text = format!("owner = \"edge\"\n{}", fields.collect::<String>());
        Schema::parse("edge.toml", &text).unwrap()
    }

    /// Each saving as a line.
    fn savings(fields: &[&str]) -> Vec<String> {
        let line = |saving: Saving| {
            let names: Vec<_> = saving.fields.iter().map(ToString::to_string).collect();
            let Size { worst, expected } = saving.saved;
            format!(
                "{}: {} ({worst}, {expected:.1})",
                names.join(" "),
                saving.advice
            )
        };
        schema(fields).savings().into_iter().map(line).collect()
    }

    #[test]
    fn what_is_cold_counts_by_its_share_and_what_is_hot_in_full() {
        let schema = schema(&[
            "type = \"u32\"\nhot = true\npresent = 0.5",
            "type = \"u32\"\npresent = 0.5",
            "type = \"bytes[..8]\"\npresent = 0.1",
        ]);
        let sizes: Vec<_> = schema.fields().iter().map(SchemaField::size).collect();
        let size = |worst, expected| Size { worst, expected };
        assert_eq!(sizes, [size(5, 5.0), size(5, 2.5), size(10, 1.0)]);
        let all = Size::HEADER + sizes.into_iter().sum();
        assert_eq!(all, size(24, 12.5));
        assert_eq!(schema.area(), 32);
    }

    #[test]
    fn one_byte_costs_what_two_cost() {
        let size = |kind: &str| {
            schema(&[&format!("type = \"{kind}\"")]).fields()[0]
                .size()
                .worst
        };
        let sizes = ["u8", "u16", "bool", "flag", "socket", "ipv4"].map(size);
        assert_eq!(sizes, [3, 3, 3, 2, 20, 5]);
    }

    #[test]
    fn a_hot_field_that_few_packets_have_is_better_cold() {
        let found = savings(&["type = \"u32\"\nhot = true\npresent = 0.1"]);
        assert_eq!(
            found,
            ["f0: hot = false: its place is used by 10% of packets (0, 4.5)"]
        );
        assert_eq!(
            savings(&["type = \"u32\"\nhot = true\npresent = 0.5"]),
            [""; 0]
        );
    }

    #[test]
    fn a_type_larger_than_its_names_need_is_found_only_if_a_smaller_one_costs_less() {
        for (field, advice) in [
            (
                "enum32\"\nnames = { a = 0, b = 65535 }",
                &["f0: enum16: its names need no more (2, 2.0)"][..],
            ),
            ("enum32\"\nnames = { a = 0, b = 65536 }", &[]),
            ("enum16\"\nnames = { a = 0 }", &[]),
            (
                "bits64\"\nnames = { a = 15 }",
                &["f0: bits16: its names need no more (6, 6.0)"],
            ),
            (
                "bits64\"\nnames = { a = 16 }",
                &["f0: bits32: its names need no more (4, 4.0)"],
            ),
            ("bits64\"\nnames = { a = 63 }", &[]),
            ("bits8\"\nnames = { a = 7 }", &[]),
        ] {
            assert_eq!(savings(&[&format!("type = \"{field}")]), advice);
        }
    }

    #[test]
    fn truths_that_are_treated_alike_fit_into_one_set_of_bits() {
        let both = [
            "type = \"flag\"",
            "type = \"bool\"",
            "type = \"bool\"\nwire = true",
        ];
        assert_eq!(
            savings(&both),
            [
                "f0 f1: one bits16 field with a name for each (2, 2.0)",
                "f2: a flag (1, 1.0)"
            ]
        );
        let one_is_hot = ["type = \"bool\"\nhot = true", "type = \"bool\""];
        let found = savings(&one_is_hot);
        assert!(found[0].starts_with("f0 f1: one bits16 field"), "{found:?}");
        assert_eq!(savings(&["type = \"flag\""]), [""; 0]);
        let rare = ["type = \"flag\"\npresent = 0.1"; 2];
        // In the worst case a byte less; but on average more, if they do not come together.
        assert_eq!(savings(&rare), [""; 0]);
        let many = ["type = \"flag\""; 17];
        let [one] = &savings(&many)[..] else {
            panic!("one saving")
        };
        assert!(
            one.ends_with("one bits32 field with a name for each (29, 29.0)"),
            "{one}"
        );
    }

    #[test]
    fn a_socket_costs_more_than_an_ipv4_address_and_a_port() {
        let schema = schema(&["type = \"socket\""]);
        let [saving] = &schema.savings()[..] else {
            panic!("one saving")
        };
        assert_eq!(saving.saved.worst, 12);
        assert!(saving.provided.unwrap().contains("IPv4"));
    }

    #[test]
    fn what_differs_from_packet_to_packet_defeats_gro() {
        let schema = schema(&[
            "type = \"timestamp\"\ngro = \"first\"",
            "type = \"timestamp\"\nvaries = \"flow\"",
            "type = \"u64\"\nvaries = \"packet\"",
            "type = \"u64\"",
        ]);
        let fields = schema.fields().iter();
        let found: Vec<_> = fields.map(|field| field.gro_obstacle().is_some()).collect();
        assert_eq!(found, [true, false, true, false]);
    }
}
