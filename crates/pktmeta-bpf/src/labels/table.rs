//! Labels as the XDP program looks them up: `struct pktmeta_label_key` and `struct pktmeta_labels`.

use super::{label::Label, prefix::Prefix};
use crate::{
    dir::Dir,
    error::{Context, Error, ErrorKind},
    hook::Writer,
    object::Object,
    stores,
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta_core::{
    Tag, TlvType, Value,
    schema::{Dictionary, Known},
};
use std::collections::BTreeMap;

/// The labels of a prefix as they are in the kernel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LabelStatus {
    /// The prefix, such as `192.0.2.0/24`.
    pub prefix: String,
    /// The labels of packets from it, with those of shorter prefixes around it.
    pub values: Vec<Known>,
    /// Packets that got these labels, because no longer prefix has them.
    pub packets: u64,
}

/// Writes labels into a loaded program's empty map.
pub(crate) fn store(object: &Object, entries: &[Entry]) -> Result<(), Error> {
    let tried = || "store the labels".to_owned();
    if entries.is_empty() {
        return Ok(());
    }
    let keys: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry.prefix.key())
        .collect();
    let values: Vec<u8> = entries.iter().flat_map(|entry| entry.value).collect();
    let count = u32::try_from(entries.len()).context(tried)?;
    object
        .map(stores::LABELS.map)?
        .update_batch(&keys, &values, count, MapFlags::ANY, MapFlags::ANY)
        .context(tried)
}

/// The labels of the program whose maps are pinned in `directory`, in the order of their prefixes.
pub(crate) fn read(directory: &Dir, dictionary: &Dictionary) -> Result<Vec<LabelStatus>, Error> {
    let [labels, hits] = [stores::LABELS, stores::LABEL_HITS].map(|it| directory.open_map(it.pin));
    let (labels, hits) = (labels?, hits?);
    Ok(read_entries(&labels)
        .iter()
        .map(|entry| LabelStatus {
            prefix: entry.prefix.to_string(),
            packets: read_hits(&hits, entry.number()).unwrap_or(0),
            values: stored(&entry.value)
                .filter_map(|label| {
                    let field = dictionary.registry().by_type(label.tlv)?;
                    Some(dictionary.known(field, Value::decode(field.kind, label.value)?))
                })
                .collect(),
        })
        .collect())
}

fn read_hits(hits: &MapHandle, number: u32) -> Option<u64> {
    let counts = hits
        .lookup_percpu(&number.to_ne_bytes(), MapFlags::ANY)
        .ok()??;
    let counts = counts.iter().filter_map(|count| count.first_chunk());
    Some(counts.map(|count| u64::from_ne_bytes(*count)).sum())
}

/// An entry of the map: a prefix, and the labels of packets from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(super) prefix: Prefix,
    pub(super) value: [u8; VALUE_SIZE],
}

impl Entry {
    /// The number under which its hits are counted.
    pub(super) fn number(&self) -> u32 {
        let bytes = self.value[NUMBER_AT..].first_chunk();
        bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }
}

/// The labels that prefixes were given, without those of shorter prefixes around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given(pub(super) BTreeMap<Prefix, Values>);

/// Values by the number of their field.
pub(super) type Values = BTreeMap<TlvType, Vec<u8>>;

impl Given {
    /// Labels as people write them.
    pub(super) fn new(labels: &[Label], dictionary: &Dictionary) -> Result<Self, Error> {
        let mut given: BTreeMap<Prefix, Values> = BTreeMap::new();
        for label in labels {
            let (tlv, value) = resolve(label, dictionary)?;
            if let Some(other) = given
                .entry(label.prefix)
                .or_default()
                .insert(tlv, value.clone())
                && other != value
            {
                let why = format!("{} gets two values for {}", label.prefix, label.field);
                let tried = format!("label \"{label}\"");
                let error = Error::new(ErrorKind::Invalid, tried, why);
                return Err(error.with_remedy("keep one of the two"));
            }
        }
        Ok(Self(given))
    }

