//! Names in a language, and whether they are unique there.

use crate::{error::Error, language::Language};
use std::collections::BTreeMap;

/// The names of one scope.
pub(crate) struct Identifiers {
    language: Language,
    /// The thing that has each name.
    taken: BTreeMap<String, String>,
}

impl Identifiers {
    pub(crate) fn new(language: Language) -> Self {
        Self {
            language,
            taken: BTreeMap::new(),
        }
    }

    /// Takes a name for `what`.
    pub(crate) fn take(&mut self, identifier: &str, what: &str) -> Result<(), Error> {
        match self.taken.insert(identifier.into(), what.into()) {
            None => Ok(()),
            Some(first) => Err(Error::Collision {
                language: self.language,
                identifier: identifier.into(),
                first,
                second: what.into(),
            }),
        }
    }
}

/// `rx_queue` as `RxQueue`.
pub(crate) fn camel_case(name: &str) -> String {
    let words = name.split('_');
    words
        .flat_map(|word| {
            let first = word.chars().next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(word.chars().skip(1))
        })
        .collect()
}
