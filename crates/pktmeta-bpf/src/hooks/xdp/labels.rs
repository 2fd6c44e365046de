//! Labels: values that packets get by their source address, `PREFIX=FIELD:VALUE`.

use crate::error::Error;
use pktmeta_core::{Registry, Tag, TlvType, Value, schema::Schema};
use std::{collections::BTreeMap, fmt, net::IpAddr};

/// A value for packets whose source address is in a prefix.
///
/// ```
/// let label: pktmeta_bpf::hooks::xdp::labels::Label = "192.0.2.0/24=tenant:7".parse()?;
/// assert_eq!(label.to_string(), "192.0.2.0/24=tenant:7");
/// # Ok::<(), pktmeta_bpf::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    prefix: Prefix,
    field: String,
    value: String,
}

impl std::str::FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            Error::new(format!("label {text:?}"), why)
                .remedy("write PREFIX=FIELD:VALUE, such as 192.0.2.0/24=tenant:7")
        };
        let (prefix, rest) = text.split_once('=').ok_or_else(|| wrong("there is no ="))?;
        let (field, value) = rest.split_once(':').ok_or_else(|| wrong("there is no :"))?;
        let prefix = Prefix::parse(prefix).map_err(wrong)?;
        Ok(Self {
            prefix,
            field: field.into(),
            value: value.into(),
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.prefix, self.field, self.value)
    }
}

/// Key and value, as the map has them.
pub(crate) type Entry = ([u8; KEY_SIZE], [u8; VALUE_SIZE]);

/// Entries of the longest-prefix-match map that give every address the labels of all prefixes
/// that it is in: for each field the longest such prefix counts. `schemas` have the names of values.
pub(crate) fn entries(
    labels: &[Label],
    registry: &Registry,
    schemas: &[Schema],
) -> Result<Vec<Entry>, Error> {
    let mut given: BTreeMap<Prefix, BTreeMap<TlvType, Vec<u8>>> = BTreeMap::new();
    for label in labels {
        let (tlv, value) = resolve(label, registry, schemas)?;
        if let Some(other) = given
            .entry(label.prefix)
            .or_default()
            .insert(tlv, value.clone())
            && other != value
        {
            let why = format!("{} gets two values for {}", label.prefix, label.field);
            return Err(Error::new(format!("label \"{label}\""), why).remedy("keep one of the two"));
        }
    }
    let mut entries = Vec::new();
    for prefix in given.keys() {
        // In the order of the prefixes' lengths, so that the longest one's value stays.
        let mut values = BTreeMap::new();
        let mut around: Vec<_> = given
            .iter()
            .filter(|(other, _)| other.contains(prefix))
            .collect();
        around.sort_by_key(|(other, _)| other.length);
        around.into_iter().for_each(|(_, inherited)| {
            values.extend(inherited.iter().map(|(tlv, value)| (*tlv, value)))
        });
        if values.len() > LABELS_MAX {
            let why = format!("{} fields are too many for one packet", values.len());
            return Err(
                Error::new(format!("labels of {prefix}"), why).remedy(format!(
                    "give a prefix and those around it at most {LABELS_MAX} fields"
                )),
            );
        }
        let mut bytes = [0; VALUE_SIZE];
        for (label, (tlv, value)) in bytes.chunks_exact_mut(LABEL_SIZE).zip(values) {
            if let Some(field) = registry.by_type(tlv) {
                label[0] = field.tag().byte();
                label[1] = value.len() as u8; // at most LABEL_VALUE_MAX
                label[2] = field.place.unwrap_or(0);
                label[LABEL_VALUE_AT..LABEL_VALUE_AT + value.len()].copy_from_slice(value);
            }
        }
        entries.push((prefix.key(), bytes));
    }
    Ok(entries)
}

/// The fields that an entry's value sets.
pub(crate) fn fields(value: &[u8]) -> Vec<TlvType> {
    let labels = value.chunks_exact(LABEL_SIZE);
    labels
        .filter_map(|label| Tag::from_byte(label[0])?.tlv())
        .collect()
}

/// `struct pktmeta_label_key`
const KEY_SIZE: usize = 20;
/// `struct pktmeta_labels`
const VALUE_SIZE: usize = LABELS_MAX * LABEL_SIZE;
const LABELS_MAX: usize = 4;
const LABEL_SIZE: usize = 24;
const LABEL_VALUE_AT: usize = 8;
const LABEL_VALUE_MAX: u8 = 16;

fn resolve(
    label: &Label,
    registry: &Registry,
    schemas: &[Schema],
) -> Result<(TlvType, Vec<u8>), Error> {
    let wrong = |why: String| Error::new(format!("label \"{label}\""), why);
    let field = registry.by_name(&label.field).ok_or_else(|| {
        let names: Vec<_> = registry
            .fields()
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        wrong(format!("no field is called {:?}", label.field)).remedy(format!(
            "put the field into a schema and pass it with --schema; known are: {}",
            names.join(", ")
        ))
    })?;
    if !field.policy.writers.xdp {
        return Err(wrong(format!(
            "the schema of {} lets no XDP program write it",
            field.owner
        ))
        .remedy("add \"xdp\" to the field's writers"));
    }
    if field.kind.size() > LABEL_VALUE_MAX {
        return Err(
            wrong(format!("a label cannot set a field of type {}", field.kind)).remedy(format!(
                "labels set fields of at most {LABEL_VALUE_MAX} bytes"
            )),
        );
    }
    let named = schemas
        .iter()
        .find_map(|schema| schema.by_name(&label.field));
    let value = match named {
        Some(named) => named.parse_value(&label.value),
        None => Value::parse(field.kind, &label.value),
    };
    let value = value.map_err(|wanted| {
        wrong(format!(
            "{:?} is no value for {}: {}",
            label.value, field.name, field.kind
        ))
        .remedy(format!("write {wanted}"))
    })?;
    let bytes = value.encode(field.kind).unwrap_or_default();
    Ok((field.tlv, bytes))
}

