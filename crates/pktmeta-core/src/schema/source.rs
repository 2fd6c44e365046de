//! A schema file as TOML sees it.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) owner: Spanned<String>,
    #[serde(default)]
    pub(super) doc: String,
    #[serde(default)]
    pub(super) retired: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) field: Vec<FieldSource>,
}

/// Schemas of several owners in one text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sources {
    #[serde(default)]
    pub(super) schema: Vec<Source>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldSource {
    pub(super) name: Spanned<String>,
    #[serde(rename = "type")]
    pub(super) kind: Spanned<String>,
    pub(super) names: Option<Spanned<BTreeMap<Spanned<String>, Spanned<u64>>>>,
    #[serde(default)]
    pub(super) doc: String,
    #[serde(default = "no")]
    pub(super) hot: Spanned<bool>,
    #[serde(default)]
    pub(super) wire: bool,
    #[serde(default)]
    pub(super) trusted: bool,
    #[serde(default = "every_hook")]
    pub(super) writers: Vec<Writer>,
    pub(super) present: Option<Spanned<f64>>,
    pub(super) varies: Option<Varies>,
    #[serde(default)]
    pub(super) gro: Gro,
    #[serde(default)]
    pub(super) clone: Passing,
    #[serde(default)]
    pub(super) netns: Passing,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Writer {
    Xdp,
    Tc,
    App,
}

#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Varies {
    Packet,
    Flow,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum Gro {
    #[default]
    Block,
    First,
    Last,
    Sum,
}

#[derive(Deserialize, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Passing {
    #[default]
    Keep,
    Drop,
}

fn every_hook() -> Vec<Writer> {
    vec![Writer::Xdp, Writer::Tc]
}

fn no() -> Spanned<bool> {
    Spanned::new(0..0, false)
}
