//! A server in a service with systemd's `SystemCallFilter=@system-service`, which kills what calls
//! bpf(2).

use crate::{Server, connect, labelled_hosts, send_datagram};
use pktmeta_testkit::sandbox::in_sandbox;
use std::{
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::Command,
};

/// The system calls of that group: systemd 252, x86-64.
const SYSTEM_SERVICE: &str = include_str!("system-service.txt");

#[test]
fn a_server_in_a_service_of_systemd_has_the_records() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let mut command = hosts.server().command(env!("CARGO_BIN_EXE_echo"));
        let mut server = Server::start(filtered(command.arg("192.0.2.2:7000")));
        for _ in 0..3 {
            send_datagram(&hosts);
            assert!(server.line().contains("\"tenant\": Unsigned(7)"));
        }
        let mut stream = connect(&hosts);
        assert!(server.line().contains("\"tenant\": Unsigned(7)"));
        stream.write_all(b"hi").unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
    });
}

#[test]
fn who_says_that_the_filter_lets_bpf_pass_is_believed() {
    in_sandbox(|sandbox| {
        let hosts = labelled_hosts(sandbox);
        let mut command = hosts.server().command(env!("CARGO_BIN_EXE_echo"));
        command.arg("192.0.2.2:7000").env("PKTMETA_RING", "on");
        let status = filtered(&mut command).status().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");
    });
}

/// Makes a command run as in a service with that filter.
fn filtered(command: &mut Command) -> &mut Command {
    let mut filter = filter();
    // SAFETY: Between fork and exec the hook makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            let program = libc::sock_fprog {
                len: filter.len() as u16,
                filter: filter.as_mut_ptr(),
            };
            match libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            ) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
    }
}

/// Lets the calls of the list pass, and kills the process that makes another.
fn filter() -> Vec<libc::sock_filter> {
    const NUMBER_AT: u32 = 0; // of struct seccomp_data
    let instruction = |code, jf, k| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let answer = |action| instruction(libc::BPF_RET | libc::BPF_K, 0, action);
    let mut filter = vec![instruction(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        NUMBER_AT,
    )];
    let calls = SYSTEM_SERVICE.lines().filter(|line| !line.starts_with('#'));
    for call in calls.flat_map(str::split_whitespace) {
        let (number, _) = call.split_once(':').unwrap();
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        filter.push(instruction(equal, 1, number.parse().unwrap()));
        filter.push(answer(libc::SECCOMP_RET_ALLOW));
    }
    filter.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    filter
}
