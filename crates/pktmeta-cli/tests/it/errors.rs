//! What is missing or wrong, why, and what to do about it.

use crate::{
    command::{PKTMETA, Ran, Run, Scratch, pktmeta, text, up},
    lab::{INTERFACE, Lab, SCHEMA, pins},
    up::schema_of,
};
use pktmeta::{Reason, TcpMeta, UdpMeta};
use pktmeta_testkit::{link::IpVersion, netns::Netns, sandbox::Sandbox, sandbox::in_sandbox};
use std::{
    ffi::{CStr, CString},
    fs, io,
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
};

/// The command without any capability, from a copy that everybody may run.
pub(crate) fn without_root(arguments: &[&str]) -> Ran {
    let scratch = Scratch::new();
    let copy = scratch.path().join("pktmeta");
    fs::copy(PKTMETA, &copy).unwrap();
    let mut command = Command::new(copy);
    command.args(arguments).uid(65534).gid(65534);
    command.current_dir("/").env_remove("PKTMETA_SANDBOX").ran()
}

#[test]
fn without_capabilities_each_command_says_which_are_missing() {
    in_sandbox(|_| {
        for arguments in [&["up", "--iface", "lo"][..], &["down"], &["status"]] {
            let ran = without_root(arguments);
            ran.fails(&[
                "lacks CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF",
                "run it as root",
            ]);
        }
    });
}

#[test]
fn without_root_the_demo_says_what_it_needs() {
    in_sandbox(|_| without_root(&["demo"]).fails(&["start the demo", "CAP_NET_ADMIN", "as root"]));
}

#[test]
fn what_has_no_end_is_read_as_far_as_makes_sense() {
    let schema = ["check", "/dev/zero"];
    let bind = ["bind", "/dev/zero", "-o", "/dev/null"];
    for (arguments, bound) in [(&schema[..], "1048576"), (&bind, "67108864")] {
        let mut command = Command::new(PKTMETA);
        // No memory for more than the largest of the bounds, and what doubling takes.
        limit_memory(&mut command, 1 << 30);
        command
            .args(arguments)
            .ran()
            .fails(&["read ", "/dev/zero: it has more than", bound]);
    }
}

#[test]
fn decode_reads_no_endless_input() {
    let mut decode = Command::new(PKTMETA);
    limit_memory(&mut decode, 1 << 30);
    let zeros = fs::File::open("/dev/zero").unwrap();
    let ran: Ran = decode
        .args(["decode", "-"])
        .stdin(zeros)
        .output()
        .unwrap()
        .into();
    ran.fails(&["read the standard input", "more than 65536 bytes"]);
}

fn limit_memory(command: &mut Command, bytes: u64) {
    let limit = move || {
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: bytes,
        };
        // SAFETY: limit is an rlimit that outlives the call.
        checked(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) })
    };
    // SAFETY: between fork and exec it makes a system call only.
    unsafe { command.pre_exec(limit) };
}

#[test]
fn on_a_full_disk_gen_leaves_what_was_there() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let path = CString::new(text(scratch.path())).unwrap();
        // SAFETY: all are C strings that outlive the call.
        checked(unsafe {
            libc::mount(
                c"tmpfs".as_ptr(),
                path.as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                c"size=256k".as_ptr().cast(),
            )
        })
        .unwrap();
        let generate = |language: &str, schemas: &[&str]| {
            let mut command = Command::new(PKTMETA);
            command.args(["gen", language, "-o", &text(scratch.path())]);
            command.args(schemas).ran()
        };
        let schema = fs::read_to_string(SCHEMA).unwrap();
        let edge = scratch.file("edge.toml", &schema);
        generate("python", &[&edge]).succeeds();
        let files = || {
            let mut files: Vec<_> = fs::read_dir(scratch.path())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| (path.clone(), fs::read(path).unwrap()))
                .collect();
            files.sort();
            files
        };
        let other = scratch.file("edge.toml", schema.replace("u32", "u64"));
        let filler = scratch.path().join("filler");
        let full = fs::write(&filler, vec![0; 256 << 10]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        let before = files();
        let ran = generate("python", &[&other]);
        ran.fails(&["write ", "No space left", "make room"]);
        assert!(files() == before, "something was left or cut");
        fs::remove_file(filler).unwrap();
        generate("python", &[&other]).succeeds();
        assert!(files() != before);
    });
}