    /// The labels that entries of the map were made from.
    pub(super) fn from_entries(entries: &[Entry]) -> Self {
        let given = entries.iter().map(|entry| {
            let own = stored(&entry.value).filter(|label| !label.inherited);
            let values = own.map(|label| (label.tlv, label.value.to_vec()));
            (entry.prefix, values.collect())
        });
        Self(given.collect())
    }

    /// The labels as people write them, in the order of prefixes.
    pub(super) fn labels(&self, dictionary: &Dictionary) -> Vec<Label> {
        let labels = self.0.iter().flat_map(|(&prefix, values)| {
            values.iter().filter_map(move |(&tlv, value)| {
                let field = dictionary.registry().by_type(tlv)?;
                let value = dictionary.known(field, Value::decode(field.kind, value)?);
                Some(Label {
                    prefix,
                    field: field.name.to_string(),
                    value: value.text,
                })
            })
        });
        labels.collect()
    }

    /// Entries of the longest-prefix-match map that give every address the labels of all prefixes
    /// that it is in: for each field the longest such prefix counts. `number` says where the hits
    /// of a prefix are counted.
    pub(super) fn entries(
        &self,
        dictionary: &Dictionary,
        mut number: impl FnMut(&Prefix) -> u32,
    ) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::with_capacity(self.0.len());
        // The prefixes around the one at hand, the longest last: in their order, a prefix comes
        // right before those in it.
        let mut around: Vec<(Prefix, Values)> = Vec::new();
        for (&prefix, own) in &self.0 {
            while around
                .pop_if(|(other, _)| !other.contains(&prefix))
                .is_some()
            {}
            let mut values = around.last().map_or_else(Values::new, |it| it.1.clone());
            values.extend(own.clone());
            if values.len() > LABELS_MAX {
                let why = format!("{} fields are too many for one packet", values.len());
                let tried = format!("labels of {prefix}");
                let error = Error::new(ErrorKind::Invalid, tried, why);
                return Err(error.with_remedy(format!(
                    "give a prefix and those around it at most {LABELS_MAX} fields"
                )));
            }
            let mut value = [0; VALUE_SIZE];
            for (label, (tlv, bytes)) in value.chunks_exact_mut(LABEL_SIZE).zip(&values) {
                if let Some(field) = dictionary.registry().by_type(*tlv) {
                    label[0] = field.tag().byte();
                    label[1] = bytes.len() as u8; // at most LABEL_VALUE_MAX
                    label[2] = field.place.unwrap_or(0);
                    label[INHERITED_AT] = u8::from(!own.contains_key(tlv));
                    label[LABEL_VALUE_AT..LABEL_VALUE_AT + bytes.len()].copy_from_slice(bytes);
                }
            }
            value[NUMBER_AT..NUMBER_AT + size_of::<u32>()]
                .copy_from_slice(&number(&prefix).to_ne_bytes());
            entries.push(Entry { prefix, value });
            around.push((prefix, values));
        }
        Ok(entries)
    }
}

/// The entries of labels in a new map.
pub(crate) fn entries(labels: &[Label], dictionary: &Dictionary) -> Result<Vec<Entry>, Error> {
    let mut numbers = 0..;
    let given = Given::new(labels, dictionary)?;
    given.entries(dictionary, |_| numbers.next().unwrap_or(u32::MAX))
}

/// All entries of a map, in the order of their prefixes.
pub(super) fn read_entries(labels: &MapHandle) -> Vec<Entry> {
    let mut entries: Vec<_> = labels
        .keys()
        .filter_map(|key| {
            let value = labels.lookup(&key, MapFlags::ANY).ok()??;
            Some(Entry {
                prefix: Prefix::from_key(&key)?,
                value: value.try_into().ok()?,
            })
        })
        .collect();
    entries.sort_by_key(|entry| entry.prefix);
    entries
}

/// The fields that an entry sets.
pub(crate) fn fields_of(value: &[u8]) -> Vec<TlvType> {
    stored(value).map(|label| label.tlv).collect()
}

/// One of the labels of an entry: `struct pktmeta_label`.
struct Stored<'a> {
    tlv: TlvType,
    /// True if it is the label of a shorter prefix.
    inherited: bool,
    value: &'a [u8],
}