/// A prefix of IPv6 addresses; one of IPv4 addresses lies in `::ffff:0:0/96`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Prefix {
    address: u128,
    length: u8,
}

impl Prefix {
    const IPV4_LENGTH: u8 = 96;
    const IPV4: Self = Self {
        address: 0xffff << 32,
        length: Self::IPV4_LENGTH,
    };

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "the prefix is no IP address")?;
        let (bits, offset) = match address {
            IpAddr::V4(_) => (32, Self::IPV4_LENGTH),
            IpAddr::V6(_) => (128, 0),
        };
        let length: u8 = match length {
            Some(length) => length
                .parse()
                .map_err(|_| "the prefix length is no number")?,
            None => bits,
        };
        if length > bits {
            return Err("the prefix is longer than the address");
        }
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let length = length + offset;
        let address = u128::from(address);
        if address & !Self::mask(length) != 0 {
            return Err("the address has bits beyond the prefix length");
        }
        Ok(Self { address, length })
    }

    fn contains(&self, other: &Self) -> bool {
        self.length <= other.length && other.address & Self::mask(self.length) == self.address
    }

    fn key(&self) -> [u8; KEY_SIZE] {
        let mut key = [0; KEY_SIZE];
        key[..4].copy_from_slice(&u32::from(self.length).to_ne_bytes());
        key[4..].copy_from_slice(&self.address.to_be_bytes());
        key
    }

    fn mask(length: u8) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if Self::IPV4.contains(self) {
            let address = std::net::Ipv4Addr::from(self.address as u32);
            write!(f, "{address}/{}", self.length - Self::IPV4_LENGTH)
        } else {
            write!(
                f,
                "{}/{}",
                std::net::Ipv6Addr::from(self.address),
                self.length
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pktmeta_core::schema::Schema;

    fn registry() -> Registry {
        let mut registry = Registry::new();
        let schema = "owner = \"edge\"\n\
             [[field]]\nname = \"tenant\"\ntype = \"u32\"\n\
             [[field]]\nname = \"zone\"\ntype = \"u8\"\n\
             [[field]]\nname = \"odd\"\ntype = \"bytes[17]\"\n\
             [[field]]\nname = \"app_only\"\ntype = \"u8\"\nwriters = [\"app\"]\n";
        for field in Schema::parse("edge.toml", schema).unwrap().fields() {
            registry.register(&field.wanted).unwrap();
        }
        registry
    }

    fn all(texts: &[&str]) -> Result<Vec<Entry>, Error> {
        let labels: Result<Vec<Label>, _> = texts.iter().map(|text| text.parse()).collect();
        entries(&labels?, &registry(), &[])
    }

    #[test]
    fn a_longer_prefix_inherits_the_fields_it_does_not_set() {
        let entries = all(&[
            "192.0.2.0/24=tenant:7",
            "192.0.2.0/24=zone:1",
            "192.0.2.128/25=zone:2",
        ])
        .unwrap();
        let (key, value) = entries.iter().find(|(key, _)| key[0] == 96 + 25).unwrap();
        assert_eq!(
            key[4..],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 128]
        );
        assert_eq!(value[..12], [0x81, 4, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(value[24..33], [2, 1, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(value[48..], [0; 48]);
    }

    #[test]
    fn an_ipv6_default_route_does_not_shadow_ipv4_but_covers_it() {
        let entries = all(&["::/0=tenant:9", "192.0.2.0/24=zone:1"]).unwrap();
        let (_, value) = entries.iter().find(|(key, _)| key[0] == 120).unwrap();
        assert_eq!((value[0], value[24]), (0x81, 2));
    }

    #[test]
    fn a_wrong_label_says_what_is_wrong_and_what_to_write() {
        for (label, why, remedy) in [
            ("tenant:7", "no =", "PREFIX=FIELD:VALUE"),
            ("192.0.2.0/24=7", "no :", "PREFIX=FIELD:VALUE"),
            ("192.0.2/24=tenant:7", "no IP address", "PREFIX"),
            ("192.0.2.0/33=tenant:7", "longer", "PREFIX"),
            ("192.0.2.1/24=tenant:7", "bits beyond", "PREFIX"),
            ("192.0.2.0/x=tenant:7", "no number", "PREFIX"),
            (
                "192.0.2.0/24=colour:7",
                "no field is called \"colour\"",
                "known are: app_only",
            ),
            (
                "192.0.2.0/24=tenant:x",
                "\"x\" is no value for tenant: u32",
                "0 to 4294967295",
            ),
            ("192.0.2.0/24=odd:01", "bytes[17]", "at most 16 bytes"),
            ("192.0.2.0/24=app_only:1", "no XDP program", "add \"xdp\""),
        ] {
            let error = all(&[label]).unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains(remedy),
                "{label}: {error}"
            );
        }
        let error = all(&["192.0.2.0/24=zone:1", "192.0.2.0/24=zone:2"]).unwrap_err();
        assert!(error.to_string().contains("two values"), "{error}");
    }

    #[test]
    fn a_label_prints_as_it_was_written() {
        for text in [
            "192.0.2.0/24=tenant:7",
            "2001:db8::/32=zone:1",
            "::/0=zone:1",
        ] {
            assert_eq!(text.parse::<Label>().unwrap().to_string(), text);
        }
    }
}