/// Runs a command with mounts of its own, which `change` changes before it starts. Only system
/// calls are allowed there.
fn with_own_mounts(
    command: &mut Command,
    mut change: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> Ran {
    let hook = move || {
        // SAFETY: unshare takes no memory.
        checked(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        change()
    };
    // SAFETY: between fork and exec the hook makes system calls only. The mounts of a sandbox are
    // private, so that nobody else sees the change.
    unsafe { command.pre_exec(hook) }.ran()
}

/// Where cgroup v2 is mounted.
fn cgroup_mounts() -> Vec<CString> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let cgroups = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
    let points = cgroups.map(|line| line.split(' ').nth(4).unwrap());
    let points: Vec<_> = points.map(|point| CString::new(point).unwrap()).collect();
    assert!(!points.is_empty());
    points
}

pub(crate) fn without_cgroups(command: &mut Command) -> Ran {
    let points = cgroup_mounts();
    with_own_mounts(command, move || {
        points.iter().rev().try_for_each(|point| {
            // SAFETY: the path is a C string that outlives the call.
            checked(unsafe { libc::umount2(point.as_ptr(), libc::MNT_DETACH) })
        })
    })
}

/// With something else over each mount of cgroup v2, and cgroup v2 at another place, if there is
/// one.
fn with_covered_cgroups(command: &mut Command, elsewhere: Option<&Path>) -> Ran {
    let points = cgroup_mounts();
    let elsewhere = elsewhere.map(|path| CString::new(text(path)).unwrap());
    with_own_mounts(command, move || {
        points.iter().try_for_each(|point| mount(c"tmpfs", point))?;
        elsewhere
            .as_deref()
            .map_or(Ok(()), |point| mount(c"cgroup2", point))
    })
}

fn without_btf(command: &mut Command) -> Ran {
    with_own_mounts(command, || mount(c"tmpfs", c"/sys/kernel/btf"))
}

fn mount(kind: &CStr, target: &CStr) -> io::Result<()> {
    let (kind, target) = (kind.as_ptr(), target.as_ptr());
    // SAFETY: all are C strings that outlive the call; the options may be null.
    checked(unsafe { libc::mount(kind, target, kind, 0, std::ptr::null()) })
}

fn checked(result: i32) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn without_cgroup_v2_up_and_doctor_say_so() {
    in_sandbox(|sandbox| {
        let here = Netns::current().unwrap();
        let up = without_cgroups(&mut pktmeta(&here, &["up", "--iface", "lo"]));
        up.fails(&["no cgroup2 file system is mounted", "mount -t cgroup2"]);
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
        let doctor = without_cgroups(&mut pktmeta(&here, &["doctor"]));
        assert_eq!(doctor.code, Some(1), "{doctor:#?}");
        for part in [
            "MISSING  cgroup v2",
            "so no record reaches a socket",
            "= mount it",
        ] {
            assert!(
                doctor.stdout.contains(part),
                "no {part:?} in {}",
                doctor.stdout
            );
        }
    });
}

#[test]
fn a_mount_of_cgroup_v2_that_something_else_covers_is_not_taken() {
    in_sandbox(|sandbox| {
        let here = Netns::current().unwrap();
        let up = with_covered_cgroups(&mut pktmeta(&here, &["up", "--iface", "lo"]), None);
        up.fails(&["something else is mounted over", "mount -t cgroup2"]);
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);

        let elsewhere = Scratch::new();
        let mut doctor = pktmeta(&here, &["doctor"]);
        let said = with_covered_cgroups(&mut doctor, Some(elsewhere.path())).succeeds();
        let found = format!("ok       cgroup v2: {}\n", text(elsewhere.path()));
        assert!(said.contains(&found), "no {found:?} in {said}");
    });
}

