//! What commands share that send packets between hosts of their own.

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pktmeta_testkit::sandbox::Sandbox;
use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode},
};

/// Runs this command once more, in a sandbox that disappears with it. `what` is for errors.
pub(crate) fn run(what: &str) -> anyhow::Result<ExitCode> {
    let context = || format!("start {what}");
    pktmeta_bpf::host::check_capabilities().with_context(context)?;
    pktmeta_testkit::root::require().with_context(context)?;
    let this = std::env::current_exe().context("find this program")?;
    let status = Sandbox::run(Command::new(this).args(std::env::args_os().skip(1)))
        .with_context(|| format!("start {what} in a sandbox"))?;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        // As a shell reports it.
        (None, signal) => Ok(ExitCode::from(
            128 + u8::try_from(signal.unwrap_or(0)).unwrap_or(0),
        )),
    }
}

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn progress(what: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg:18} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.with_message(what.to_owned())
}
