//! The fields that a datapath says it has.

use super::options;
use crate::{error::Error, meta};
use pktmeta_core::{FieldInfo, Registry, Tag, abi};
use std::os::fd::BorrowedFd;

/// The fields of a datapath.
#[derive(Clone, Copy)]
pub(crate) struct Fields {
    registry: &'static Registry,
    /// A bit for each type that is registered.
    known: u64,
}

const _: () = assert!(abi::FIELDS_MAX <= u64::BITS as usize);

impl Fields {
    pub(crate) const NONE: Self = Self {
        registry: &meta::NO_FIELDS,
        known: 0,
    };

    pub(crate) fn new(registry: Registry) -> Self {
        let types = registry.fields().iter().map(|field| field.tlv);
        let known = types.fold(0, |known, tlv| known | 1 << tlv.get());
        let registry = meta::intern(registry);
        Self { registry, known }
    }

    /// Asks the datapath of a socket, once for each field.
    pub(crate) fn ask(socket: BorrowedFd<'_>) -> Result<Self, Error> {
        const TYPE_AT: usize = FieldInfo::SIZE - 8;
        let mut bytes = Vec::new();
        let mut next = 1;
        while next < abi::FIELDS_MAX {
            let mut buffer = [0; options::ANSWER];
            let option = abi::PKTMETA_FIELD_INFO + next as i32;
            let answer = options::ask(socket, abi::SOL_PKTMETA, option, &mut buffer)?;
            let Some(answer) = answer.filter(|answer| answer.len() == FieldInfo::SIZE) else {
                break;
            };
            let found = usize::from(answer[TYPE_AT]);
            if !(next..abi::FIELDS_MAX).contains(&found) {
                break;
            }
            bytes.extend_from_slice(answer);
            next = found + 1;
        }
        Ok(Self::new(Registry::from_bytes(&bytes)))
    }

    pub(crate) fn registry(&self) -> &'static Registry {
        self.registry
    }

    /// True if a field with this tag's number is registered.
    pub(crate) fn know(&self, tag: Tag) -> bool {
        tag.tlv()
            .is_some_and(|tlv| self.known & 1 << tlv.get() != 0)
    }
}
