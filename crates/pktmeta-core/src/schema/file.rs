//! A schema: the text of a file, checked.

use super::{
    error::SchemaError,
    field::SchemaField,
    mistake::{Mistake, name},
    source::{Source, Sources},
};
use crate::{
    abi,
    field::{FieldName, Kind},
    record::Record,
    registry::{RegisterError, Registry, Wanted},
    seal,
};
use std::ops::Range;

/// The fields of one owner.
///
/// ```
/// let schema = pktmeta_core::schema::Schema::parse("edge.toml", r#"
///     owner = "edge"
///     [[field]]
///     name = "tenant"
///     type = "u32"
///     doc = "Customer that owns the source prefix"
/// "#)?;
/// assert_eq!(schema.fields()[0].wanted.name.as_str(), "tenant");
/// # Ok::<(), pktmeta_core::schema::SchemaError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub(super) owner: FieldName,
    pub(super) doc: String,
    pub(super) fields: Vec<SchemaField>,
    pub(super) retired: Vec<FieldName>,
}

impl Schema {
    /// Most bytes that a schema file may have.
    pub const FILE_MAX: usize = 1 << 20;

    /// Most fields that a schema may have: a host has no more numbers.
    pub const FIELDS_MAX: usize = abi::FIELDS_MAX - 1;

    /// Reads the text of a schema; `file` names it in errors.
    ///
    /// # Errors
    /// The first mistake, with its place and its remedy.
    pub fn parse(file: &str, text: &str) -> Result<Self, SchemaError> {
        if text.len() > Self::FILE_MAX {
            let message = format!(
                "the file has {} bytes, a schema at most {}",
                text.len(),
                Self::FILE_MAX
            );
            let remedy = "is it a schema? docs/schema.md lists the keys and their values";
            return Err(SchemaError::new(file, text, 0..0, message, remedy.into()));
        }
        let source: Source = toml::from_str(text).map_err(|error| {
            let remedy = "docs/schema.md lists the keys and their values";
            let span = error.span().unwrap_or(0..0);
            SchemaError::new(file, text, span, error.message().to_owned(), remedy.into())
        })?;
        Self::check(&source).map_err(|Mistake(span, message, remedy)| {
            SchemaError::new(file, text, span, message, remedy)
        })
    }

    /// The owner that defines these fields.
    #[must_use]
    pub fn owner(&self) -> FieldName {
        self.owner
    }

    /// Their purpose, for people.
    #[must_use]
    pub fn doc(&self) -> &str {
        &self.doc
    }

    /// The fields, in the order of the file.
    #[must_use]
    pub fn fields(&self) -> &[SchemaField] {
        &self.fields
    }

    /// Names of fields that an earlier version had, and that must not come back with another
    /// meaning.
    #[must_use]
    pub fn retired(&self) -> &[FieldName] {
        &self.retired
    }

