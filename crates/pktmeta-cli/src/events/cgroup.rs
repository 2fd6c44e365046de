//! The cgroup that a program runs in.

use crate::output::{self, remark};
use anyhow::Context;
use pktmeta_bpf::host;
use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

/// A cgroup that this process made. When it is dropped, the cgroup is removed, and processes that
/// are still in it go on in its parent.
pub(crate) struct Cgroup {
    path: PathBuf,
    directory: File,
    processes: File,
}

impl Cgroup {
    pub(crate) fn create(parent: &Path) -> anyhow::Result<Self> {
        host::open_cgroup(parent)?;
        let path = parent.join(format!("pktmeta-exec-{}", std::process::id()));
        let tried = || format!("make the cgroup {}", output::name(&path));
        fs::create_dir(&path).with_context(tried)?;
        let open = || {
            let processes = File::options()
                .write(true)
                .open(path.join("cgroup.procs"))?;
            io::Result::Ok((File::open(&path)?, processes))
        };
        let opened = open().with_context(tried);
        if opened.is_err() {
            let _ = fs::remove_dir(&path);
        }
        let (directory, processes) = opened?;
        Ok(Self {
            path,
            directory,
            processes,
        })
    }

    pub(crate) fn directory(&self) -> &File {
        &self.directory
    }

    /// Moves the process that calls it there.
    pub(crate) fn join(&self) -> impl FnMut() -> io::Result<()> + Send + Sync + use<> {
        let processes = self.processes.as_fd().try_clone_to_owned().map(File::from);
        move || match &processes {
            Ok(processes) => (&*processes).write_all(b"0"),
            Err(error) => Err(error.kind().into()),
        }
    }

    /// The processes in it and below.
    pub(crate) fn processes(&self) -> impl Iterator<Item = i32> {
        let mut waiting = vec![self.path.clone()];
        let mut processes = Vec::new();
        while let Some(directory) = waiting.pop() {
            // One that cannot be read has been removed since.
            let here = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            processes.extend(here.lines().filter_map(|line| line.parse::<i32>().ok()));
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            waiting.extend(below.map(|entry| entry.path()));
        }
        processes.into_iter()
    }

    /// True if no process is in it, nor below.
    pub(crate) fn is_empty(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        !events.lines().any(|line| line == "populated 1")
    }

    fn remove(&self) -> io::Result<()> {
        const ATTEMPTS: u32 = 100;
        let parent = self.path.join("../cgroup.procs");
        let mut attempt = 0;
        loop {
            for process in fs::read_to_string(self.path.join("cgroup.procs"))?.lines() {
                // One that has ended meanwhile need not go on anywhere.
                let _ = fs::write(&parent, process);
            }
            attempt += 1;
            match fs::remove_dir(&self.path) {
                // A process may have made another since they were listed.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && attempt < ATTEMPTS => {
                }
                removed => return removed,
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            let path = output::name(&self.path);
            remark!("remove the cgroup {path}: {error}\n  = remove it with rmdir");
        }
    }
}
