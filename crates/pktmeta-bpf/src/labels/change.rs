//! Changes of labels while packets are labelled.
//!
//! A packet looks up one prefix, whose entry has all its labels. So it gets the old labels or the
//! new ones, if entries change in the right order: no address may meanwhile fall to a prefix that
//! is neither its old one nor its new one.

use super::{
    label::Label,
    prefix::Prefix,
    table::{Entry, Given, read_entries},
};
use crate::{
    dir::Dir,
    error::{Context, Error, ErrorKind},
    stores,
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta_core::schema::Dictionary;
use std::collections::{BTreeMap, BTreeSet};

/// A change of labels.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// Adds these. They replace a prefix's value for the same field.
    Add(Vec<Label>),
    /// Removes these.
    Remove(Vec<Removal>),
    /// Replaces all labels by these.
    Replace(Vec<Label>),
}

/// Labels to be removed: all of a `PREFIX`, or the one of `PREFIX=FIELD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    prefix: Prefix,
    field: Option<String>,
}

impl std::str::FromStr for Removal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (prefix, field) = match text.split_once('=') {
            Some((prefix, field)) => (prefix, Some(field.into())),
            None => (text, None),
        };
        let prefix = Prefix::parse(prefix).map_err(|why| {
            Error::new(ErrorKind::Invalid, format!("label {text:?}"), why)
                .with_remedy("write PREFIX or PREFIX=FIELD, such as 192.0.2.0/24=tenant")
        })?;
        Ok(Self { prefix, field })
    }
}

/// How many prefixes a change concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changed {
    /// Prefixes that had no labels before.
    pub added: usize,
    /// Prefixes with other labels than before, their own or those of shorter prefixes around them.
    pub changed: usize,
    /// Prefixes that have no labels any more.
    pub removed: usize,
    /// Prefixes that have labels now.
    pub prefixes: usize,
}

/// A checked change of one program's labels: only the kernel can still refuse it.
pub(crate) struct Planned {
    labels: MapHandle,
    hits: MapHandle,
    before: Vec<Entry>,
    after: Vec<Entry>,
}

impl Planned {
    /// `name` is the interface's, for messages; `pins` are those of its program.
    pub(crate) fn new(
        name: &str,
        pins: &Dir,
        change: &Change,
        dictionary: &Dictionary,
    ) -> Result<Self, Error> {
        let labels = pins.open_map(stores::LABELS.pin)?;
        let hits = pins.open_map(stores::LABEL_HITS.pin)?;
        if labels.max_entries() == 1 {
            let error = Error::new(
                ErrorKind::Unusable,
                format!("label packets of {name}"),
                "its program looks no address up: it came up without labels",
            );
            return Err(error.with_remedy(format!(
                "`pktmeta down --iface {name}`, and `pktmeta up` with --label, or with --labels \
                 and an empty file"
            )));
        }
        let before = read_entries(&labels);
        let given = change.of(Given::from_entries(&before), dictionary)?;
        let (prefixes, most) = (given.0.len(), hits.max_entries().min(labels.max_entries()));
        if prefixes > most as usize {
            let why = format!("{prefixes} prefixes are more than its maps have room for, {most}");
            let error = Error::new(ErrorKind::Invalid, format!("label packets of {name}"), why);
            return Err(error.with_remedy(format!(
                "`pktmeta down --iface {name}` and `pktmeta up` with all of them make larger ones"
            )));
        }
        let mut numbers = Numbers::of(&before);
        let after = given.entries(dictionary, |prefix| numbers.take(prefix))?;
        Ok(Self {
            labels,
            hits,
            before,
            after,
        })
    }

    /// Writes the change into the maps.
    pub(crate) fn apply(&self) -> Result<Changed, Error> {
        let tried = || "change the labels".to_owned();
        let mut changed = Changed {
            prefixes: self.after.len(),
            ..Changed::default()
        };
        for step in steps(&self.before, &self.after) {
            match step {
                Step::Add(entry) => {
                    // The number may have been another prefix's.
                    self.forget_hits(entry.number()).context(tried)?;
                    self.set(entry).context(tried)?;
                    changed.added += 1;
                }
                Step::Change(entry) => {
                    self.set(entry).context(tried)?;
                    changed.changed += 1;
                }
                Step::Delete(prefix) => {
                    self.labels.delete(&prefix.key()).context(tried)?;
                    changed.removed += 1;
                }
            }
        }
        Ok(changed)
    }

    fn set(&self, entry: &Entry) -> libbpf_rs::Result<()> {
        self.labels
            .update(&entry.prefix.key(), &entry.value, MapFlags::ANY)
    }

    fn forget_hits(&self, number: u32) -> libbpf_rs::Result<()> {
        let cpus = libbpf_rs::num_possible_cpus()?;
        let zeros = vec![0_u64.to_ne_bytes().to_vec(); cpus];
        self.hits
            .update_percpu(&number.to_ne_bytes(), &zeros, MapFlags::ANY)
    }
}