    /// The field called `name`.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&SchemaField> {
        self.fields
            .iter()
            .find(|field| field.wanted.name.as_str() == name)
    }

    /// A registry of these schemas' fields alone, numbered in their order, as on a host that
    /// registers nothing else.
    ///
    /// # Errors
    /// Two of the schemas give a name different meanings, or there are more fields than numbers.
    pub fn registry<'a>(
        schemas: impl IntoIterator<Item = &'a Self>,
    ) -> Result<Registry, RegisterError> {
        let mut registry = Registry::new();
        for field in schemas.into_iter().flat_map(Self::fields) {
            registry.register(&field.wanted)?;
        }
        Ok(registry)
    }

    /// Bytes of metadata area that a record with all of these fields needs, a multiple of 4.
    #[must_use]
    pub fn area(&self) -> usize {
        area(self.fields.iter().map(|field| field.wanted.kind))
    }

    /// Reads what [`Dictionary::names`](super::Dictionary::names) writes.
    pub(super) fn parse_names(text: &str) -> Option<Vec<Self>> {
        let sources: Sources = toml::from_str(text).ok()?;
        let schemas = sources.schema.iter();
        schemas.map(|source| Self::check(source).ok()).collect()
    }

    fn check(source: &Source) -> Result<Self, Mistake> {
        let owner = name(&source.owner, "an owner")?;
        let mut schema = Self {
            owner,
            doc: source.doc.clone(),
            fields: Vec::new(),
            retired: Vec::new(),
        };
        for retired in &source.retired {
            schema.retired.push(name(retired, "a field")?);
        }
        if let Some(field) = source.field.get(Self::FIELDS_MAX) {
            let message = format!(
                "the schema has {} fields, at most {} have a number on a host",
                source.field.len(),
                Self::FIELDS_MAX
            );
            let remedy = "leave fields out, or make bits of one field of them";
            return Err(Mistake(field.name.span(), message, remedy.into()));
        }
        for field in &source.field {
            let checked = SchemaField::check(owner, field)?;
            let wanted = &checked.wanted;
            if schema.by_name(wanted.name.as_str()).is_some() {
                let message = format!("field {} is defined twice", wanted.name);
                let remedy = "rename or delete one of the two";
                return Err(Mistake(field.name.span(), message, remedy.into()));
            }
            if schema.retired.contains(&wanted.name) {
                let message = format!("field {} is defined and retired", wanted.name);
                let remedy = "give the new field another name: readers know the old meaning";
                return Err(Mistake(field.name.span(), message, remedy.into()));
            }
            schema.fields.push(checked);
        }
        schema.check_area(source.owner.span())?;
        Ok(schema)
    }

    fn check_area(&self, span: Range<usize>) -> Result<(), Mistake> {
        let area = self.area();
        if area <= seal::AREA_MAX {
            return Ok(());
        }
        let message = format!(
            "the area of all these fields has {area} bytes, {} more than fit in front of a packet",
            area - seal::AREA_MAX
        );
        let largest = self
            .fields
            .iter()
            .max_by_key(|field| field.wanted.kind.size());
        let remedy = largest.map_or_else(String::new, |field| {
            let Wanted { name, kind, .. } = field.wanted;
            format!("use smaller types or fewer fields; the largest is {name}, {kind}")
        });
        Err(Mistake(span, message, remedy))
    }
}

