//! The short form of `cargo xtask paths`.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use pktmeta_paths::{Options, Report, Verdict, run};
use pktmeta_testkit::sandbox::{Sandbox, in_sandbox, in_sandbox_for};
use std::time::Duration;

/// Paths on which some kernels lose every record before it is at a socket, by what they do there.
const LOST: [&str; 7] = [
    "bridged, tag in frame",  // its tag goes back where the record's end is
    "routed, VLAN, in frame", // the same
    "routed, VLAN, header on",
    "from a VLAN, header on",
    "routed, XDP reserves", // XDP has taken the room for itself
    "into vxlan and out",   // the outer headers are where the record was
    "out of vxlan",         // what is in front of the inner packet are the outer headers
];

#[test]
fn no_path_and_no_sequence_of_helpers_shows_a_value_that_nobody_wrote() {
    in_sandbox_for(Duration::from_secs(300), |sandbox| {
        let report = sent(sandbox, &Options::default());
        println!("{report}");
        assert_eq!(report.total(Verdict::Wrong), 0);
        for path in report.paths() {
            let right = report.at_sockets(path, Verdict::Right);
            let may_be_lost = LOST.contains(&path) || path.starts_with("forged");
            assert!(right > 0 || may_be_lost, "{path}");
        }
    });
}

#[test]
fn a_wrong_value_is_found_at_every_hop_and_at_the_socket() {
    in_sandbox(|sandbox| {
        let options = Options {
            packets: 500,
            only: Some("local, generic XDP".into()),
            sabotage: true,
            ..Options::default()
        };
        let report = sent(sandbox, &options);
        for hook in ["Xdp", "TcIngress", "Ring", "Ticket"] {
            let line = format!("WRONG: local, generic XDP, {hook}: --seed {}", options.seed);
            let said = report.to_string();
            assert!(said.contains(&line), "{said}");
        }
        assert!(report.of("local, generic XDP", Verdict::Wrong) > 0);
    });
}

/// docs/limitations.md says so: when this is mended, it must go.
#[test]
fn a_packet_that_grows_at_tc_shows_what_an_earlier_one_left_in_its_buffer() {
    in_sandbox(|sandbox| {
        let options = Options {
            packets: 2_000,
            round: 500,
            only: Some("routed".into()),
            unwiped: true,
            ..Options::default()
        };
        let report = sent(sandbox, &options);
        assert!(report.total(Verdict::Wrong) > 0, "{report}");
    });
}

fn sent(sandbox: &Sandbox, options: &Options) -> Report {
    run(sandbox, options, |_| {}).unwrap_or_else(|error| panic!("{error:#}"))
}
