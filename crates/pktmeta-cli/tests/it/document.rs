//! `docs/schema.md`: its tables are what the code does.

use pktmeta_core::Kind;

const DOCUMENT: &str = include_str!("../../../../docs/schema.md");
const EVOLUTION: &str = include_str!("../../../pktmeta-core/src/schema/evolution.rs");

#[test]
fn the_rules_of_evolution_are_those_of_the_code() {
    let rules = EVOLUTION
        .lines()
        .filter_map(|line| line.strip_prefix("//! |"))
        .map(|row| format!("|{row}"));
    for rule in rules {
        assert!(DOCUMENT.contains(&rule), "{rule}");
    }
}

#[test]
fn every_type_of_the_document_takes_the_bytes_that_it_says() {
    let (_, types) = DOCUMENT.split_once("\n## Types\n").unwrap();
    let rows = types.lines().skip_while(|line| !line.starts_with("|---"));
    let mut seen = 0;
    for row in rows.skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let sizes: Vec<_> = cells[3].split(", ").collect();
        let names = cells[1].split(", ").map(|name| name.trim_matches('`'));
        for (at, name) in names.enumerate().filter(|(_, name)| !name.contains('N')) {
            let size = sizes[at.min(sizes.len() - 1)];
            let kind: Kind = name.parse().unwrap();
            assert_eq!(kind.tlv_size().to_string(), size, "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, 24);
}
