//! Names of an enumeration's numbers, or of a set's bits.

use super::{
    mistake::{Mistake, name},
    source::FieldSource,
};
use crate::field::Kind;
use std::collections::BTreeMap;

/// Names of numbers, or of bits by their numbers, in the order of the numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    names: Vec<(String, u64)>,
}

impl Names {
    /// True if nothing has a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Each name and its number.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names
            .iter()
            .map(|(name, number)| (name.as_str(), *number))
    }

    /// The number called `name`.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.iter()
            .find_map(|(other, number)| (other == name).then_some(number))
    }

    /// The name of a number.
    #[must_use]
    pub fn name(&self, number: u64) -> Option<&str> {
        let at = self
            .names
            .binary_search_by_key(&number, |(_, other)| *other);
        at.ok().map(|at| self.names[at].0.as_str())
    }

    pub(super) fn check(kind: Kind, source: &FieldSource) -> Result<Self, Mistake> {
        let bits = 8 * u64::from(kind.size());
        let largest = match kind {
            Kind::Enum { .. } => u64::MAX >> (64 - bits),
            Kind::Bits { .. } => bits - 1,
            _ => {
                return match &source.names {
                    None => Ok(Self::default()),
                    Some(names) => {
                        let message = format!("a {kind} field has no names for its values");
                        let remedy = "take `names` out, or use enum8 to enum32 or bits8 to bits64";
                        Err(Mistake(names.span(), message, remedy.into()))
                    }
                };
            }
        };
        let given = source
            .names
            .as_ref()
            .filter(|names| !names.get_ref().is_empty());
        let Some(given) = given else {
            let span = source
                .names
                .as_ref()
                .map_or(source.kind.span(), |names| names.span());
            let message = format!("a {kind} field needs names for its values");
            let remedy = "add names = { one_name = 0, another = 1 }";
            return Err(Mistake(span, message, remedy.into()));
        };
        let mut names: BTreeMap<u64, &str> = BTreeMap::new();
        for (key, number) in given.get_ref() {
            name(key, "a value")?;
            let value = *number.get_ref();
            if value > largest {
                let message = format!("{} = {value} does not fit into {kind}", key.get_ref());
                let remedy = match kind {
                    Kind::Bits { .. } => format!("its bits are 0 to {largest}"),
                    _ => format!("its numbers are 0 to {largest}"),
                };
                return Err(Mistake(number.span(), message, remedy));
            }
            if let Some(other) = names.insert(value, key.get_ref()) {
                let message = format!("{other} and {} are both {value}", key.get_ref());
                let remedy = "give each name a number of its own";
                return Err(Mistake(number.span(), message, remedy.into()));
            }
        }
        let by_number = names.into_iter();
        Ok(Self {
            names: by_number
                .map(|(number, name)| (name.to_owned(), number))
                .collect(),
        })
    }

    /// The number called `text`; for bits, the number whose bits have the names joined with `|`.
    pub(super) fn parse(&self, kind: Kind, text: &str) -> Option<u64> {
        if !matches!(kind, Kind::Bits { .. }) {
            return self.number(text);
        }
        if text == NO_BITS {
            return Some(0);
        }
        let mut parts = text.split('|');
        parts.try_fold(0, |bits, part| {
            let rest = || {
                let rest = u64::from_str_radix(part.strip_prefix("0x")?, 16).ok()?;
                (rest >> (8 * u32::from(kind.size()) - 1) <= 1).then_some(rest)
            };
            Some(bits | self.number(part).map(|bit| 1 << bit).or_else(rest)?)
        })
    }

    /// The text that [`Names::parse`] reads back. Bits without names follow as a hexadecimal
    /// number.
    pub(super) fn display(&self, kind: Kind, number: u128) -> String {
        let Ok(number) = u64::try_from(number) else {
            return number.to_string();
        };
        if !matches!(kind, Kind::Bits { .. }) {
            return self
                .name(number)
                .map_or_else(|| number.to_string(), str::to_owned);
        }
        let mut rest = number;
        let mut parts = Vec::new();
        for (name, bit) in self.iter().filter(|(_, bit)| number & 1 << bit != 0) {
            parts.push(name.to_owned());
            rest &= !(1 << bit);
        }
        if rest != 0 {
            parts.push(format!("{rest:#x}"));
        }
        match parts.is_empty() {
            true => NO_BITS.into(),
            false => parts.join("|"),
        }
    }

    /// The text that [`Names::parse`] reads, as a phrase.
    pub(super) fn wanted(&self, kind: Kind) -> String {
        let names: Vec<_> = self.iter().map(|(name, _)| name).collect();
        match kind {
            Kind::Bits { .. } => {
                format!("some of {}, joined with |, or {NO_BITS}", names.join(", "))
            }
            _ => format!("one of {}", names.join(", ")),
        }
    }
}

/// The empty set of bits.
const NO_BITS: &str = "none";
