//! README, the guide, `docs/schema.md` and `examples/README.md`: each command in them runs as
//! printed, and prints what the page shows.
//!
//! Here they run on this host, in a sandbox whose cgroup looks like the root of all: nothing that
//! is printed has to be changed for it. What installs and builds does nothing, since that was done
//! before the tests. `cargo xtask docs` runs the same in a Debian 12 that has nothing but what the
//! pages install, where nothing is replaced.

mod page;
mod place;
mod shown;

use page::{Page, Step};
use pktmeta_testkit::sandbox::in_sandbox_for;
use place::Place;
use std::{fmt::Write as _, time::Duration};

/// A reader's build takes its time.
const LIMIT: Duration = Duration::from_secs(1800);

/// Begins a line that says which step's output follows.
const STEP: char = '\u{1e}';

#[test]
fn every_command_of_the_readme_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("README.md"));
}

#[test]
fn every_command_of_the_first_page_of_the_guide_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/guide/README.md"));
}

#[test]
fn every_command_for_tcp_servers_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/guide/tcp-server.md"));
}

#[test]
fn every_command_for_udp_servers_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/guide/udp-server.md"));
}

#[test]
fn every_command_for_senders_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/guide/send.md"));
}

#[test]
fn every_command_for_bpf_authors_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/guide/bpf-author.md"));
}

#[test]
fn every_command_that_shows_sockets_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/guide/see-sockets.md"));
}

#[test]
fn every_command_that_changes_labels_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/guide/labels.md"));
}

#[test]
fn every_command_that_shows_where_records_are_kept_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/guide/where.md"));
}

#[test]
fn every_command_about_two_teams_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/guide/two-teams.md"));
}

#[test]
fn every_command_on_reach_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/guide/reach.md"));
}

#[test]
fn every_command_about_schemas_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("docs/schema.md"));
}

#[test]
fn every_command_of_the_examples_runs_as_printed() {
    in_sandbox_for(LIMIT, |_| runs("examples/README.md"));
}

#[test]
fn the_guides_rust_is_that_of_the_examples() {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let examples = [
        include_str!("../../../../../examples/rust/requests.rs"),
        include_str!("../../../../../examples/rust/web.rs"),
        include_str!("../../../../../examples/rust/datagrams.rs"),
        include_str!("../../../../../examples/rust/quic.rs"),
        include_str!("../../../../../examples/rust/send.rs"),
        include_str!("../../../../../examples/rust/answer.rs"),
    ];
    let examples = examples.map(squeeze);
    let mut programs = 0;
    for guide in [
        include_str!("../../../../../docs/guide/tcp-server.md"),
        include_str!("../../../../../docs/guide/udp-server.md"),
        include_str!("../../../../../docs/guide/send.md"),
    ] {
        let blocks = guide.split("```").skip(1).step_by(2);
        let rust = blocks.filter_map(|block| block.strip_prefix("rust\n"));
        for block in rust.map(squeeze) {
            // What a reader can copy and run is all of an example, from its first line to its last.
            let program = block.contains("fn main()");
            let found = examples.iter().any(|example| match program {
                true => block.starts_with("use ") && example.ends_with(&block),
                false => example.contains(&block),
            });
            assert!(found, "not in examples/rust: {block}");
            programs += usize::from(program);
        }
    }
    assert_eq!(programs, 4, "programs in the guide");
}

/// Runs a page from its first command to its last.
fn runs(path: &str) {
    let place = Place::new(path);
    let page = Page::parse(&place.text());
    for (name, contents) in &page.files {
        place.file(name, contents);
    }
    let ran = place.run(&page.network, &script(&page.steps));
    for (at, step) in page.steps.iter().enumerate() {
        let begin = format!("{STEP}{at}\n");
        let output = ran.output.split_once(&begin).map(|(_, rest)| rest);
        let output = output.and_then(|rest| rest.split(STEP).next());
        let Some(output) = output else { break };
        if let Some(shows) = &step.shows {
            let Step { line, commands, .. } = step;
            assert!(
                shows.is(output),
                "{path}, line {line}: the page does not show what came of\n{commands}\n\
                 ---- which is\n{output}\n---- in all\n{}",
                ran.output
            );
        }
    }
    assert!(
        ran.succeeded,
        "{path}: its last command failed:\n{}",
        ran.output
    );
    println!(
        "{path}: {} blocks run, {} not run",
        page.steps.len(),
        page.not_run.len()
    );
    for (line, why) in &page.not_run {
        println!("{path}, line {line}: not run: {why}");
    }
}

/// Interrupts a command, `$2`, after `$1` seconds, or when it has printed the word `$1`, at the
/// latest after 20 seconds. It may end before. With job control, it is a group of processes that
/// does not ignore the signal.
const INTERRUPTED: &str = r#"
interrupted() {
    local printed=$(mktemp) limit=$SECONDS word=$1
    case $1 in
    [0-9]*) ((limit += $1)); word='no such word' ;;
    *) ((limit += 20)) ;;
    esac
    set -m
    bash -ec "$2" > $printed 2>&1 &
    set +m
    until grep --quiet "$word" $printed || ! kill -0 $! 2> /dev/null || ((SECONDS > limit)); do
        sleep 0.1
    done
    kill -INT -- -$! 2> /dev/null || :
    wait $! || test $? = 130 || { cat $printed; false; }
    cat $printed
}
"#;

/// All steps as a script, which ends with what fails.
fn script(steps: &[Step]) -> String {
    let mut script = format!("set -e\n{INTERRUPTED}");
    for (at, step) in steps.iter().enumerate() {
        let _ = writeln!(script, "printf '\\n{STEP}{at}\\n'");
        match &step.interrupted {
            None => script.push_str(&step.commands),
            Some(when) => {
                for command in step.commands.replace("\\\n", " ").lines() {
                    let quoted = command.replace('\'', r"'\''");
                    let _ = writeln!(script, "interrupted '{when}' '{quoted}'");
                }
            }
        }
        script.push('\n');
    }
    script
}
