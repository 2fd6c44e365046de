//! The fields that programs know, schemas of some of them, and the values that a packet's seed
//! gives them: what `bpf/pool.h` says in C.

use crate::random::{Random, mix};
use pktmeta_core::{FieldInfo, Registry, field::Kind, schema::Schema};

/// Name and type of every field, by the number that it has in the programs.
pub(crate) const POOL: [(&str, &str); 25] = [
    ("a_u8", "u8"),
    ("b_u8", "u8"),
    ("a_u16", "u16"),
    ("b_u16", "u16"),
    ("a_u32", "u32"),
    ("b_u32", "u32"),
    ("c_u32", "u32"),
    ("a_u64", "u64"),
    ("b_u64", "u64"),
    ("a_u128", "u128"),
    ("a_i32", "i32"),
    ("a_bool", "bool"),
    ("an_enum", "enum8"),
    ("a_set", "bits16"),
    ("an_ipv4", "ipv4"),
    ("an_ipv6", "ipv6"),
    ("a_mac", "mac"),
    ("a_socket", "socket"),
    ("a_time", "timestamp"),
    ("five", "bytes[5]"),
    ("many", "bytes[40]"),
    ("up_to_nine", "bytes[..9]"),
    ("up_to_more", "bytes[..16]"),
    ("a_flag", "flag"),
    ("b_flag", "flag"),
];

/// Bytes of a record before its first field.
const HEADER: usize = 4;

/// A schema whose record, with every field in it, has exactly `record` bytes, or if that is `None`
/// whatever it has. No schema has so many fields that the area cannot hold them.
pub(crate) fn draw_schema(random: &mut Random, record: Option<usize>, most: usize) -> Schema {
    let chosen = loop {
        let wanted = record.unwrap_or_else(|| HEADER + 2 + random.below(most - HEADER - 1));
        if let Some(chosen) = choose(random, wanted - HEADER, record.is_some()) {
            break chosen;
        }
    };
    let mut text = String::from("owner = \"paths\"\n");
    for number in chosen {
        let (name, kind) = POOL[number];
        let hot = random.one_in(2) && !kind_of(number).is_variable();
        text += &format!("[[field]]\nname = \"{name}\"\ntype = \"{kind}\"\nhot = {hot}\n");
        text += "writers = [\"xdp\", \"tc\"]\n";
        match kind {
            "enum8" => text += "names = { none = 0, one = 1, two = 2, three = 3 }\n",
            "bits16" => text += "names = { low = 0, high = 15 }\n",
            _ => {}
        }
    }
    Schema::parse("paths.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Fields that together take `bytes`, or if not `exactly`, no more.
fn choose(random: &mut Random, bytes: usize, exactly: bool) -> Option<Vec<usize>> {
    let mut numbers: Vec<usize> = (0..POOL.len()).collect();
    random.shuffle(&mut numbers);
    let mut left = bytes;
    numbers.retain(|&number| {
        let size = kind_of(number).tlv_size();
        let fits = size <= left;
        left -= if fits { size } else { 0 };
        fits
    });
    let done = !numbers.is_empty() && (left == 0 || !exactly);
    done.then_some(numbers)
}

fn kind_of(number: usize) -> Kind {
    let (name, kind) = POOL[number];
    kind.parse()
        .unwrap_or_else(|error| panic!("{name} has no type of a schema, {kind}: {error}"))
}

/// The fields of the pool that a registry has, with their numbers in the pool.
pub(crate) fn bound(registry: &Registry) -> Vec<(u32, FieldInfo)> {
    let numbered = (0..).zip(POOL);
    let found = |(number, (name, _))| Some((number, *registry.by_name(name)?));
    numbered.filter_map(found).collect()
}

/// What a packet of this seed carries in a field; `None` if it does not.
pub(crate) fn value(seed: u64, number: u32, kind: Kind) -> Option<Vec<u8>> {
    let of_field = |which: u64| mix(seed.wrapping_add(u64::from(number) << 8 | which));
    let full = seed & 1 == 1;
    if !full && of_field(0) & 1 == 0 {
        return None;
    }
    let most = usize::from(kind.size());
    let size = match kind.is_variable() && !full {
        true => (of_field(1) & 0xffff) as usize % (most + 1),
        false => most,
    };
    let mut value: Vec<u8> = (2..)
        .flat_map(|n| of_field(n).to_le_bytes())
        .take(size)
        .collect();
    let mask = match kind {
        Kind::Bool => 1,
        Kind::Enum { .. } => 3,
        _ => 0xff,
    };
    if let Some(first) = value.first_mut() {
        *first &= mask;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_fills_its_record_to_the_last_byte() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let record = 16 + 8 * random.below(24);
            let schema = draw_schema(&mut random, Some(record), 208);
            let fields = schema.fields().iter();
            let bytes: usize = fields.map(|field| field.wanted.kind.tlv_size()).sum();
            assert_eq!(HEADER + bytes, record);
        }
    }

    #[test]
    fn half_of_the_packets_have_every_field_at_its_longest() {
        for number in 0..POOL.len() {
            let kind = kind_of(number);
            let most = usize::from(kind.size());
            let full = value(1, number as u32, kind).unwrap();
            assert_eq!(full.len(), most);
            let mut absent = 0;
            for seed in (0..100).map(|seed| mix(seed) & !1) {
                match value(seed, number as u32, kind) {
                    None => absent += 1,
                    Some(value) => assert!(value.len() <= most),
                }
            }
            assert!((20..80).contains(&absent));
        }
    }
}
