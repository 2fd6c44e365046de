//! Schema files: the fields of one owner, in TOML.

use crate::{
    field::{FieldName, Kind},
    record::Record,
    registry::{Policy, Wanted},
};
use serde::Deserialize;
use std::{fmt, ops::Range};
use toml::Spanned;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    fields: Vec<SchemaField>,
}

impl Schema {
    /// Reads the text of a schema; `file` names it in errors.
    ///
    /// # Errors
    /// The first thing that is wrong: where, what, and what to write instead.
    pub fn parse(file: &str, text: &str) -> Result<Self, SchemaError> {
        let fail = |span: Range<usize>, message: String, remedy: String| {
            SchemaError::new(file, text, span, message, remedy)
        };
        let source: SchemaSource = toml::from_str(text).map_err(|error| {
            let remedy = "docs/schema.md lists the keys and their values";
            fail(
                error.span().unwrap_or(0..0),
                error.message().to_owned(),
                remedy.into(),
            )
        })?;
        let name = |name: &Spanned<String>, what| {
            FieldName::parse(name.get_ref()).ok_or_else(|| {
                let message = format!("{:?} is not a name for {what}", name.get_ref());
                fail(name.span(), message, FieldName::RULE.into())
            })
        };
        let owner = name(&source.owner, "an owner")?;
        let mut fields: Vec<SchemaField> = Vec::new();
        for field in &source.field {
            let wanted = Wanted {
                name: name(&field.name, "a field")?,
                owner,
                kind: Kind::parse(field.kind.get_ref()).ok_or_else(|| {
                    let message = format!("{:?} is not a field type", field.kind.get_ref());
                    fail(
                        field.kind.span(),
                        message,
                        format!("use one of {}", Kind::NAMES),
                    )
                })?,
                policy: Policy {
                    hot: field.hot,
                    wire: field.wire,
                    xdp: field.writers.contains(&Writer::Xdp),
                    tc: field.writers.contains(&Writer::Tc),
                    app: field.writers.contains(&Writer::App),
                },
            };
            if fields.iter().any(|other| other.wanted.name == wanted.name) {
                let message = format!("field {} is defined twice", wanted.name);
                let remedy = "rename or delete one of the two";
                return Err(fail(field.name.span(), message, remedy.into()));
            }
            fields.push(SchemaField {
                wanted,
                doc: field.doc.clone(),
            });
        }
        let schema = Self { fields };
        if schema.area() > Record::CAPACITY {
            let message = format!(
                "a record with all these fields has {} bytes, {} more than fit in front of a packet",
                schema.area(),
                schema.area() - Record::CAPACITY
            );
            let largest = schema
                .fields
                .iter()
                .max_by_key(|field| field.wanted.kind.size());
            let remedy = largest.map_or_else(String::new, |field| {
                let Wanted { name, kind, .. } = field.wanted;
                format!("use smaller types or fewer fields; the largest is {name}, {kind}")
            });
            return Err(fail(source.owner.span(), message, remedy));
        }
        Ok(schema)
    }

    /// The fields, in the order of the file.
    #[must_use]
    pub fn fields(&self) -> &[SchemaField] {
        &self.fields
    }

    /// Bytes of metadata area that a record with all of these fields needs, a multiple of 4.
    #[must_use]
    pub fn area(&self) -> usize {
        area(self.fields.iter().map(|field| field.wanted.kind))
    }
}

/// A field as its owner describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaField {
    /// What its owner wants registered.
    pub wanted: Wanted,
    /// What it means, for people.
    pub doc: String,
}

/// Bytes of metadata area that a record with one field of each of `kinds` needs, a multiple of 4
/// as `bpf_xdp_adjust_meta` demands.
#[must_use]
pub fn area(kinds: impl IntoIterator<Item = Kind>) -> usize {
    let values = kinds
        .into_iter()
        .map(|kind| Record::TLV_HEADER + usize::from(kind.size()));
    (Record::HEADER + values.sum::<usize>()).next_multiple_of(4)
}

/// What is wrong with a schema file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    file: String,
    line: usize,
    column: usize,
    excerpt: String,
    marked: usize,
    message: String,
    remedy: String,
}

impl SchemaError {
    fn new(file: &str, text: &str, span: Range<usize>, message: String, remedy: String) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let excerpt = text[line_start..].lines().next().unwrap_or_default();
        let column = before[line_start..].chars().count() + 1;
        let marked = text
            .get(span)
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        Self {
            file: file.into(),
            line: before.matches('\n').count() + 1,
            column,
            excerpt: excerpt.into(),
            marked: marked.chars().count().max(1),
            message,
            remedy,
        }
    }

    /// Line of the mistake, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column of the mistake in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            excerpt,
            marked,
            message,
            remedy,
        } = self;
        let margin = line.to_string().len();
        writeln!(f, "{file}:{line}:{column}: {message}")?;
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{line} | {excerpt}")?;
        writeln!(
            f,
            "{:margin$} | {:indent$}{:^<marked$}",
            "",
            "",
            "",
            indent = column - 1
        )?;
        write!(f, "{:margin$} = {remedy}", "")
    }
}

impl std::error::Error for SchemaError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaSource {
    owner: Spanned<String>,
    #[serde(default)]
    field: Vec<FieldSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldSource {
    name: Spanned<String>,
    #[serde(rename = "type")]
    kind: Spanned<String>,
    #[serde(default)]
    doc: String,
    #[serde(default)]
    hot: bool,
    #[serde(default)]
    wire: bool,
    #[serde(default = "every_hook")]
    writers: Vec<Writer>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Writer {
    Xdp,
    Tc,
    App,
}

fn every_hook() -> Vec<Writer> {
    vec![Writer::Xdp, Writer::Tc]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

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
            xdp: true,
            tc: true,
            app: false,
        };
        assert_eq!(field.wanted.policy, policy);
        assert_eq!(schema.area(), 12);
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
               |        ^^^^^\n  \
               = use one of u8, u16, u32, u64, bool, ipv4, ipv6, mac, bytes[N] with N from 1 to 64"
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
        let message = error(&text).to_string();
        for part in ["264 bytes", "48 more", "blob3, bytes[64]"] {
            assert!(message.contains(part), "{message}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(owner|name|type|\\[\\[field\\]\\]| = |\"|é|u8|\n|.){0,40}") {
            if let Err(error) = Schema::parse("edge.toml", &text) {
                let _ = error.to_string();
            }
        }
    }
}
