//! `pktmeta headers`

use crate::output::{self, say};
use anyhow::anyhow;
use std::{fs, path::PathBuf, process::ExitCode};

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
        let mut written = 0;
        for (path, text) in pktmeta_headers::installed(&self.directory) {
            let made = fs::create_dir_all(path.parent().unwrap_or(&self.directory));
            made.and_then(|()| fs::write(&path, text))
                .map_err(|error| {
                    let path = output::name(&path);
                    anyhow!("write {path}: {error}\n  = name a directory that you may write to")
                })?;
            written += 1;
        }
        say!("{} files in {}", written, output::name(&self.directory))?;
        Ok(ExitCode::SUCCESS)
    }
}
