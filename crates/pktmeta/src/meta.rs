//! The metadata of one packet.

use pktmeta_core::{Field, FieldInfo, FieldType, Record, Registry, Value};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// The metadata of one packet, or the certainty that it had none.
///
/// It owns its bytes: it does not change when more packets arrive, and outlives socket and
/// datapath.
#[derive(Clone, Copy)]
pub struct PacketMeta {
    /// Has the names of the record's fields.
    pub(crate) registry: &'static Registry,
    pub(crate) record: Option<Record>,
    /// The mark or priority that the ticket displaced, where that is known.
    pub(crate) displaced: Option<u32>,
}

impl PacketMeta {
    /// A value to be overwritten. It is no constant, of which each use would copy all bytes.
    pub(crate) fn none() -> Self {
        Self::new(None, &NO_FIELDS)
    }

    #[inline]
    pub(crate) fn new(record: Option<Record>, registry: &'static Registry) -> Self {
        Self {
            registry,
            record,
            displaced: None,
        }
    }

    /// The value of a field; `None` if the packet does not carry it, or this host has no field of
    /// that name and type.
    #[must_use]
    pub fn get<T: FieldType>(&self, field: Field<T>) -> Option<T> {
        self.registry.get(self.record()?, field)
    }

    /// True if the packet had no record: no program labelled it.
    ///
    /// A record without fields is a record.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.record.is_none()
    }

    /// The mark or priority that the datagram's ticket took the place of, by the socket's
    /// [`Carrier`](crate::Carrier): `SO_MARK` or `SO_PRIORITY` of the packet without pktmeta.
    ///
    /// `None` where that is not known: of TCP, of
    /// [`Carrier::Timestamp`](crate::Carrier::Timestamp), and where this process may not map the
    /// datapath's ring. There it is a `getsockopt` for those who want it
    /// (`SOL_PKTMETA_DGRAM_DISPLACED`), which would cost all others a system call for each
    /// datagram.
    #[must_use]
    pub fn displaced(&self) -> Option<u32> {
        self.displaced
    }

    /// The record as it came, with TLV types instead of names; `None` if the packet had none.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Every field of the record that this host has a name for, in the record's order.
    pub fn fields(&self) -> impl Iterator<Item = (&FieldInfo, Value)> {
        self.record()
            .into_iter()
            .flat_map(|record| self.registry.values(record))
    }

    /// The value of the field called `name`, of whatever type it has on this host; `None` if the
    /// packet does not carry it.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        self.registry.by_name(name)?.value_in(self.record()?)
    }
}

impl fmt::Debug for PacketMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_absent() {
            return f.write_str("absent");
        }
        let named = self
            .fields()
            .map(|(info, value)| (info.name.to_string(), value));
        f.debug_map().entries(named).finish()
    }
}

/// The registry of metadata that has no datapath.
pub(crate) static NO_FIELDS: Registry = Registry::new();

/// Keeps a registry for good, so that every packet's metadata can refer to it at no cost. Equal
/// registries are kept once.
pub(crate) fn intern(registry: Registry) -> &'static Registry {
    static KEPT: Mutex<Vec<&'static Registry>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = kept.iter().find(|kept| ***kept == registry) {
        return same;
    }
    let registry: &'static Registry = Box::leak(Box::new(registry));
    kept.push(registry);
    registry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::datapath::tests::{TENANT, registry};

    #[test]
    fn values_are_found_by_field_and_by_name() {
        let tlv = registry().by_name("tenant").unwrap().tlv;
        let mut record = Record::new();
        record.set_value(tlv, &7u32).unwrap();
        let meta = PacketMeta::new(Some(record), registry());
        assert!(!meta.is_absent());
        assert_eq!(meta.get(TENANT), Some(7));
        assert_eq!(meta.get(Field::<u64>::new("tenant")), None);
        assert_eq!(meta.value("tenant"), Some(Value::Unsigned(7)));
        assert_eq!(meta.value("zone"), None);
        assert_eq!(meta.value("nobody's"), None);
        assert_eq!(meta.fields().count(), 1);
        assert_eq!(format!("{meta:?}"), "{\"tenant\": Unsigned(7)}");
    }

    #[test]
    fn absent_is_not_empty() {
        let absent = PacketMeta::new(None, registry());
        assert!(absent.is_absent() && absent.record().is_none());
        assert_eq!(absent.get(TENANT), None);
        assert_eq!(absent.fields().count(), 0);
        assert_eq!(format!("{absent:?}"), "absent");
        let empty = PacketMeta::new(Some(Record::new()), registry());
        assert!(!empty.is_absent());
    }
}
