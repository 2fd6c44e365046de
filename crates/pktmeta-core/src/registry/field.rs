//! Fields before and after they are registered.

use super::policy::Policy;
use crate::{
    field::{FieldName, Kind},
    record::{Tag, TlvType},
};

/// A field before it has a TLV type.
///
/// ```
/// use pktmeta_core::registry::{Registry, Wanted};
///
/// let mut tenant = Wanted::new("tenant".parse()?, "edge".parse()?, "u32".parse()?);
/// tenant.policy.hot = true;
/// let mut registry = Registry::new();
/// let field = registry.register(&tenant)?;
/// assert_eq!(registry.by_name("tenant"), Some(&field));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// Its name, unique on the host.
    pub name: FieldName,
    /// The owner that defines it.
    pub owner: FieldName,
    /// Its type.
    pub kind: Kind,
    /// The policy of its owner.
    pub policy: Policy,
}

impl Wanted {
    /// A field whose owner allows nothing in particular: [`Policy::default`].
    #[must_use]
    pub fn new(name: FieldName, owner: FieldName, kind: Kind) -> Self {
        let policy = Policy::default();
        Self {
            name,
            owner,
            kind,
            policy,
        }
    }
}

/// A registered field, as `getsockopt(PKTMETA_FIELD_INFO)` describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldInfo {
    /// Its name, unique on the host.
    pub name: FieldName,
    /// The owner that defines it.
    pub owner: FieldName,
    /// Its number in records.
    pub tlv: TlvType,
    /// Its type.
    pub kind: Kind,
    /// The offset in a record where programs look for it first. It may stand elsewhere.
    pub place: Option<u8>,
    /// The policy of its owner.
    pub policy: Policy,
}

impl FieldInfo {
    /// Bytes of one in the ABI: name (28), owner (28), TLV type, kind, size, place (1 each), policy
    /// (4).
    pub const SIZE: usize = 2 * FieldName::CAPACITY + 8;

    /// The tag that its TLVs start with.
    #[must_use]
    pub const fn tag(&self) -> Tag {
        self.kind.tag(self.tlv)
    }

    /// Its bytes in the ABI.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let (names, numbers) = bytes.split_at_mut(2 * FieldName::CAPACITY);
        let (name, owner) = names.split_at_mut(FieldName::CAPACITY);
        name.copy_from_slice(self.name.as_padded());
        owner.copy_from_slice(self.owner.as_padded());
        numbers[..4].copy_from_slice(&[
            self.tlv.get(),
            self.kind.code(),
            self.kind.size(),
            self.place.unwrap_or(0),
        ]);
        numbers[4..].copy_from_slice(&self.policy.bits().to_le_bytes());
        bytes
    }

    /// Reads what [`FieldInfo::to_bytes`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().ok()?;
        let (names, numbers) = bytes.split_at(2 * FieldName::CAPACITY);
        let (name, owner) = names.split_at(FieldName::CAPACITY);
        let &[tlv, kind, size, place, p0, p1, p2, p3] = numbers else {
            return None;
        };
        Some(Self {
            name: FieldName::from_padded(name)?,
            owner: FieldName::from_padded(owner)?,
            tlv: TlvType::new(tlv)?,
            kind: Kind::from_code(kind, size)?,
            place: (place != 0).then_some(place),
            policy: Policy::from_bits(u32::from_le_bytes([p0, p1, p2, p3]))?,
        })
    }
}