/// The labels of the program whose maps are pinned in a directory, as people write them.
pub(crate) fn list(pins: &Dir, dictionary: &Dictionary) -> Result<Vec<Label>, Error> {
    let labels = pins.open_map(stores::LABELS.pin)?;
    Ok(Given::from_entries(&read_entries(&labels)).labels(dictionary))
}

impl Change {
    fn of(&self, mut given: Given, dictionary: &Dictionary) -> Result<Given, Error> {
        match self {
            Self::Replace(labels) => return Given::new(labels, dictionary),
            Self::Add(labels) => {
                for (prefix, values) in Given::new(labels, dictionary)?.0 {
                    given.0.entry(prefix).or_default().extend(values);
                }
            }
            Self::Remove(removals) => {
                for removal in removals {
                    removal.take_out(&mut given, dictionary)?;
                }
            }
        }
        Ok(given)
    }
}

impl Removal {
    fn take_out(&self, given: &mut Given, dictionary: &Dictionary) -> Result<(), Error> {
        let prefix = self.prefix;
        let gone = match (&self.field, given.0.get_mut(&prefix)) {
            (_, None) => false,
            (None, Some(_)) => given.0.remove(&prefix).is_some(),
            (Some(field), Some(values)) => {
                let field = dictionary.registry().by_name(field);
                let gone = field.is_some_and(|field| values.remove(&field.tlv).is_some());
                if values.is_empty() {
                    given.0.remove(&prefix);
                }
                gone
            }
        };
        if gone {
            return Ok(());
        }
        let label = match &self.field {
            Some(field) => format!("{prefix}={field}"),
            None => prefix.to_string(),
        };
        let tried = format!("remove the label {label}");
        let error = Error::new(ErrorKind::NotFound, tried, "there is no such label");
        Err(error.with_remedy(
            "`pktmeta label list` shows all; one of a shorter prefix is that prefix's",
        ))
    }
}

/// The numbers under which the hits of prefixes are counted. A prefix that stays keeps its number.
struct Numbers {
    had: BTreeMap<Prefix, u32>,
    taken: BTreeSet<u32>,
    next: u32,
}

impl Numbers {
    fn of(entries: &[Entry]) -> Self {
        let had: BTreeMap<_, _> = entries.iter().map(|it| (it.prefix, it.number())).collect();
        Self {
            taken: had.values().copied().collect(),
            had,
            next: 0,
        }
    }

    fn take(&mut self, prefix: &Prefix) -> u32 {
        if let Some(&number) = self.had.get(prefix) {
            return number;
        }
        while self.taken.contains(&self.next) {
            self.next += 1;
        }
        self.next += 1;
        self.next - 1
    }
}

