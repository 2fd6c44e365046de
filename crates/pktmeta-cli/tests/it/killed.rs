//! Commands that are killed half-way: the next one recovers.
//!
//! A command is killed as it enters a system call that changes something others can see; between
//! two of these nothing differs. A run takes some of them, another run others;
//! `PKTMETA_KILLS=changes` takes all (some minutes), and `PKTMETA_KILLS=all` each system call,
//! whatever it does (hours).

use crate::{
    bind::{probe, probe_schema},
    command::{Run, Scratch, pktmeta, text, up},
    lab::{INTERFACE, Lab, SCHEMA, pins},
};
use pktmeta_testkit::{netns::Netns, sandbox::in_sandbox_for};
use std::{
    fs,
    io::{self, Read},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    ptr,
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(3 * 3600);

#[test]
fn an_up_that_is_killed_is_finished_or_undone_by_the_next_command() {
    in_sandbox_for(LIMIT, |sandbox| {
        let lab = Lab::new(sandbox);
        let command = || {
            let mut command = up(sandbox, lab.hosts.server(), INTERFACE);
            command.args(["--schema", SCHEMA, "--label", "192.0.2.0/24=tenant:7"]);
            command.args(Lab::ALL_FIELDS);
            command
        };
        for point in points(command, || drop(lab.down())) {
            killed_at(&mut command(), Some(point));
            recovers(&lab, point);
        }
    });
}

#[test]
fn a_down_that_is_killed_is_finished_by_the_next_command() {
    in_sandbox_for(LIMIT, |sandbox| {
        let lab = Lab::new(sandbox);
        let command = || pktmeta(lab.hosts.server(), &["down"]);
        let start = || drop(lab.try_up(&Lab::ALL_FIELDS).succeeds());
        start();
        for point in points(command, start) {
            killed_at(&mut command(), Some(point));
            recovers(&lab, point);
            start();
        }
    });
}

/// A killed command left something: an `up` or a `down`, by turns, makes it whole or nothing.
#[track_caller]
fn recovers(lab: &Lab, point: usize) {
    if point.is_multiple_of(2) {
        let next = lab.try_up(&Lab::ALL_FIELDS);
        let already = next.stderr.contains("pktmeta does that already");
        assert!(next.code == Some(0) || already, "{point}: {next:#?}");
        let status = lab.pktmeta(&["status"]);
        assert_eq!(status.code, Some(0), "{point}: {status:#?}");
        if !already {
            lab.assert_works();
        }
    }
    let down = lab.pktmeta(&["down"]);
    assert_eq!(down.code, Some(0), "{point}: {down:#?}");
    lab.assert_nothing_is_left();
}

#[test]
fn a_registration_and_a_removal_that_are_killed_are_finished_by_the_next() {
    in_sandbox_for(LIMIT, |sandbox| {
        let here = Netns::current().unwrap();
        let registry = |arguments: &[&str]| pktmeta(&here, &[&["registry"], arguments].concat());
        let register = || registry(&["register", SCHEMA]);
        let remove = || registry(&["remove", "--all"]);
        let succeeds = |mut command: Command| drop(command.ran().succeeds());
        for point in points(register, || succeeds(remove())) {
            killed_at(&mut register(), Some(point));
            succeeds(register());
            let list = registry(&["list", "--json"]).ran().succeeds();
            assert!(list.contains("tenant"), "{point}: {list}");
            succeeds(remove());
            assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0], "{point}");
        }
        succeeds(register());
        for point in points(remove, || succeeds(register())) {
            killed_at(&mut remove(), Some(point));
            succeeds(remove());
            assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0], "{point}");
            succeeds(register());
        }
    });
}

#[test]
fn a_bind_that_is_killed_leaves_no_half_file_and_the_next_one_succeeds() {
    in_sandbox_for(LIMIT, |sandbox| {
        let here = Netns::current().unwrap();
        let scratch = Scratch::new();
        let object = probe(&scratch);
        let schema = scratch.file("lab.toml", probe_schema("u32"));
        let bound = text(scratch.path().join("bound.o"));
        let command = || pktmeta(&here, &["bind", &object, "-o", &bound, "--schema", &schema]);
        let clear = || {
            let _ = fs::remove_file(&bound);
            let mut remove = pktmeta(&here, &["registry", "remove", "--all"]);
            remove.ran().succeeds();
        };
        command().ran().succeeds();
        let whole = fs::metadata(&bound).unwrap().len();
        clear();
        for point in points(command, clear) {
            killed_at(&mut command(), Some(point));
            if let Ok(left) = fs::metadata(&bound) {
                assert_eq!(left.len(), whole, "{point}");
            }
            command().ran().succeeds();
            assert_eq!(fs::metadata(&bound).unwrap().len(), whole, "{point}");
            clear();
            assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0], "{point}");
        }
    });
}