/// Bytes of the area, seal included, that a record with one field of each of `kinds` needs.
#[must_use]
pub fn area(kinds: impl IntoIterator<Item = Kind>) -> usize {
    let values = kinds.into_iter().map(Kind::tlv_size);
    seal::area(Record::HEADER + values.sum::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        builtin,
        field::Value,
        registry::{Policy, Writers},
    };

    fn error(text: &str) -> SchemaError {
        Schema::parse("edge.toml", text).unwrap_err()
    }

    #[test]
    fn the_schema_of_the_design_reads() {
        let schema = Schema::parse(
            "edge.toml",
            r#"
owner = "edge"
[[field]]
name = "tenant"
type = "u32"
hot = true
wire = true
writers = ["xdp", "tc"]
doc = "Customer that owns the destination prefix"
"#,
        )
        .unwrap();
        let [field] = schema.fields() else {
            panic!("{schema:?}")
        };
        assert_eq!(field.wanted.owner.as_str(), "edge");
        assert_eq!(field.wanted.kind, Kind::Unsigned { size: 4 });
        let policy = Policy {
            hot: true,
            wire: true,
            writers: Writers {
                xdp: true,
                tc: true,
                app: false,
            },
            ..Policy::default()
        };
        assert_eq!(field.wanted.policy, policy);
        assert_eq!(schema.area(), 24);
    }

    #[test]
    fn xdp_and_tc_write_a_field_that_names_no_writers() {
        let text = "owner = \"edge\"\n[[field]]\nname = \"tenant\"\ntype = \"u32\"\n";
        let schema = Schema::parse("edge.toml", text).unwrap();
        let writers = Writers {
            xdp: true,
            tc: true,
            app: false,
        };
        assert_eq!(schema.fields()[0].wanted.policy.writers, writers);
    }

    #[test]
    fn values_of_enumerations_and_sets_have_names() {
        let schema = Schema::parse(
            "edge.toml",
            r#"
owner = "edge"
[[field]]
name = "verdict"
type = "enum8"
names = { pass = 0, log = 7 }
[[field]]
name = "seen"
type = "bits16"
[field.names]
internal = 0
encrypted = 9
"#,
        )
        .unwrap();
        let [verdict, seen] = schema.fields() else {
            panic!("{schema:?}")
        };
        for (field, text, number) in [
            (verdict, "log", 7),
            (verdict, "9", 9),
            (seen, "internal|encrypted", 0x201),
            (seen, "encrypted", 0x200),
            (seen, "internal|0x4", 5),
            (seen, "none", 0),
        ] {
            let value = field.parse_value(text).unwrap();
            assert_eq!(value, Value::Unsigned(number));
            assert_eq!(field.display_value(&value), text);
        }
        assert_eq!(verdict.parse_value("7"), Ok(Value::Unsigned(7)));
        for (text, number) in [
            ("encrypted|encrypted", 0x200),
            ("0xffff", 0xffff),
            ("0x8000", 0x8000),
        ] {
            assert_eq!(seen.parse_value(text), Ok(Value::Unsigned(number)));
        }
        assert!(seen.parse_value("0x10000").is_err());
        let error = verdict.parse_value("drop").unwrap_err();
        assert!(
            error.wanted().contains("pass, log") && error.wanted().contains("0 to 255"),
            "{error}"
        );
        let error = seen.parse_value("internal|secret").unwrap_err();
        assert!(
            error.wanted().contains("internal, encrypted") && error.wanted().contains('|'),
            "{error}"
        );
    }

    #[test]
    fn the_built_in_fields_are_those_that_rust_names() {
        let schema = Schema::parse("builtin.toml", builtin::SCHEMA).unwrap();
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| (field.wanted.name.to_string(), field.wanted.kind.to_string()))
            .collect();
        let named = [
            format!("{:?}", builtin::RX_TIMESTAMP),
            format!("{:?}", builtin::RX_IFINDEX),
            format!("{:?}", builtin::RX_QUEUE),
            format!("{:?}", builtin::PACKET_NUMBER),
            format!("{:?}", builtin::FLOW_HASH),
        ];
        let described: Vec<_> = fields
            .iter()
            .map(|(name, kind)| format!("Field({name}: {kind})"))
            .collect();
        assert_eq!(described, named);
        assert!(fields.iter().map(|(name, _)| name).eq(&builtin::NAMES));
        assert!(schema.fields().iter().all(|field| !field.doc.is_empty()));
    }

    #[test]
    fn an_error_points_at_the_line_and_says_what_to_write() {
        let text = "owner = \"edge\"\n\n[[field]]\nname = \"tenant\"\ntype = \"u33\"\n";
        let error = error(text);
        assert_eq!(
            error.to_string(),
            "edge.toml:5:8: \"u33\" is not a field type\n  \
               |\n\
             5 | type = \"u33\"\n  \
               |        ^^^^^"
        );
        assert_eq!(
            error.remedy(),
            "use one of flag, bool, u8 to u128, i8 to i128, enum8 to enum32, bits8 to bits64, \
             timestamp, ipv4, ipv6, socket, mac, bytes[N] or bytes[..N] with N from 1 to 64"
        );
        assert_eq!((error.line(), error.column()), (5, 8));
    }

    #[test]
    fn every_mistake_is_found_where_it_is() {
        let field = |rest: &str| format!("owner = \"edge\"\n[[field]]\nname = \"a\"\n{rest}");
        for (text, line, message) in [
            (String::new(), 1, "missing field `owner`"),
            ("owner = \"Edge\"".into(), 1, "not a name"),
            ("owner = ".into(), 1, ""),
            (
                field("type = \"u8\"\ncolour = 1"),
                5,
                "unknown field `colour`",
            ),
            (field("type = 8"), 4, "invalid type"),
            (
                field("type = \"u8\"\nwriters = [\"kernel\"]"),
                5,
                "unknown variant",
            ),
            (
                field("type = \"u8\"\n[[field]]\nname = \"a\"\ntype = \"u8\""),
                6,
                "twice",
            ),
            (
                "owner = \"edge\"\nretired = [\"A\"]".into(),
                2,
                "not a name",
            ),
            (
                "owner = \"edge\"\nretired = [\"a\"]\n[[field]]\nname = \"a\"\ntype = \"u8\""
                    .into(),
                4,
                "retired",
            ),
            (field("type = \"u8\"\npresent = 1.5"), 5, "not a share"),
            (
                field("type = \"bytes[..8]\"\nhot = true"),
                5,
                "cannot be hot",
            ),
            (field("type = \"enum8\""), 4, "needs names"),
            (field("type = \"u8\"\nnames = { x = 1 }"), 5, "has no names"),
            (
                field("type = \"enum8\"\nnames = { x = 1, y = 256 }"),
                5,
                "does not fit",
            ),
            (
                field("type = \"bits8\"\nnames = { x = 8 }"),
                5,
                "does not fit",
            ),
            (
                field("type = \"enum8\"\nnames = { x = 1, y = 1 }"),
                5,
                "both",
            ),
            (
                field("type = \"enum8\"\nnames = { X = 1 }"),
                5,
                "not a name",
            ),
            (field("type = \"enum8\"\nnames = {}"), 5, "needs names"),
        ] {
            let error = error(&text);
            assert_eq!(error.line(), line, "{error}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn a_record_too_large_for_the_area_names_the_largest_field() {
        let mut text = "owner = \"edge\"\n".to_owned();
        for n in 0..4 {
            text += &format!(
                "[[field]]\nname = \"blob{n}\"\ntype = \"bytes[{}]\"\n",
                61 + n
            );
        }
        let error = error(&text);
        let message = format!("{error}: {}", error.remedy());
        for part in ["272 bytes", "56 more", "blob3, bytes[64]"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_schema_that_is_too_large_is_refused_with_the_bound_and_at_once() {
        let field = |n: usize| format!("[[field]]\nname = \"f{n}\"\ntype = \"flag\"\n");
        let fields = |count: usize| -> String {
            let fields: String = (0..count).map(field).collect();
            format!("owner = \"edge\"\n{fields}")
        };
        assert!(Schema::parse("edge.toml", &fields(63)).is_ok());
        let names = |count: usize| -> String {
            let names: String = (0..count).map(|n| format!("n{n} = {n}\n")).collect();
            let field = "[[field]]\nname = \"a\"\ntype = \"enum32\"\n[field.names]\n";
            format!("owner = \"edge\"\n{field}{names}")
        };
        let started = std::time::Instant::now();
        assert!(Schema::parse("edge.toml", &names(50_000)).is_ok());
        for (text, line, message) in [
            (fields(64), 63 * 3 + 3, "has 64 fields, at most 63"),
            (fields(20_000), 63 * 3 + 3, "has 20000 fields, at most 63"),
            (fields(100_000), 1, "bytes, a schema at most 1048576"),
        ] {
            let error = error(&text);
            assert_eq!(error.line(), line, "{error}");
            assert!(error.to_string().contains(message), "{error}");
        }
        // Seconds on the slowest machine; it was minutes when each name was compared with all.
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }

    #[test]
    fn of_a_long_line_what_is_around_the_mistake_is_shown() {
        for long in [0, 55, 56, 70, 70_000] {
            let doc = "é".repeat(long);
            let text = format!("owner = \"{doc}\"\n");
            let shown = error(&text).to_string();
            assert!(
                shown.lines().all(|line| line.chars().count() < 400),
                "{shown}"
            );
            let text = format!("doc = \"{doc}\" owner = \"edge\"");
            let error = error(&text);
            assert_eq!(error.column(), 7 + long + 3, "{error}");
            let shown = error.to_string();
            let lines: Vec<_> = shown.lines().collect();
            let marks = lines[3].chars().position(|c| c == '^');
            let marked: String = lines[2].chars().skip(marks.unwrap_or(0)).collect();
            assert!(marked.starts_with("owner"), "{shown}");
            assert_eq!(lines[2].starts_with("1 | ..."), long > 51, "{shown}");
        }
    }

    /// Text that is nearly a schema.
    const NEARLY: &str = "(owner|name|type|\\[\\[field\\]\\]| = |\"|é|u8|\n|.){0,40}";

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in NEARLY) {
            if let Err(error) = Schema::parse("edge.toml", &text) {
                let _ = error.to_string();
            }
        }
    }
}