/// A change of one entry.
#[derive(Debug)]
enum Step<'a> {
    Add(&'a Entry),
    Change(&'a Entry),
    Delete(Prefix),
}

/// The changes that lead from one table to another, in an order in which every address has at each
/// moment its labels in the one or in the other.
///
/// New and changed entries are written first, longer prefixes before shorter ones: until an entry
/// is written, its addresses keep their old labels. Then old entries are removed, shorter prefixes
/// before longer ones: until an entry is removed, its addresses have its labels, and then they fall
/// to a prefix that stays.
fn steps<'a>(before: &'a [Entry], after: &'a [Entry]) -> Vec<Step<'a>> {
    let had: BTreeMap<_, _> = before.iter().map(|it| (it.prefix, it)).collect();
    let has: BTreeSet<_> = after.iter().map(|it| it.prefix).collect();
    // In this order, a prefix comes before the prefixes in it.
    let set = after
        .iter()
        .rev()
        .filter_map(|entry| match had.get(&entry.prefix) {
            None => Some(Step::Add(entry)),
            Some(old) if old.value == entry.value => None,
            Some(_) => Some(Step::Change(entry)),
        });
    let gone = before.iter().filter(|entry| !has.contains(&entry.prefix));
    let gone = gone.map(|entry| Step::Delete(entry.prefix));
    set.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pktmeta_core::schema::Schema;

    fn dictionary() -> Dictionary {
        let schema = "owner = \"edge\"\n\
             [[field]]\nname = \"tenant\"\ntype = \"u32\"\n\
             [[field]]\nname = \"zone\"\ntype = \"u8\"\n";
        let schema = Schema::parse("edge.toml", schema).unwrap();
        Dictionary::new(Schema::registry([&schema]).unwrap(), [&schema])
    }

    fn labels(texts: &[String]) -> Vec<Label> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// The labels of a packet from an address, without the bytes of its entry that only the loader
    /// reads.
    fn found(table: &BTreeMap<Prefix, Entry>, address: &Prefix) -> Option<Vec<u8>> {
        let around = table
            .values()
            .filter(|entry| entry.prefix.contains(address));
        let longest = around.max_by_key(|entry| entry.prefix)?;
        let labels = longest.value.chunks_exact(24).take(4);
        Some(
            labels
                .flat_map(|label| [&label[..2], &label[8..]].concat())
                .collect(),
        )
    }

    /// A random table over a few nested prefixes.
    fn table(seed: &mut u64) -> Vec<String> {
        let mut random = |most: u64| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (*seed >> 33) % most
        };
        let mut texts = Vec::new();
        for length in [0, 1, 2, 3, 4] {
            for prefix in 0..1_u64 << length {
                if random(3) > 0 {
                    continue;
                }
                let address = (prefix << 8 >> length) as u8;
                let field = ["tenant", "zone"][random(2) as usize];
                texts.push(format!("{address}.0.0.0/{length}={field}:{}", random(9)));
            }
        }
        texts
    }

    #[test]
    fn every_address_has_the_labels_of_before_or_of_after_at_each_step() {
        let dictionary = dictionary();
        let mut seed = 1;
        let mut seen = 0;
        for _ in 0..500 {
            let [before, after] = [(); 2].map(|()| {
                let given = Given::new(&labels(&table(&mut seed)), &dictionary).unwrap();
                given.entries(&dictionary, |_| 0).unwrap()
            });
            let as_table = |entries: &[Entry]| -> BTreeMap<Prefix, Entry> {
                entries.iter().map(|it| (it.prefix, it.clone())).collect()
            };
            let (old, new) = (as_table(&before), as_table(&after));
            let mut now = old.clone();
            for step in steps(&before, &after) {
                match step {
                    Step::Add(entry) | Step::Change(entry) => {
                        now.insert(entry.prefix, entry.clone());
                    }
                    Step::Delete(prefix) => drop(now.remove(&prefix).unwrap()),
                }
                for address in 0..16_u8 {
                    let address = Prefix::parse(&format!("{}.0.0.0", address << 4)).unwrap();
                    let has = found(&now, &address);
                    let right = [found(&old, &address), found(&new, &address)];
                    assert!(right.contains(&has), "{before:?} to {after:?}");
                    seen += 1;
                }
            }
            assert_eq!(now, new);
        }
        assert!(seen > 20_000, "{seen}");
    }

    #[test]
    fn what_is_listed_makes_the_same_table_again_inherited_labels_or_not() {
        let dictionary = dictionary();
        let mut seed = 7;
        for _ in 0..200 {
            let given = Given::new(&labels(&table(&mut seed)), &dictionary).unwrap();
            let entries = given.entries(&dictionary, |_| 0).unwrap();
            let read = Given::from_entries(&entries);
            assert_eq!(read, given);
            assert_eq!(
                Given::new(&read.labels(&dictionary), &dictionary).unwrap(),
                given
            );
        }
    }

    #[test]
    fn a_label_that_is_removed_uncovers_that_of_the_prefix_around_it() {
        let dictionary = dictionary();
        let text = [
            "10.0.0.0/8=tenant:1",
            "10.1.0.0/16=tenant:2",
            "10.1.0.0/16=zone:3",
        ];
        let given = Given::new(&labels(&text.map(String::from)), &dictionary).unwrap();
        let remove = |text: &str| Change::Remove(vec![text.parse().unwrap()]);
        let left = remove("10.1.0.0/16=tenant")
            .of(given.clone(), &dictionary)
            .unwrap();
        let texts = |given: &Given| -> Vec<String> {
            let labels = given.labels(&dictionary);
            labels.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&left), ["10.0.0.0/8=tenant:1", "10.1.0.0/16=zone:3"]);
        let left = remove("10.1.0.0/16")
            .of(given.clone(), &dictionary)
            .unwrap();
        assert_eq!(texts(&left), ["10.0.0.0/8=tenant:1"]);
        // A label of another prefix cannot be removed from this one.
        for none in ["10.0.0.0/8=zone", "10.2.0.0/16", "10.1.0.0/16=nothing"] {
            let error = remove(none)
                .of(given.clone(), &dictionary)
                .unwrap_err()
                .to_string();
            assert!(error.contains("no such label"), "{error}");
        }
    }

    #[test]
    fn a_prefix_that_stays_keeps_its_number_and_a_new_one_gets_a_free_one() {
        let dictionary = dictionary();
        let entries = |texts: &[&str], numbers: &mut dyn FnMut(&Prefix) -> u32| {
            let texts: Vec<_> = texts.iter().map(|&text| text.into()).collect();
            let given = Given::new(&labels(&texts), &dictionary).unwrap();
            given.entries(&dictionary, numbers).unwrap()
        };
        let mut count = 0..;
        let before = entries(
            &[
                "10.0.0.0/8=zone:1",
                "11.0.0.0/8=zone:1",
                "12.0.0.0/8=zone:1",
            ],
            &mut |_| count.next().unwrap(),
        );
        let mut numbers = Numbers::of(&before[1..]);
        let after = entries(
            &[
                "9.0.0.0/8=zone:1",
                "11.0.0.0/8=zone:2",
                "12.0.0.0/8=zone:1",
                "13.0.0.0/8=zone:1",
            ],
            &mut |prefix| numbers.take(prefix),
        );
        let numbers: Vec<_> = after.iter().map(Entry::number).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
    }
}