#[test]
fn without_btf_up_and_doctor_say_so() {
    in_sandbox(|sandbox| {
        let here = Netns::current().unwrap();
        let up = without_btf(&mut up(sandbox, &here, "lo"));
        up.fails(&[
            "/sys/kernel/btf/vmlinux",
            "No such file",
            "CONFIG_DEBUG_INFO_BTF=y",
        ]);
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
        let doctor = without_btf(&mut pktmeta(&here, &["doctor"]));
        assert_eq!(doctor.code, Some(1), "{doctor:#?}");
        let missing = "MISSING  kernel types (BTF)";
        assert!(doctor.stdout.contains(missing), "{}", doctor.stdout);
    });
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    in_sandbox(|sandbox| {
        let here = Netns::current().unwrap();
        let parts = ["find interface \"eth99\"", "No such device", "ip link"];
        up(sandbox, &here, "eth99").ran().fails(&parts);
        pktmeta(&here, &["down", "--iface", "eth99"])
            .ran()
            .fails(&["eth99"]);
    });
}

#[test]
fn a_cgroup_that_does_not_exist_is_named() {
    in_sandbox(|sandbox| {
        let cgroup = text(sandbox.cgroup().join("nobodys"));
        up_on_lo(&["--cgroup", &cgroup]).fails(&[&cgroup, "No such file"]);
    });
}

#[test]
fn a_path_that_is_no_cgroup_is_refused() {
    in_sandbox(|_| {
        let ran = up_on_lo(&["--cgroup", "/proc"]);
        ran.fails(&[
            "open cgroup /proc",
            "not a directory of the cgroup v2",
            "below /",
        ]);
    });
}

/// `up` with arguments that it is expected to refuse, which otherwise might reach all sockets.
fn up_on_lo(arguments: &[&str]) -> Ran {
    let mut up = pktmeta(&Netns::current().unwrap(), &["up", "--iface", "lo"]);
    up.args(arguments).ran()
}

#[test]
fn a_bpffs_directory_that_does_not_exist_is_named() {
    in_sandbox(|sandbox| {
        let mut up = up(sandbox, &Netns::current().unwrap(), "lo");
        let ran = up.args(["--bpffs", "/nonexistent/bpf"]).ran();
        ran.fails(&["mount bpffs on /nonexistent/bpf", "No such file"]);
    });
}

#[test]
fn a_schema_with_a_mistake_is_shown_with_its_place() {
    in_sandbox(|sandbox| {
        let scratch = Scratch::new();
        for (contents, place, parts) in [
            (
                "owner = \"edge\"\n[[field]]\nname = \"tenant\"\ntype = \"u33\"\n",
                ":4:8: ",
                &[
                    "\"u33\" is not a field type",
                    "4 | type = \"u33\"\n",
                    "^^^^^",
                ][..],
            ),
            (
                "owner = \"edge\"\n[[field]]\nname = \"Ten ant\"\ntype = \"u32\"\n",
                ":3:8: ",
                &[
                    "\"Ten ant\" is not a name",
                    "3 | name = \"Ten ant\"\n",
                    "^^^^^^^^^",
                ],
            ),
            (
                "owner = \"edge\"\ncolour = 1\n",
                ":2:1: ",
                &["unknown field `colour`", "2 | colour = 1\n", "^^^^^^"],
            ),
            ("owner = \"edge\"\n[[field]\n", ":2:", &["2 | [[field]\n"]),
            (
                &schema_of(&[64, 64, 64, 64]),
                ":1:9: ",
                &["bytes, ", "more than fit", "1 | owner = \"large\"\n"],
            ),
        ] {
            let file = scratch.file("edge.toml", contents);
            let place = format!("{file}{place}");
            let ran = up_with(sandbox, &["--schema", &file]);
            ran.fails(&[&[place.as_str()], parts].concat());
        }
    });
}

