//! Records as people write and read them: `name=value`.

use super::{
    entry::{Entry, Known, Meaning},
    field::SchemaField,
    file::Schema,
    nearest::nearest,
    text_error::TextError,
};
use crate::{
    field::{Misspelt, Value},
    record::{Record, Tag},
    registry::{FieldInfo, Registry, Wanted},
};

/// Fields by name: their numbers from a registry, the names of their values from schemas.
///
/// ```
/// use pktmeta_core::schema::{Dictionary, Schema, parse_record};
/// let schema = Schema::parse("edge.toml", r#"
///     owner = "edge"
///     [[field]]
///     name = "verdict"
///     type = "enum8"
///     names = { pass = 0, log = 7 }
/// "#)?;
/// let dictionary = Dictionary::new(Schema::registry([&schema])?, [&schema]);
/// let record = dictionary.encode(["verdict=log"])?;
/// assert_eq!((record, 0), parse_record("504d 1007 01 01 07")?);
/// assert_eq!(dictionary.decode(&record)[0].text(), "log");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dictionary {
    registry: Registry,
    fields: Vec<SchemaField>,
}

impl Dictionary {
    /// The fields of `registry`; those that one of `schemas` describes have names for their values.
    #[must_use]
    pub fn new<'a>(registry: Registry, schemas: impl IntoIterator<Item = &'a Schema>) -> Self {
        let fields = Vec::new();
        Self { registry, fields }.with(schemas)
    }

    /// The fields of `registry` with the names that another dictionary's [`Dictionary::names`] had
    /// for the same fields; without names if the text is something else.
    #[must_use]
    pub fn with_names(registry: Registry, names: &str) -> Self {
        let schemas = Schema::parse_names(names).unwrap_or_default();
        let mut dictionary = Self::new(registry, &schemas);
        let Self { registry, fields } = &mut dictionary;
        fields.retain(|field| registry.fields().iter().any(|info| means(field, info)));
        dictionary
    }

    /// The same fields, with the names of `schemas` in the place of those that they had.
    #[must_use]
    pub fn with<'a>(mut self, schemas: impl IntoIterator<Item = &'a Schema>) -> Self {
        let fields = schemas.into_iter().flat_map(Schema::fields);
        self.fields.splice(..0, fields.cloned());
        self
    }

    /// The names of the values of the registry's fields, as text that [`Dictionary::with_names`]
    /// reads: schemas in TOML.
    #[must_use]
    pub fn names(&self) -> String {
        let mut named: Vec<_> = self
            .registry
            .fields()
            .iter()
            .filter_map(|info| self.field(info))
            .filter(|field| !field.names.is_empty())
            .collect();
        named.sort_by_key(|field| field.wanted.owner);
        let mut text = String::new();
        for of_owner in named.chunk_by(|a, b| a.wanted.owner == b.wanted.owner) {
            text += &format!("[[schema]]\nowner = \"{}\"\n", of_owner[0].wanted.owner);
            for field in of_owner {
                let Wanted { name, kind, .. } = field.wanted;
                let names = field.names.iter();
                let names = names.map(|(name, number)| format!("{name} = {number}"));
                let names = names.collect::<Vec<_>>().join(", ");
                text += "[[schema.field]]\n";
                text += &format!("name = \"{name}\"\ntype = \"{kind}\"\nnames = {{ {names} }}\n");
            }
        }
        text
    }

    /// True if no field has a number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registry.fields().is_empty()
    }

    /// A record of fields that are written as `name=value`, in their order.
    ///
    /// # Errors
    /// One of them is not written so, names no field, has no such value or is there twice; or they
    /// have no room in a record. It is the first fault.
    pub fn encode<'t>(
        &self,
        assignments: impl IntoIterator<Item = &'t str>,
    ) -> Result<Record, TextError> {
        let mut values: Vec<(&FieldInfo, Vec<u8>)> = Vec::new();
        for assignment in assignments {
            let (name, text) = assignment.split_once('=').ok_or_else(|| {
                let message = format!("{assignment:?} has no =");
                TextError::new(message, "write name=value")
            })?;
            let info = self.info(name)?;
            if values.iter().any(|(other, _)| *other == info) {
                let message = format!("field {name} is given twice");
                return Err(TextError::new(message, "leave one of the two out"));
            }
            values.push((info, self.value_bytes(info, text)?));
        }
        let mut record = Record::new();
        for (info, bytes) in &values {
            // The bytes are those of a value: only room can be missing.
            let set = record.set(info.tag(), bytes);
            set.map_err(|_| too_many(&values))?;
        }
        Ok(record)
    }

    /// The fields of a record, in its order, with those that are not known, or have no value of
    /// their type.
    #[must_use]
    pub fn decode(&self, record: &Record) -> Vec<Entry> {
        let mut seen: Vec<Tag> = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        for (tag, bytes) in record.iter() {
            let Some(number) = tag.tlv() else {
                continue; // iter() leaves voids out
            };
            let info = self.registry.by_type(number);
            let is_ours = info.is_some_and(|info| info.tag() == tag);
            // The rule of Registry::read(), which leaves out fields that are not registered.
            let again = match info {
                Some(info) if !is_ours => {
                    record.get(info.tag()).is_some()
                        || entries.iter().any(|other| other.number == number)
                }
                _ => seen.contains(&tag),
            };
            seen.push(tag);
            let meaning = match info {
                None => Meaning::Unknown,
                Some(info) => match Value::decode(info.kind, bytes).filter(|_| is_ours) {
                    Some(value) => Meaning::Value(self.known(info, value)),
                    None => Meaning::Odd(*info),
                },
            };
            entries.push(Entry {
                number,
                bytes: bytes.into(),
                meaning,
                again,
            });
        }
        entries
    }

    /// The fields, with their numbers.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A value of a field of this registry, and how people read it.
    #[must_use]
    pub fn known(&self, info: &FieldInfo, value: Value) -> Known {
        let field = self.field(info);
        let text = field.map_or_else(|| value.to_string(), |field| field.display_value(&value));
        Known {
            info: *info,
            value,
            text,
        }
    }

    /// The field of a name.
    ///
    /// # Errors
    /// There is none with a number; the nearest name is shown.
    pub fn info(&self, name: &str) -> Result<&FieldInfo, TextError> {
        let info = self.registry.by_name(name);
        let field = self.fields.iter().find(|f| f.wanted.name.as_str() == name);
        match (info, field) {
            (Some(info), None) => Ok(info),
            (Some(info), Some(field)) if means(field, info) => Ok(info),
            (Some(info), Some(field)) => Err(TextError::new(
                format!(
                    "field {name} is {} of {} in the schema, but has a number as {} of {}",
                    field.wanted.kind, field.wanted.owner, info.kind, info.owner
                ),
                "use the schema that was registered",
            )),
            (None, Some(field)) => Err(TextError::new(
                format!("field {name} of {} has no number here", field.wanted.owner),
                "register its schema, or use the schema's own numbers",
            )),
            (None, None) => Err(self.unknown(name)),
        }
    }

    /// Reads the value of a field of this registry as people write it.
    ///
    /// # Errors
    /// It is neither a value of the field's kind nor a name of one.
    pub fn parse_value(&self, info: &FieldInfo, text: &str) -> Result<Value, Misspelt> {
        match self.field(info) {
            Some(field) => field.parse_value(text),
            None => Value::parse(info.kind, text),
        }
    }

    fn unknown(&self, name: &str) -> TextError {
        let names = self.registry.fields().iter();
        let names: Vec<_> = names.map(|field| field.name.as_str()).collect();
        let remedy = match nearest(name, &names) {
            Some(nearest) => format!("{nearest} is the nearest"),
            None if names.is_empty() => "no field is known here".into(),
            None => format!("known are {}", names.join(", ")),
        };
        TextError::new(format!("no field is called {name:?}"), remedy)
    }

    fn value_bytes(&self, info: &FieldInfo, text: &str) -> Result<Vec<u8>, TextError> {
        let value = self.parse_value(info, text);
        let bytes = value.map(|value| value.encode(info.kind));
        // Both parsers return only values that fit, and their errors say which text they want.
        let wanted = match bytes {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => format!("a value of {}", info.kind),
            Err(error) => error.wanted().to_owned(),
        };
        let message = format!("{text:?} is no value for {}: {}", info.name, info.kind);
        Err(TextError::new(message, format!("write {wanted}")))
    }

    fn field(&self, info: &FieldInfo) -> Option<&SchemaField> {
        self.fields.iter().find(|field| means(field, info))
    }
}

