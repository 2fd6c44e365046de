//! Why a field was not registered.

use super::field::{FieldInfo, Wanted};
use crate::record::TlvType;
use alloc::string::String;
use core::fmt;

/// Why a field was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name has another meaning on this host.
    Taken {
        /// The meaning it has.
        taken: FieldInfo,
    },
    /// Every TLV type is given away.
    Full,
}

impl RegisterError {
    /// Says what became of `wanted`, with both sides of a conflict.
    #[must_use]
    pub fn describe(&self, wanted: &Wanted) -> String {
        let Wanted {
            name, owner, kind, ..
        } = wanted;
        match self {
            Self::Taken { taken } => alloc::format!(
                "field {name}: owner {owner} wants it as {kind}, but owner {} has it as {} on this \
                 host",
                taken.owner,
                taken.kind
            ),
            Self::Full => alloc::format!(
                "field {name} of owner {owner}: all {} field numbers of this host are given away",
                TlvType::MAX
            ),
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "rename one of the two, or make both schemas say the same",
            Self::Full => {
                "numbers of removed fields are free again once the registry is: `pktmeta down`, \
                 `pktmeta registry remove --all`, and `up` again"
            }
        }
    }
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { taken } => {
                write!(
                    f,
                    "field {} is {} of owner {}",
                    taken.name, taken.kind, taken.owner
                )
            }
            Self::Full => f.write_str("no field number is left"),
        }
    }
}

impl core::error::Error for RegisterError {}
