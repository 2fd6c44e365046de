//! The short form of `cargo xtask paths`.

use pktmeta_paths::{Fate, Hook, Options, Report, Survey, Verdict, known_loss, run};
use pktmeta_testkit::sandbox::{Sandbox, in_sandbox, in_sandbox_for};
use std::time::Duration;

#[test]
fn no_path_and_no_sequence_of_helpers_shows_a_value_that_nobody_wrote() {
    in_sandbox_for(Duration::from_secs(300), |sandbox| {
        let report = sent(sandbox, &Options::default());
        println!("{report}");
        assert_eq!(report.total(Verdict::Wrong), 0);
        for path in report.paths() {
            let right = report.at_sockets(path, Verdict::Right);
            let may_be_lost = known_loss(path).is_some() || path.starts_with("forged");
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

#[test]
fn a_survey_meets_every_stop_of_a_path_in_turn_and_finds_each_packets_own_record() {
    in_sandbox(|sandbox| {
        let survey = Survey::new(
            sandbox,
            100,
            Some("redirect, peer".into()),
            false,
            |_, _| {},
        );
        let survey = survey.unwrap_or_else(|error| panic!("{error:#}"));
        let [path] = &survey.paths[..] else {
            panic!("{survey:#?}")
        };
        let stops = path.stops.as_ref().unwrap();
        let met: Vec<_> = stops.iter().map(|seen| (seen.hook, seen.host)).collect();
        let (host, receiver) = (Some("host"), Some("receiver"));
        assert_eq!(
            met,
            [
                (Hook::Xdp, host),
                (Hook::TcIngress, host),
                (Hook::TcIngress, receiver),
                (Hook::Ring, None),
                (Hook::Ticket, None),
                (Hook::Syn, None),
                (Hook::Segment, None),
            ]
        );
        for seen in stops {
            assert_eq!(seen.fate(), Fate::Intact, "{seen:?}");
        }
    });
}

#[test]
fn a_survey_says_which_records_cannot_be_written_while_a_packet_socket_is_open() {
    in_sandbox(|sandbox| {
        let only = Some("local, generic XDP".into());
        let survey = Survey::new(sandbox, 100, only, true, |_, _| {});
        let survey = survey.unwrap_or_else(|error| panic!("{error:#}"));
        let stops = survey.paths[0].stops.as_ref().unwrap();
        let at_tc = stops.iter().find(|seen| seen.hook == Hook::TcIngress);
        assert_eq!(at_tc.unwrap().fate(), Fate::ReadOnly, "{stops:#?}");
    });
}

fn sent(sandbox: &Sandbox, options: &Options) -> Report {
    run(sandbox, options, |_| {}).unwrap_or_else(|error| panic!("{error:#}"))
}