fn too_many(values: &[(&FieldInfo, Vec<u8>)]) -> TextError {
    let size = |(info, bytes): &(&FieldInfo, Vec<u8>)| {
        // A value of variable size may be shorter than the longest.
        info.kind.tlv_size() - usize::from(info.kind.size()) + bytes.len()
    };
    let length = Record::HEADER + values.iter().map(size).sum::<usize>();
    let message = format!(
        "the record would have {length} bytes, {} more than it may have",
        length.saturating_sub(Record::CAPACITY)
    );
    let largest = values.iter().max_by_key(|value| size(value));
    let largest = largest.map_or_else(String::new, |value| {
        format!(
            "; the largest is {} with {} bytes",
            value.0.name,
            size(value)
        )
    });
    TextError::new(message, format!("leave fields out{largest}"))
}

fn means(field: &SchemaField, info: &FieldInfo) -> bool {
    let wanted = &field.wanted;
    (wanted.name, wanted.owner, wanted.kind) == (info.name, info.owner, info.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        field::{FieldName, Kind},
        registry::Found,
        schema::hex::{hex, parse_record},
    };
    use proptest::{collection::vec, prelude::*, sample::Index};

    const EDGE: &str = r#"
owner = "edge"
[[field]]
name = "tenant"
type = "u32"
[[field]]
name = "verdict"
type = "enum8"
names = { pass = 0, log = 7 }
[[field]]
name = "cookie"
type = "bytes[..64]"
[[field]]
name = "tls"
type = "bool"
[[field]]
name = "blob"
type = "bytes[64]"
"#;

    fn edge() -> Schema {
        Schema::parse("edge.toml", EDGE).unwrap()
    }

    fn dictionary(schemas: &[Schema]) -> Dictionary {
        Dictionary::new(Schema::registry(schemas).unwrap(), schemas)
    }

    fn refused(assignments: &[&str]) -> String {
        let edge = dictionary(&[edge()]);
        told(&edge.encode(assignments.iter().copied()).unwrap_err())
    }

    fn told(error: &TextError) -> String {
        format!("{error}: {}", error.remedy())
    }

    #[test]
    fn a_record_has_the_fields_in_the_order_in_which_they_are_written() {
        let edge = dictionary(&[edge()]);
        let record = edge
            .encode(["verdict=log", "tenant=0x10", "cookie="])
            .unwrap();
        assert_eq!(hex(record.as_bytes()), "504d100e02010781100000000300");
        let entries = edge.decode(&record);
        let texts: Vec<_> = entries.iter().map(Entry::text).collect();
        assert_eq!(texts, ["log", "16", ""]);
    }

    #[test]
    fn what_cannot_be_encoded_says_why_and_what_to_write() {
        let blob = format!("blob={}", "ab".repeat(64));
        let cookies = ["ab".repeat(64), "0".into()].map(|hex| format!("cookie={hex}"));
        for (assignments, parts) in [
            (&["tenant"][..], ["\"tenant\" has no =", "name=value"]),
            (
                &["tenent=7"],
                ["called \"tenent\"", "tenant is the nearest"],
            ),
            (
                &["colour=7"],
                ["called \"colour\"", "known are blob, cookie"],
            ),
            (
                &["tenant=4294967296"],
                ["no value for tenant: u32", "0 to 4294967295"],
            ),
            (
                &["verdict=drop"],
                ["\"drop\" is no value", "one of pass, log"],
            ),
            (&["tls=yes"], ["\"yes\" is no value", "true or false"]),
            (
                &[&cookies[1]],
                ["\"0\" is no value", "up to 128 hex digits"],
            ),
            (
                &["tenant=1", "tenant=1"],
                ["tenant is given twice", "leave one"],
            ),
        ] {
            let error = refused(assignments);
            for part in parts {
                assert!(error.contains(part), "no {part:?} in {error}");
            }
        }
        let large = "[[field]]\nname = \"c\"\ntype = \"bytes[64]\"\n\
                     [[field]]\nname = \"d\"\ntype = \"bytes[..7]\"";
        let core = Schema::parse("core.toml", &format!("owner = \"core\"\n{large}")).unwrap();
        let both = dictionary(&[edge(), core]);
        let third = format!("c={}", "ab".repeat(64));
        let all = [
            &blob,
            &cookies[0],
            &third,
            "d=aabbccddeeff00",
            "tenant=1",
            "tls=true",
        ];
        assert!(both.encode(all[..4].iter().copied()).is_ok());
        let error = told(&both.encode(all).unwrap_err());
        for part in ["219 bytes, 3 more", "the largest is", "with 66 bytes"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_not_known_is_shown_in_hex_and_what_stands_twice_is_marked() {
        let (record, _) = parse_record("504d 100d 3f 01 aa 04 01 01 04 01 00").unwrap();
        let entries = dictionary(&[edge()]).decode(&record);
        let read = |entry: &Entry| (entry.number.get(), entry.text(), entry.again);
        assert_eq!(
            entries.iter().map(read).collect::<Vec<_>>(),
            [
                (63, "aa".to_owned(), false),
                (4, "true".to_owned(), false),
                (4, "false".to_owned(), true)
            ]
        );
    }

    #[test]
    fn a_registry_that_does_not_have_what_the_schema_says_is_told_apart() {
        let other = Schema::parse(
            "edge.toml",
            "owner = \"edge\"\n[[field]]\nname = \"tenant\"\ntype = \"u64\"",
        )
        .unwrap();
        let host = Dictionary::new(Schema::registry([&other]).unwrap(), [&edge()]);
        for (assignment, part) in [
            (
                "tenant=1",
                "u32 of edge in the schema, but has a number as u64",
            ),
            ("tls=true", "tls of edge has no number here"),
        ] {
            let error = told(&host.encode([assignment]).unwrap_err());
            assert!(error.contains(part), "no {part:?} in {error}");
        }
        let bare = Dictionary::new(Schema::registry([&edge()]).unwrap(), []);
        assert_eq!(
            bare.encode(["verdict=7"]),
            dictionary(&[edge()]).encode(["verdict=log"])
        );
        let nothing = Dictionary::new(Registry::new(), []);
        assert!(nothing.is_empty());
        let error = told(&nothing.encode(["tenant=1"]).unwrap_err());
        assert!(error.contains("no field is known"), "{error}");
    }

    #[test]
    fn names_are_kept_as_text_and_belong_to_the_field_that_they_were_written_for() {
        let schema = |verdict: &str, names: &str| {
            let text = format!(
                "owner = \"edge\"\n[[field]]\nname = \"tenant\"\ntype = \"u32\"\n\
                 [[field]]\nname = \"verdict\"\ntype = \"{verdict}\"\nnames = {names}\n"
            );
            Schema::parse("edge.toml", &text).unwrap()
        };
        let path = "owner = \"path\"\n[[field]]\nname = \"seen\"\ntype = \"bits16\"\n\
                    names = { tls = 0, cut = 9 }\n";
        let path = Schema::parse("path.toml", path).unwrap();
        let old = schema("enum8", "{ pass = 0, log = 7 }");
        let kept = dictionary(&[old.clone(), path.clone()]).names();
        assert!(!kept.contains("tenant"), "{kept}");

        let registry = Schema::registry([&old, &path]).unwrap();
        let read = Dictionary::with_names(registry.clone(), &kept);
        assert_eq!(read.names(), kept);
        let record = read.encode(["verdict=log", "seen=tls|cut"]).unwrap();
        let shown = |dictionary: &Dictionary| {
            let entries = dictionary.decode(&record);
            entries.iter().map(Entry::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown(&read), ["verdict=log", "seen=tls|cut"]);

        let newer = read.with(&[schema("enum8", "{ pass = 0, drop = 7 }")]);
        assert_eq!(shown(&newer), ["verdict=drop", "seen=tls|cut"]);
        let read = Dictionary::with_names(registry.clone(), &newer.names());
        assert_eq!(shown(&read), shown(&newer));

        // Of another type, of another owner, of a field that is not registered.
        let numbers = ["verdict=7", "seen=513"];
        for other in [
            kept.replace("enum8", "enum16").replace("bits16", "bits32"),
            kept.replace("edge", "core").replace("path", "way"),
            kept.replace("verdict", "judged").replace("seen", "met"),
            kept[..kept.len() - 3].to_owned(),
            String::new(),
        ] {
            let read = Dictionary::with_names(registry.clone(), &other);
            assert_eq!(shown(&read), numbers, "{other}");
            assert!(read.encode(["verdict=log"]).is_err() && read.names().is_empty());
            assert!(
                read.info("judged")
                    .unwrap_err()
                    .to_string()
                    .contains("no field is called")
            );
        }
    }

    fn kind() -> impl Strategy<Value = Kind> {
        let names = "flag bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 enum8 enum16 enum32 bits8 \
                     bits16 bits32 bits64 timestamp ipv4 ipv6 socket mac";
        let bytes = (1..=12u8).prop_flat_map(|size| {
            let variable = Kind::Variable { max: size };
            prop_oneof![Just(Kind::Bytes { size }), Just(variable)]
        });
        let names: Vec<_> = names.split(' ').collect();
        let others = proptest::sample::select(names)
            .prop_filter_map("no kind", |name: &str| name.parse::<Kind>().ok());
        prop_oneof![4 => others, 1 => bytes]
    }

    /// Often a byte that is a bool or has a name.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![Just(0), Just(1), Just(5), any::<u8>()]
    }

    /// A field of `kind`, with names for its values if the kind needs them.
    fn field_of(n: usize, kind: Kind) -> String {
        let names = match kind {
            Kind::Enum { .. } | Kind::Bits { .. } => "names = { a = 0, b = 5 }\n",
            _ => "",
        };
        format!("[[field]]\nname = \"f{n}\"\ntype = \"{kind}\"\n{names}")
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(
            fields in vec((kind(), vec(byte(), 64), any::<Index>()), 0..12),
        ) {
            let mut text = String::from("owner = \"edge\"\n");
            let mut assignments = Vec::new();
            for (n, (kind, bytes, size)) in fields.iter().enumerate() {
                let size = match kind.is_variable() {
                    true => size.index(usize::from(kind.size()) + 1),
                    false => kind.size().into(),
                };
                text += &field_of(n, *kind);
                if let Some(value) = Value::decode(*kind, &bytes[..size]) {
                    assignments.push((n, value));
                }
            }
            let schema = Schema::parse("edge.toml", &text);
            prop_assume!(schema.is_ok()); // else too large for a record
            let schema = schema.unwrap();
            let written: Vec<_> = assignments
                .iter()
                .map(|(n, value)| format!("f{n}={}", schema.fields()[*n].display_value(value)))
                .collect();
            let dictionary = dictionary(&[schema]);
            let record = dictionary.encode(written.iter().map(String::as_str)).unwrap();
            prop_assert_eq!(parse_record(&hex(record.as_bytes())), Ok((record, 0)));
            let entries = dictionary.decode(&record);
            let values: Vec<_> = entries.iter().map(|entry| match &entry.meaning {
                Meaning::Value(known) => (known.info.name, known.value.clone()),
                other => panic!("{other:?}"),
            }).collect();
            let expected: Vec<_> = assignments
                .into_iter()
                .map(|(n, value)| (format!("f{n}").parse::<FieldName>().unwrap(), value))
                .collect();
            prop_assert_eq!(values, expected);
            let texts: Vec<_> = entries.iter().map(Entry::to_string).collect();
            prop_assert_eq!(texts, written);
        }

        #[test]
        fn no_bytes_make_decoding_panic(
            fields in vec(kind(), 0..12),
            mut bytes in vec(any::<u8>(), 0..256),
            whole: bool,
        ) {
            if whole && bytes.len() >= Record::HEADER {
                bytes[..3].copy_from_slice(&Record::MAGIC);
                bytes[3] = bytes.len() as u8;
            }
            let fields = fields.iter().enumerate().map(|(n, kind)| field_of(n, *kind));
            let text = format!("owner = \"edge\"\n{}", fields.collect::<String>());
            let record = parse_record(&hex(&bytes));
            if let (Ok(schema), Ok((record, _))) = (Schema::parse("", &text), record) {
                let dictionary = dictionary(&[schema]);
                let entries = dictionary.decode(&record);
                // People are shown the values that readers find.
                let shown: Vec<_> = entries.iter().filter(|entry| !entry.again).filter_map(|entry| {
                    let value = match &entry.meaning {
                        Meaning::Value(known) => Found::Value(known.value.clone()),
                        _ => Found::Odd(&entry.bytes),
                    };
                    Some((entry.info()?, value))
                }).collect();
                prop_assert_eq!(shown, dictionary.registry().read(&record).collect::<Vec<_>>());
            }
        }

        #[test]
        fn no_text_makes_a_parser_panic(text: String, hexish in "[0-9a-fx: é]{0,40}") {
            let edge = dictionary(&[edge()]);
            let _ = (parse_record(&text), parse_record(&hexish));
            let _ = (edge.encode([&*text]), edge.encode([&*format!("tenant={text}")]));
        }
    }
}