#[test]
fn a_schema_that_cannot_be_read_is_named() {
    in_sandbox(|sandbox| {
        let ran = up_with(sandbox, &["--schema", "/nonexistent/edge.toml"]);
        ran.fails(&["read the schema /nonexistent/edge.toml", "No such file"]);
    });
}

#[test]
fn a_field_that_another_owner_registered_is_refused() {
    in_sandbox(|sandbox| {
        let scratch = Scratch::new();
        for kind in ["u32", "u64"] {
            let schema =
                format!("owner = \"core\"\n[[field]]\nname = \"tenant\"\ntype = \"{kind}\"\n");
            let schema = scratch.file("core.toml", schema);
            let ran = up_with(sandbox, &["--schema", SCHEMA, "--schema", &schema]);
            ran.fails(&["tenant", "edge"]);
        }
    });
}

#[test]
fn a_label_that_cannot_be_set_says_why() {
    in_sandbox(|sandbox| {
        for (label, parts) in [
            (
                "192.0.2.0/24=colour:7",
                &["no field is called \"colour\"", "known are: "][..],
            ),
            (
                "192.0.2.0/24=tenant:red",
                &["\"red\" is no value for tenant: u32"],
            ),
            ("192.0.2.0/24=tenant:4294967296", &["0 to 4294967295"]),
        ] {
            let ran = up_with(sandbox, &["--schema", SCHEMA, "--label", label]);
            ran.fails(&[&[label], parts].concat());
        }
    });
}

#[test]
fn a_mistake_in_the_arguments_exits_with_2_and_says_what_to_write() {
    in_sandbox(|_| {
        for (label, why) in [
            ("tenant:7", "there is no ="),
            ("192.0.2.0/24=7", "there is no :"),
            ("192.0.2/24=tenant:7", "no IP address"),
            ("192.0.2.1/24=tenant:7", "bits beyond"),
        ] {
            up_on_lo(&["--label", label]).is_refused(&[label, why, "PREFIX=FIELD:VALUE"]);
        }
        for (arguments, part) in [
            (&["up"][..], "--iface"),
            (&["up", "--iface", "lo", "--slots", "many"], "many"),
            (&["up", "--iface", "lo", "--mode", "quick"], "native"),
            (&["demo", "--datagrams", "1"], "1 is not in 2.."),
            (&["upp"], "up"),
        ] {
            let ran = pktmeta(&Netns::current().unwrap(), arguments).ran();
            assert_eq!(ran.code, Some(2), "{ran:#?}");
            assert!(ran.stderr.contains(part), "{ran:#?}");
        }
    });
}

/// `up` on the loopback interface of the sandbox.
fn up_with(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut up = up(sandbox, &Netns::current().unwrap(), "lo");
    let ran = up.args(arguments).ran();
    assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
    ran
}

#[test]
fn an_application_without_a_datapath_is_told_to_bring_one_up() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let (server, client) = lab.connection(IpVersion::V6, 1);
        let socket = lab.plain_udp_server(IpVersion::V4);
        for error in [
            socket.enable_packet_meta().unwrap_err(),
            server.opening_meta().unwrap_err(),
            client.packet_meta().unwrap_err(),
        ] {
            assert!(error.is_unavailable(Reason::NoDatapath), "{error:?}");
            let remedy = error.remedy().unwrap_or_default();
            assert!(remedy.contains("pktmeta up --iface"), "{remedy}");
        }
    });
}

#[test]
fn an_application_in_another_cgroup_is_told_that_no_datapath_answers() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let other = sandbox.cgroup().join("other");
        fs::create_dir(&other).unwrap();
        let up = [
            "up",
            "--iface",
            INTERFACE,
            "--cgroup",
            other.to_str().unwrap(),
        ];
        lab.pktmeta(&up).succeeds();
        let (server, _client) = lab.connection(IpVersion::V4, 1);
        let error = server.opening_meta().unwrap_err();
        assert!(error.is_unavailable(Reason::NoDatapath), "{error:?}");
        let remedy = error.remedy().unwrap_or_default();
        assert!(remedy.contains("--cgroup"), "{remedy}");
    });
}
