//! The data model of pktmeta: named, typed [fields](field), the TLV [record] that carries their
//! values with a packet, the [registry] that gives each name its number on this host, and the
//! [schema] files in which their owners describe them.
//!
//! Nothing here does I/O. The crate is `no_std` (with `alloc`) unless the feature `schema` is on.

#![forbid(unsafe_code)]
#![cfg_attr(not(any(feature = "schema", test)), no_std)]

extern crate alloc;

pub mod abi;
pub mod builtin;
pub mod field;
pub mod linux;
pub mod pins;
pub mod printable;
pub mod record;
pub mod registry;
#[cfg(feature = "schema")]
pub mod schema;
pub mod seal;
mod to_record;
pub mod traits;

pub use field::{Field, FieldName, FieldType, Kind, MacAddr, Timestamp, Value, VarBytes};
pub use record::{Record, Tag, TlvType};
pub use registry::{FieldInfo, Registry};
pub use to_record::{RecordError, ToRecord, With};