/// The labels of an entry's value.
fn stored(value: &[u8]) -> impl Iterator<Item = Stored<'_>> {
    let labels = value.chunks_exact(LABEL_SIZE);
    labels.filter_map(|label| {
        let value = &label[LABEL_VALUE_AT..];
        Some(Stored {
            tlv: Tag::from_byte(label[0])?.tlv()?,
            inherited: label[INHERITED_AT] != 0,
            value: &value[..value.len().min(label[1].into())],
        })
    })
}

/// `struct pktmeta_labels`
pub(super) const VALUE_SIZE: usize = NUMBER_AT + 8;
const NUMBER_AT: usize = LABELS_MAX * LABEL_SIZE;
const LABELS_MAX: usize = 4;
const LABEL_SIZE: usize = 24;
const INHERITED_AT: usize = 3;
const LABEL_VALUE_AT: usize = 8;
const LABEL_VALUE_MAX: u8 = 16;

fn resolve(label: &Label, dictionary: &Dictionary) -> Result<(TlvType, Vec<u8>), Error> {
    let registry = dictionary.registry();
    let wrong = |why: String| Error::new(ErrorKind::Invalid, format!("label \"{label}\""), why);
    let field = registry.by_name(&label.field).ok_or_else(|| {
        let names: Vec<_> = registry
            .fields()
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        wrong(format!("no field is called {:?}", label.field)).with_remedy(format!(
            "put the field into a schema and pass it with --schema; known are: {}",
            names.join(", ")
        ))
    })?;
    if !Writer::Xdp.may_write(&field.policy) {
        return Err(wrong(format!(
            "the schema of {} lets no XDP program write it",
            field.owner
        ))
        .with_remedy("add \"xdp\" to the field's writers"));
    }
    if field.kind.size() > LABEL_VALUE_MAX {
        return Err(
            wrong(format!("a label cannot set a field of type {}", field.kind)).with_remedy(
                format!("labels set fields of at most {LABEL_VALUE_MAX} bytes"),
            ),
        );
    }
    let value = dictionary.parse_value(field, &label.value);
    let value = value.map_err(|error| {
        wrong(format!(
            "{:?} is no value for {}: {}",
            label.value, field.name, field.kind
        ))
        .with_remedy(format!("write {}", error.wanted()))
    })?;
    let bytes = value.encode(field.kind).unwrap_or_default();
    Ok((field.tlv, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{labels::prefix::KEY_SIZE, structures};
    use pktmeta_core::schema::Schema;
    use std::net::Ipv4Addr;

    #[test]
    fn keys_and_labels_are_where_the_program_looks_for_them() {
        let header = "hooks/xdp/xdp.h";
        let key = [("prefix_length", 0), ("version", 4), ("address", 8)];
        structures::check(header, "pktmeta_label_key", KEY_SIZE, &key);
        let label = [
            ("tag", 0),
            ("size", 1),
            ("place", 2),
            ("value", LABEL_VALUE_AT),
        ];
        structures::check(header, "pktmeta_label", LABEL_SIZE, &label);
        structures::check(
            header,
            "pktmeta_labels",
            VALUE_SIZE,
            &[("number", NUMBER_AT)],
        );
    }

    fn dictionary() -> Dictionary {
        let schema = "owner = \"edge\"\n\
             [[field]]\nname = \"tenant\"\ntype = \"u32\"\n\
             [[field]]\nname = \"zone\"\ntype = \"u8\"\n\
             [[field]]\nname = \"odd\"\ntype = \"bytes[17]\"\n\
             [[field]]\nname = \"odd8\"\ntype = \"u8\"\n\
             [[field]]\nname = \"app_only\"\ntype = \"u8\"\nwriters = [\"app\"]\n";
        let schema = Schema::parse("edge.toml", schema).unwrap();
        Dictionary::new(Schema::registry([&schema]).unwrap(), [&schema])
    }

    fn all(texts: &[&str]) -> Result<Vec<Entry>, Error> {
        let labels: Result<Vec<Label>, _> = texts.iter().map(|text| text.parse()).collect();
        entries(&labels?, &dictionary())
    }

    fn key_and_value(entry: &Entry) -> ([u8; KEY_SIZE], [u8; VALUE_SIZE]) {
        (entry.prefix.key(), entry.value)
    }

    #[test]
    fn a_longer_prefix_inherits_the_fields_it_does_not_set() {
        let entries = all(&[
            "192.0.2.0/24=tenant:7",
            "192.0.2.0/24=zone:1",
            "192.0.2.128/25=zone:2",
        ])
        .unwrap();
        let (key, value) = entries
            .iter()
            .map(key_and_value)
            .find(|(key, _)| key[0] == 32 + 25)
            .unwrap();
        assert_eq!(key[4..12], [0, 0, 0, 4, 192, 0, 2, 128]);
        assert_eq!(key[12..], [0; 12]);
        assert_eq!(value[..12], [0x81, 4, 0, 1, 0, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(value[24..33], [2, 1, 0, 0, 0, 0, 0, 0, 2], "its own");
        assert_eq!(value[48..96], [0; 48]);
        assert_eq!(value[96], 1, "the second in the order of prefixes");
    }

    #[test]
    fn a_prefix_of_one_version_of_ip_gives_nothing_to_the_other() {
        let entries = all(&["::/0=tenant:9", "0.0.0.0/0=odd8:1", "192.0.2.0/24=zone:1"]).unwrap();
        let versions: Vec<_> = entries
            .iter()
            .map(key_and_value)
            .map(|(key, _)| (key[0], key[7]))
            .collect();
        assert_eq!(versions, [(32, 4), (56, 4), (32, 6)]);
        let tags: Vec<_> = entries
            .iter()
            .map(key_and_value)
            .map(|(_, value)| (fields_of(&value).len(), value[0]))
            .collect();
        assert_eq!(tags, [(1, 4), (2, 2), (1, 0x81)]);
    }

    #[test]
    fn a_prefix_inherits_from_those_around_it_and_from_no_neighbour() {
        let entries = all(&[
            "10.0.0.0/8=tenant:1",
            "10.1.0.0/16=zone:1",
            "10.1.1.0/24=tenant:2",
            "10.2.0.0/16=zone:2",
            "11.0.0.0/8=zone:3",
        ])
        .unwrap();
        let (tenant, zone) = (0x81, 2);
        let values = entries.iter().map(|entry| {
            let labels = entry.value.chunks_exact(LABEL_SIZE);
            let found = |tag| labels.clone().find(|label| label[0] == tag).map(|it| it[8]);
            (found(tenant), found(zone))
        });
        assert_eq!(
            values.collect::<Vec<_>>(),
            [
                (Some(1), None),
                (Some(1), Some(1)),
                (Some(2), Some(1)),
                (Some(1), Some(2)),
                (None, Some(3)),
            ]
        );
    }

    #[test]
    fn many_labels_take_a_moment_only() {
        let labels: Vec<Label> = (0..60_000u32)
            .map(|at| {
                format!("{}=tenant:{at}", Ipv4Addr::from(at << 8))
                    .parse()
                    .unwrap()
            })
            .collect();
        let started = std::time::Instant::now();
        assert_eq!(entries(&labels, &dictionary()).unwrap().len(), 60_000);
        // It was minutes when each prefix was compared with every other.
        assert!(started.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn a_file_has_a_label_a_line_and_errors_name_the_line() {
        let text = "# tenants\n\n192.0.2.0/24=tenant:7\r\n  2001:db8::/32=tenant:8";
        let labels = Label::parse_file("labels", text).unwrap();
        let texts: Vec<_> = labels.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.0.2.0/24=tenant:7", "2001:db8::/32=tenant:8"]);
        let error = Label::parse_file("labels", "# one\n192.0.2.0/24").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("labels:2: label \"192.0.2.0/24\"")
        );
        assert!(
            error.remedy().unwrap().contains("PREFIX=FIELD:VALUE"),
            "{error:?}"
        );
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
            let error = format!("{:?}", all(&[label]).unwrap_err());
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
