//! The text of generated Rust modules; `generated_rust.rs` builds and uses them.

use crate::tool;
use pktmeta_codegen::{Language, generate};
use std::process::Command;

#[test]
fn a_generated_module_is_as_rustfmt_leaves_it() {
    for file in generate(Language::Rust, &crate::input()).unwrap() {
        let mut rustfmt = Command::new("rustfmt");
        let formatted = tool::run(rustfmt.args(["--edition", "2024"]), &file.text);
        assert!(formatted == file.text, "{} differs", file.name);
    }
}

#[test]
fn another_crate_can_be_named() {
    let input = crate::input().with_rust_crate("pktmeta_core");
    let files = generate(Language::Rust, &input).unwrap();
    let plain = generate(Language::Rust, &crate::input()).unwrap();
    for (file, plain) in files.iter().zip(&plain) {
        assert!(!file.text.contains("pktmeta::"), "{}", file.name);
        // Longer lines are broken elsewhere.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let same = file.text.replace("pktmeta_core::", "pktmeta::");
        assert_eq!(words(&same), words(&plain.text));
    }
}
