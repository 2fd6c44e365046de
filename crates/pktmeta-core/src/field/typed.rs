//! Fields whose type is known to the compiler.

use super::{kind::Kind, name::NameKey};
use core::{fmt, marker::PhantomData};

/// A field that an application or a tool names in its source: `Field<u32>` is a field whose values
/// are `u32`.
///
/// A [`crate::Registry`] maps the name to its TLV type on the host that the program runs on; no
/// number appears in source.
///
/// ```
/// use pktmeta_core::Field;
/// const TENANT: Field<u32> = Field::new("tenant");
/// ```
pub struct Field<T> {
    name: &'static str,
    key: NameKey,
    value: PhantomData<fn() -> T>,
}

impl<T: FieldType> Field<T> {
    /// The field called `name`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            key: NameKey::new(name),
            value: PhantomData,
        }
    }

    /// The field's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    #[inline]
    pub(crate) const fn key(&self) -> &NameKey {
        &self.key
    }
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T: FieldType> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({}: {})", self.name, T::KIND)
    }
}

/// A Rust type that a field's values can have.
///
/// Multi-byte integers are little-endian in a record; addresses are in the order in which they
/// stand in a packet. `()` is the type of a flag, which is there or not.
pub trait FieldType: Sized {
    /// The kind of field that holds such values.
    const KIND: Kind;

    /// Reads a value; `None` if `bytes` is not exactly as long as the kind says.
    fn decode(bytes: &[u8]) -> Option<Self>;

    /// Calls `store` with the value's bytes.
    fn encode<R>(&self, store: impl FnOnce(&[u8]) -> R) -> R;
}
