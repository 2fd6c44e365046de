//! `pktmeta headers`

use crate::output::{self, say};
use std::{path::PathBuf, process::ExitCode};

/// Write the header library for BPF programs, and its pkg-config file
///
/// The headers go to DIR/include/pktmeta, the file to DIR/share/pkgconfig. A package for a
/// distribution takes its /usr for DIR.
#[derive(clap::Args)]
#[command(after_help = "Example: pktmeta headers /usr/local && \
    clang -g -O2 -target bpf -mcpu=v3 $(pkg-config --cflags pktmeta) -c steer.bpf.c")]
pub(crate) struct Headers {
    /// Directory to write them below
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Headers {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let written = pktmeta_bpf::headers::write(&self.directory)?;
        say!(
            "{} files in {}",
            written.len(),
            output::name(&self.directory)
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
