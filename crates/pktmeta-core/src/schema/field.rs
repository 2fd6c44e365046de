//! A field as its owner describes it.

use super::{
    mistake::{Mistake, name},
    names::Names,
    source::{FieldSource, Gro, Passing, Varies, Writer},
};
use crate::{
    field::{FieldName, Kind, Misspelt, Value},
    registry::{GroMerge, Policy, Wanted, Writers},
};

/// A field as its owner describes it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SchemaField {
    /// The field to be registered.
    pub wanted: Wanted,
    /// Its meaning, for people.
    pub doc: String,
    /// The names of an enumeration's numbers, or of a set's bits.
    pub names: Names,
    /// The share of packets that have it, 0 to 1.
    pub present: f64,
    /// True if it differs between packets of one flow, which keeps GRO from merging them.
    pub varies_per_packet: bool,
}

impl SchemaField {
    /// Reads a value of this field as people write it: as [`Value::parse`], or by name. Names of a
    /// set of bits are joined with `|`.
    ///
    /// # Errors
    /// It is neither a value of the field's kind nor a name of one.
    pub fn parse_value(&self, text: &str) -> Result<Value, Misspelt> {
        let kind = self.wanted.kind;
        if let Some(number) = self.names.parse(kind, text) {
            return Ok(Value::Unsigned(number.into()));
        }
        Value::parse(kind, text).map_err(|error| match self.names.is_empty() {
            true => error,
            false => {
                let names = self.names.wanted(kind);
                Misspelt::new(format!("{names}, or {}", error.wanted()))
            }
        })
    }

    /// The value as people read it, by name where it has one; [`Self::parse_value`] reads it back.
    #[must_use]
    pub fn display_value(&self, value: &Value) -> String {
        match value {
            Value::Unsigned(number) => self.names.display(self.wanted.kind, *number),
            _ => value.to_string(),
        }
    }

    pub(super) fn check(owner: FieldName, source: &FieldSource) -> Result<Self, Mistake> {
        let name = name(&source.name, "a field")?;
        let kind: Kind = source.kind.get_ref().parse().map_err(|error: Misspelt| {
            let message = format!("{:?} is not a field type", source.kind.get_ref());
            let remedy = format!("use {}", error.wanted());
            Mistake(source.kind.span(), message, remedy)
        })?;
        let names = Names::check(kind, source)?;
        let present = match &source.present {
            None => 1.0,
            Some(share) if (0.0..=1.0).contains(share.get_ref()) => *share.get_ref(),
            Some(share) => {
                let message = format!("{} is not a share of packets", share.get_ref());
                let remedy = "write a number from 0.0, never, to 1.0, on every packet";
                return Err(Mistake(share.span(), message, remedy.into()));
            }
        };
        if *source.hot.get_ref() && kind.is_variable() {
            let message = format!("a {kind} field cannot be hot: its values differ in size");
            let remedy = format!("use bytes[{}], or take `hot` out", kind.size());
            return Err(Mistake(source.hot.span(), message, remedy));
        }
        let writes = |writer| source.writers.contains(&writer);
        let varies = source.varies.unwrap_or(match kind {
            Kind::Timestamp => Varies::Packet,
            _ => Varies::Flow,
        });
        Ok(Self {
            wanted: Wanted {
                name,
                owner,
                kind,
                policy: Policy {
                    hot: *source.hot.get_ref(),
                    wire: source.wire,
                    trusted: source.trusted,
                    writers: Writers {
                        xdp: writes(Writer::Xdp),
                        tc: writes(Writer::Tc),
                        app: writes(Writer::App),
                    },
                    gro: match source.gro {
                        Gro::Block => GroMerge::Block,
                        Gro::First => GroMerge::First,
                        Gro::Last => GroMerge::Last,
                        Gro::Sum => GroMerge::Sum,
                    },
                    drop_on_clone: source.clone == Passing::Drop,
                    drop_on_netns: source.netns == Passing::Drop,
                    kept: false,
                    retired: false,
                },
            },
            doc: source.doc.clone(),
            names,
            present,
            varies_per_packet: varies == Varies::Packet,
        })
    }
}