/// The calls at which to kill a command: it is run once to count them, and undone.
fn points(command: impl Fn() -> Command, undo: impl FnOnce()) -> impl Iterator<Item = usize> {
    const SAMPLE: usize = 6;
    let Some(count) = killed_at(&mut command(), None) else {
        panic!("it was killed");
    };
    undo();
    let step = match std::env::var_os(KILLS) {
        Some(_) => 1,
        None => count.div_ceil(SAMPLE),
    };
    let first = std::process::id() as usize % step;
    println!("killed at {first} and each {step} after it, of {count}");
    (first..count).step_by(step)
}

/// True if each system call is to be tried.
fn everything() -> bool {
    std::env::var(KILLS).is_ok_and(|which| which == "all")
}

const KILLS: &str = "PKTMETA_KILLS";

/// Runs a command and kills it as it is about to change something for this time, counted from 0. If
/// it comes to its end before, the number of changes that it made.
#[expect(
    clippy::zombie_processes,
    reason = "each way out has waited by waitpid"
)]
fn killed_at(command: &mut Command, point: Option<usize>) -> Option<usize> {
    // SAFETY: between fork and exec this makes one system call, which takes no memory.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = child.id() as libc::pid_t;
    assert!(libc::WIFSTOPPED(wait(pid)), "it stops at its exec");
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
    // SAFETY: sets options of our stopped child; takes no memory.
    checked(unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options) });
    let mut changes = 0;
    let mut signal = 0;
    loop {
        // SAFETY: lets our stopped child run; takes no memory.
        checked(unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid, 0, signal) });
        let status = wait(pid);
        if libc::WIFEXITED(status) {
            let mut said = String::new();
            let mut stderr = child.stderr.take().unwrap();
            stderr.read_to_string(&mut said).unwrap();
            assert!(point.is_some() || libc::WEXITSTATUS(status) == 0, "{said}");
            return Some(changes);
        }
        assert!(libc::WIFSTOPPED(status), "it was killed by somebody else");
        signal = match libc::WSTOPSIG(status) {
            stop if stop == libc::SIGTRAP | 0x80 => {
                if enters_a_change(pid) {
                    if point == Some(changes) {
                        break;
                    }
                    changes += 1;
                }
                0
            }
            signal => signal,
        };
    }
    // SAFETY: our child, which was not waited for.
    checked(unsafe { libc::kill(pid, libc::SIGKILL) }.into());
    assert!(libc::WIFSIGNALED(wait(pid)));
    None
}

/// True if the stopped child is about to make a system call that others can see, or any at all if
/// each is to be tried.
fn enters_a_change(pid: libc::pid_t) -> bool {
    // BPF_MAP_UPDATE_ELEM, OBJ_PIN, MAP_UPDATE_BATCH, LINK_CREATE, LINK_DETACH of enum bpf_cmd.
    const BPF: [u64; 5] = [2, 6, 26, 28, 34];
    const CALLS: [libc::c_long; 15] = [
        libc::SYS_mkdirat,
        libc::SYS_mkdir,
        libc::SYS_unlinkat,
        libc::SYS_unlink,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_rename,
        libc::SYS_symlinkat,
        libc::SYS_linkat,
        libc::SYS_fchmodat,
        libc::SYS_fchownat,
        libc::SYS_flock,
        libc::SYS_mount,
        libc::SYS_write,
        libc::SYS_exit_group,
    ];
    // SAFETY: zeros are a valid ptrace_syscall_info.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = size_of_val(&info);
    // SAFETY: info has the size that is passed, and the child is stopped.
    let got = unsafe {
        libc::ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            pid,
            size,
            ptr::from_mut(&mut info),
        )
    };
    assert!(got > 0, "{}", io::Error::last_os_error());
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return false;
    }
    // SAFETY: it is the entry of a system call, as `op` says.
    let entry = unsafe { info.u.entry };
    let call = entry.nr as libc::c_long;
    everything() || CALLS.contains(&call) || call == libc::SYS_bpf && BPF.contains(&entry.args[0])
}

fn wait(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: waits for our child and writes to `status`.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid, "{}", io::Error::last_os_error());
    status
}

#[track_caller]
fn checked(result: libc::c_long) {
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
