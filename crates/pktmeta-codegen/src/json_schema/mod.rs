//! The JSON Schema of schema files, with which editors check and complete them.
//!
//! By hand, since it says more than the parser's types do; tests keep it in step with the parser.

use crate::file::GeneratedFile;

pub(crate) fn file() -> GeneratedFile {
    GeneratedFile {
        name: "pktmeta-schema.json".into(),
        text: include_str!("pktmeta-schema.json").into(),
    }
}
