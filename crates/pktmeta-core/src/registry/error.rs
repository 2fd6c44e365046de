//! Why a field was not registered.

use super::field::{FieldInfo, Wanted};
use crate::{
    field::{FieldName, Kind},
    record::TlvType,
};
use core::fmt;

/// Why a field was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name has another meaning on this host.
    Taken {
        /// The owner who wants it for another.
        owner: FieldName,
        /// The type that this owner wants.
        kind: Kind,
        /// The field that has the name.
        taken: FieldInfo,
    },
    /// Every TLV type is given away.
    Full {
        /// The field that was to be registered.
        wanted: Wanted,
    },
}

impl RegisterError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "rename one of the two, or make both schemas say the same",
            Self::Full { .. } => {
                "numbers of removed fields are free again once the registry is: `pktmeta down`, \
                 `pktmeta registry remove --all`, and `up` again"
            }
        }
    }
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { owner, kind, taken } => write!(
                f,
                "field {}: owner {owner} wants it as {kind}, but owner {} has it as {} on this \
                 host",
                taken.name, taken.owner, taken.kind
            ),
            Self::Full { wanted } => write!(
                f,
                "field {} of owner {}: all {} field numbers of this host are given away",
                wanted.name,
                wanted.owner,
                TlvType::MAX
            ),
        }
    }
}

impl core::error::Error for RegisterError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use alloc::string::ToString;

    #[test]
    fn why_a_field_was_not_registered_is_said_with_what_to_do() {
        let [ours, theirs] = ["edge", "dns"].map(|owner| {
            let (name, kind) = ("tenant".parse().unwrap(), "u32".parse().unwrap());
            Wanted::new(name, owner.parse().unwrap(), kind)
        });
        let mut registry = Registry::new();
        registry.register(&theirs).unwrap();
        let taken = registry.register(&ours).unwrap_err();
        assert_eq!(
            taken.to_string(),
            "field tenant: owner edge wants it as u32, but owner dns has it as u32 on this host"
        );
        assert!(taken.remedy().contains("rename one of the two"));
        let full = RegisterError::Full { wanted: ours };
        assert_eq!(
            full.to_string(),
            "field tenant of owner edge: all 63 field numbers of this host are given away"
        );
        assert!(full.remedy().contains("pktmeta registry remove --all"));
    }
}
