//! Commands that send packets between hosts of their own.

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pktmeta_testkit::sandbox::Sandbox;
use std::process::ExitCode;

/// Runs this command once more, in a sandbox that disappears with it. `what` is for errors.
pub(crate) fn run(what: &str) -> anyhow::Result<ExitCode> {
    let context = || format!("start {what}");
    pktmeta_bpf::host::check_capabilities().with_context(context)?;
    pktmeta_testkit::root::require().with_context(context)?;
    Sandbox::run_this_program().with_context(|| format!("start {what} in a sandbox"))
}

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn progress(what: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg:18} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.with_message(what.to_owned())
}
