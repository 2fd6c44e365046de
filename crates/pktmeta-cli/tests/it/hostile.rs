//! What other users and other programs do to the pins: root is led nowhere, and takes nothing for
//! what it is not.

use crate::{
    bpf::{self, Foreign},
    command::{Ran, Run, Scratch, pktmeta, text, up},
    lab::{ATTACHED, INTERFACE, Lab, eventually, pins},
};
use pktmeta_testkit::{link::IpVersion, netns::Netns, sandbox::in_sandbox};
use std::{
    fs::{self, File, Permissions},
    os::{
        fd::AsRawFd,
        unix::{
            fs::{MetadataExt, PermissionsExt, symlink},
            process::CommandExt,
        },
    },
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const NOBODY: u32 = 65534;

/// Makes everybody able to make names there, as the kernel does by default.
fn open_to_all(bpffs: &Path) {
    fs::set_permissions(bpffs, Permissions::from_mode(0o1777)).unwrap();
}

/// A command of another user.
fn nobody(program: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments).uid(NOBODY).gid(NOBODY).ran()
}

#[test]
fn names_that_another_user_made_first_are_refused_with_their_owner_and_a_remedy() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let bpffs = sandbox.bpffs();
        open_to_all(bpffs);
        let scratch = Scratch::new();
        let victim = scratch.file("precious", "precious");
        for (name, commands) in [
            ("pktmeta", &[&["up"][..], &["down"], &["status"]][..]),
            ("pktmeta-aside", &[&["up"], &["down"]]),
            (
                "pktmeta-lock",
                &[&["up"], &["down"], &["registry", "remove", "--all"]],
            ),
        ] {
            let place = text(bpffs.join(name));
            nobody("mkdir", &[&place]).succeeds();
            nobody("ln", &["-s", &text(scratch.path()), &format!("{place}/x")]).succeeds();
            for command in commands {
                let ran = match command {
                    ["up"] => lab.try_up(&[]),
                    others => lab.pktmeta(others),
                };
                ran.fails(&[&place, "user 65534", "rm -r"]);
            }
            nobody("rm", &["-r", &place]).succeeds();
        }
        for name in ["pktmeta", "pktmeta-aside", "pktmeta-registry"] {
            let place = text(bpffs.join(name));
            nobody("ln", &["-s", &text(scratch.path()), &place]).succeeds();
            lab.try_up(&[]).fails(&[&place, "rm "]);
            nobody("rm", &[&place]).succeeds();
        }
        assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
        lab.try_up(&[]).succeeds();
        lab.assert_works();
        // Now they are root's, and others can neither move nor replace them.
        let place = text(bpffs.join("pktmeta"));
        assert_ne!(
            nobody("mv", &[&place, &format!("{place}-mine")]).code,
            Some(0)
        );
        lab.down();
        lab.assert_nothing_is_left();
    });
}

#[test]
fn a_bpffs_that_others_may_write_without_the_sticky_bit_is_refused() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        fs::set_permissions(sandbox.bpffs(), Permissions::from_mode(0o777)).unwrap();
        let chmod = "chmod go-w /sys/fs/bpf";
        lab.try_up(&[]).fails(&["others may replace", chmod]);
        lab.pktmeta(&["status"]).fails(&[chmod]);
    });
}

#[test]
fn what_another_user_locks_keeps_nobody_waiting() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        open_to_all(sandbox.bpffs());
        let lock = "flock /sys/fs/bpf sh -c 'echo locked; sleep 100'";
        let mut command = Command::new("sh");
        command.args(["-c", lock]).uid(NOBODY).gid(NOBODY);
        let mut holder = command.running();
        let stdout = holder.stdout.take().unwrap();
        let _rest = crate::command::Running::wait_for("locked", stdout);
        lab.try_up(&["--wait", "0"]).succeeds();
        lab.pktmeta(&["down", "--wait", "0"]).succeeds();
    });
}

#[test]
fn waiting_for_another_command_is_announced_names_it_and_ends() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let place = sandbox.bpffs().join("pktmeta-lock");
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, Permissions::from_mode(0o700)).unwrap();
        let lock = File::open(&place).unwrap();
        // SAFETY: takes no memory.
        assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);
        let holder = format!("process {}", std::process::id());
        let started = Instant::now();
        for command in [
            &["down", "--wait", "1"][..],
            &["registry", "remove", "--all", "--wait", "1"],
        ] {
            let ran = lab.pktmeta(command);
            ran.fails(&["lock /sys/fs/bpf", &holder, "--wait"]);
            assert!(
                ran.stderr.starts_with("pktmeta: waits for "),
                "{}",
                ran.stderr
            );
        }
        assert!(started.elapsed() < Duration::from_secs(20));
        // What does not change anything does not wait.
        assert_eq!(lab.pktmeta(&["status"]).code, Some(3));
        drop(lock);
        lab.try_up(&["--wait", "1"]).succeeds();
        lab.down();
        lab.assert_nothing_is_left();
    });
}

#[test]
fn what_is_none_of_ours_is_left_and_named_and_in_nobodys_way() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let scratch = Scratch::new();
        let precious = scratch.file("precious", "precious");
        let place = |name: &str| sandbox.bpffs().join(name);
        let map = bpf::array_map();
        bpf::pin(
            std::os::fd::AsFd::as_fd(&map),
            &place("pktmeta/maps/theirs"),
        );
        symlink(scratch.path(), place("pktmeta/link")).unwrap();
        let said = lab.down();
        for name in ["pktmeta/maps/theirs", "pktmeta/link"] {
            let left = format!("{}: left where it is", text(place(name)));
            assert!(said.contains(&left), "no {left:?} in {said}");
            assert!(place(name).symlink_metadata().is_ok(), "{name}");
        }
        assert_eq!(fs::read_to_string(precious).unwrap(), "precious");
        assert_eq!(lab.attached(), []);
        lab.try_up(&[]).succeeds();
        lab.assert_works();
        lab.down();
        fs::remove_file(place("pktmeta/maps/theirs")).unwrap();
        fs::remove_file(place("pktmeta/link")).unwrap();
        lab.down();
        lab.assert_nothing_is_left();
    });
}

#[test]
fn pins_of_another_layout_are_recognised_and_say_which_command_to_use() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let layout = sandbox.bpffs().join("pktmeta/layout");
        let own = fs::read_link(&layout).unwrap();
        fs::remove_file(&layout).unwrap();
        let refused = |part: &str| {
            for ran in [
                lab.try_up(&[]),
                lab.pktmeta(&["down"]),
                lab.pktmeta(&["status"]),
            ] {
                ran.fails(&["layout", part, "`pktmeta down`"]);
            }
        };
        refused("older");
        symlink("2 (pktmeta 9.9.9)", &layout).unwrap();
        refused("`pktmeta down` of pktmeta 9.9.9");
        lab.assert_works();
        fs::remove_file(&layout).unwrap();
        symlink(own, &layout).unwrap();
        lab.down();
        lab.assert_nothing_is_left();
    });
}

#[test]
fn an_up_does_not_join_a_delivery_that_somebody_has_broken() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let cgroup = text(sandbox.cgroup());
        let id = fs::metadata(sandbox.cgroup()).unwrap().ino();
        let own = sandbox.bpffs().join(format!("pktmeta/cgroups/{id}"));
        for broken in ["pktmeta_getsockopt", "ring"] {
            lab.pktmeta(&["up", "--cgroup", &cgroup]).succeeds();
            fs::remove_file(own.join(broken)).unwrap();
            let remedy = format!("pktmeta down --cgroup {cgroup}");
            lab.pktmeta(&["up", "--iface", INTERFACE])
                .fails(&[&cgroup, &remedy]);
            lab.try_up(&[]).fails(&[&cgroup, &remedy]);
            lab.pktmeta(&["down", "--cgroup", &cgroup]).succeeds();
            eventually("the kernel lets go", || lab.attached().is_empty());
            lab.assert_nothing_is_left();
        }
        lab.pktmeta(&["up", "--cgroup", &cgroup]).succeeds();
        detach(&own.join("pktmeta_establish"));
        let status = lab.pktmeta(&["status"]);
        assert_eq!(status.code, Some(4), "{status:#?}");
        assert!(
            status.stdout.contains("not attached any more"),
            "{status:#?}"
        );
        lab.try_up(&[]).fails(&["not attached", &cgroup]);
        lab.down();
        lab.assert_nothing_is_left();
    });
}

/// Detaches a pinned link, as `bpftool link detach` does.
fn detach(pin: &Path) {
    let link = bpf::open_pin(pin);
    // SAFETY: takes no memory.
    assert_eq!(unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) }, 0);
}

#[test]
fn an_interface_that_moved_is_recognised_and_one_that_has_its_index_is_another() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let index = lab.ifindex();
        let elsewhere = Netns::new().unwrap();
        let ip = |netns: &Netns, arguments: &str| {
            let mut command = netns.command("ip");
            command.args(arguments.split(' ')).ran().succeeds();
        };
        // A process in it makes the namespace one that can be seen.
        let mut sleeper = elsewhere.command("sleep");
        let sleeper = sleeper.arg("100").running();
        ip(
            lab.hosts.server(),
            &format!("link set {INTERFACE} netns {}", sleeper.id()),
        );
        let table = lab.pktmeta(&["status"]);
        assert_eq!(table.code, Some(0), "{table:#?}");
        let place = format!("{INTERFACE} of network namespace {}", elsewhere.id());
        assert!(table.stdout.contains(&place), "{}", table.stdout);

        let add = format!("link add {INTERFACE} index {index} type veth peer name other");
        ip(lab.hosts.server(), &add);
        let down = ["down", "--iface", INTERFACE];
        lab.pktmeta(&down).fails(&["it is not on that interface"]);
        lab.try_up(&[]).succeeds();
        let has_xdp = |netns: &Netns| netns.run(|| bpf::has_xdp(index));
        assert!(has_xdp(lab.hosts.server()) && has_xdp(&elsewhere));
        assert_eq!(lab.status().interfaces().len(), 2);
        lab.try_up(&[]).fails(&["pktmeta does that already"]);

        lab.pktmeta(&down).succeeds();
        assert!(!has_xdp(lab.hosts.server()) && has_xdp(&elsewhere));
        drop(sleeper);
        let unseen = lab.status();
        assert_eq!(unseen.interfaces()[0]["attached"], true);
        assert_eq!(unseen.interfaces()[0]["name"], serde_json::Value::Null);
        pktmeta(&elsewhere, &down).ran().succeeds();
        assert!(!has_xdp(&elsewhere));
        lab.down();
        assert_eq!(pins(sandbox.bpffs()), [] as [&Path; 0]);
    });
}

#[test]
fn a_detached_interface_is_detached_and_not_gone_and_can_be_taken_down() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let own = format!(
            "pktmeta/interfaces/{}-{}",
            lab.hosts.server().id(),
            lab.ifindex()
        );
        detach(&sandbox.bpffs().join(own).join("pktmeta_xdp_label"));
        let status = lab.pktmeta(&["status"]);
        assert_eq!(status.code, Some(4), "{status:#?}");
        assert!(status.stdout.contains("detached"), "{status:#?}");
        assert!(!status.stdout.contains("gone"), "{status:#?}");
        assert_eq!(lab.status().interfaces()[0]["attached"], false);
        // Somebody else's program there is left alone.
        let foreign = Foreign::xdp();
        let _link = foreign.attach_to_interface(lab.hosts.server(), lab.ifindex());
        lab.pktmeta(&["down", "--iface", INTERFACE]).succeeds();
        assert!(lab.hosts.server().run(|| bpf::has_xdp(lab.ifindex())));
        lab.down();
    });
}

#[test]
fn pktmetas_own_program_is_not_called_somebody_elses() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let scratch = Scratch::new();
        let other = ["--bpffs", &text(scratch.path())];
        let ran = lab.try_up(&other);
        ran.fails(&["pktmeta's own", "another bpffs", "bpftool link detach id"]);
        assert!(!ran.stderr.contains("somebody else"), "{}", ran.stderr);
        lab.assert_works();
    });
}

/// Two cgroups, and a delivery to the first.
fn deliver_to_the_first(lab: &Lab) -> [String; 2] {
    let cgroups = ["first", "second"].map(|name| {
        let cgroup = lab.sandbox.cgroup().join(name);
        fs::create_dir(&cgroup).unwrap();
        text(cgroup)
    });
    lab.pktmeta(&["up", "--cgroup", &cgroups[0]]).succeeds();
    cgroups
}

/// The first delivery is as it was.
#[track_caller]
fn assert_delivered(lab: &Lab, cgroup: &str) {
    let status = lab.status().0;
    let cgroups = status["cgroups"].as_array().unwrap();
    let own = cgroups.iter().find(|found| found["path"] == cgroup);
    let hops = own.unwrap()["hops"].as_array().unwrap();
    assert!(hops.iter().all(|hop| hop["attached"] == true), "{status:#}");
}

#[test]
fn a_cgroup_that_cannot_be_seen_is_not_gone_and_its_delivery_goes_on() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let [first, second] = deliver_to_the_first(&lab);
        let root = cgroup_root();
        // In a cgroup namespace whose root is the second, where the first has no name.
        let script = format!(
            "echo 0 > {second}/cgroup.procs && exec unshare --cgroup sh -c '\
             umount -l {root} && mount -t cgroup2 none {root} && exec {} up --cgroup {root}'",
            crate::command::PKTMETA
        );
        let mut command = lab.hosts.server().command("unshare");
        let ran = command.args(["-m", "sh", "-c", &script]).ran();
        ran.succeeds();
        assert_delivered(&lab, &first);
        assert_delivered(&lab, &second);
        lab.down();
        lab.assert_nothing_is_left();
    });
}

#[test]
fn a_path_that_is_no_text_among_the_mounts_hides_no_cgroup() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let [first, second] = deliver_to_the_first(&lab);
        let scratch = Scratch::new();
        let odd = scratch.path().join(std::ffi::OsString::from(
            <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"odd-\xff"),
        ));
        fs::create_dir(&odd).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "none"])
            .arg(&odd)
            .ran()
            .succeeds();
        lab.pktmeta(&["up", "--cgroup", &second]).succeeds();
        assert_delivered(&lab, &first);
        assert_delivered(&lab, &second);
        Command::new("umount").arg(&odd).ran().succeeds();
        lab.down();
    });
}

/// Where the whole hierarchy is mounted.
fn cgroup_root() -> String {
    text(pktmeta_bpf::host::cgroup_root().unwrap())
}

#[test]
fn with_too_few_descriptors_nothing_is_taken_for_detached_or_gone() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let [first, second] = deliver_to_the_first(&lab);
        let mut refused = 0;
        for limit in (4..40).step_by(3) {
            let limited = |arguments: &[&str]| {
                let mut command = lab.hosts.server().command("prlimit");
                let nofile = format!("--nofile={limit}");
                command
                    .args([&nofile, crate::command::PKTMETA])
                    .args(arguments);
                command.ran()
            };
            let status = limited(&["status"]);
            match status.code {
                Some(1) => refused += 1,
                Some(0 | 4) => {
                    for word in ["not attached", "gone"] {
                        assert!(!status.stdout.contains(word), "{limit}: {status:#?}");
                    }
                }
                _ => panic!("{limit}: {status:#?}"),
            }
            let up = limited(&["up", "--cgroup", &second]);
            if up.code == Some(1) {
                assert!(up.stderr.contains("os error 24"), "{limit}: {up:#?}");
                assert!(up.stderr.contains("ulimit -n"), "{limit}: {up:#?}");
            } else {
                lab.pktmeta(&["down", "--cgroup", &second]).succeeds();
            }
            assert_delivered(&lab, &first);
        }
        assert!(refused > 0);
        lab.down();
        lab.assert_nothing_is_left();
    });
}

#[test]
fn a_bpffs_that_would_go_with_the_command_is_not_mounted() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        let bpffs = text(scratch.path());
        let mut command = lab.hosts.server().command("unshare");
        command.args(["-m", crate::command::PKTMETA, "up", "--iface", INTERFACE]);
        let cgroup = text(sandbox.cgroup());
        let ran = command.args(["--bpffs", &bpffs, "--cgroup", &cgroup]).ran();
        ran.fails(&["ip netns exec", "nsenter --net=/run/netns/", "mount -t bpf"]);
        assert_eq!(lab.attached(), []);
    });
}

/// `pktmeta` as root with these capabilities alone.
fn with_capabilities(lab: &Lab, arguments: &[&str]) -> Ran {
    let mut command = lab.hosts.server().command("setpriv");
    command.args([
        "--bounding-set=-all,+bpf,+net_admin,+perfmon",
        crate::command::PKTMETA,
    ]);
    command.args(arguments).ran()
}

#[test]
fn three_capabilities_are_enough_on_a_bpffs_that_is_mounted() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let cgroup = text(sandbox.cgroup());
        let doctor = with_capabilities(&lab, &["doctor"]).succeeds();
        assert!(doctor.contains("hook xdp: loads"), "{doctor}");
        assert!(doctor.contains("CAP_SYS_ADMIN"), "{doctor}");
        let up = ["up", "--iface", INTERFACE, "--cgroup", &cgroup];
        with_capabilities(&lab, &up).succeeds();
        assert_eq!(lab.attached(), ATTACHED);
        let status = with_capabilities(&lab, &["status", "--json"]).succeeds();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["interfaces"][0]["name"], INTERFACE);
        assert_eq!(status["cgroups"][0]["hops"][0]["attached"], true);
        lab.datagram(IpVersion::V4, 1).unwrap();
        let down = with_capabilities(&lab, &["down"]).succeeds();
        assert!(down.contains("CAP_SYS_ADMIN"), "{down}");
        assert_eq!(lab.attached(), []);
        // Who may look sees that nobody uses the registry.
        lab.down();
        lab.assert_nothing_is_left();

        let scratch = Scratch::new();
        let elsewhere = ["--bpffs", &text(scratch.path())];
        let refused = with_capabilities(&lab, &[&up[..], &elsewhere].concat());
        refused.fails(&["mount bpffs", "CAP_SYS_ADMIN", "mount -t bpf"]);
    });
}

#[test]
fn a_directory_that_is_swapped_for_a_link_while_root_walks_leads_nowhere() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        open_to_all(sandbox.bpffs());
        let scratch = Scratch::new();
        let precious = scratch.file("ring", "precious");
        let swap = format!(
            "trap exit TERM; cd /sys/fs/bpf; echo swapping; \
             while :; do mkdir pktmeta-aside; rmdir pktmeta-aside; \
             ln -s {} pktmeta-aside; rm pktmeta-aside; done 2>/dev/null",
            text(scratch.path())
        );
        let mut swapper = Command::new("sh");
        swapper.args(["-c", &swap]).uid(NOBODY).gid(NOBODY);
        let mut swapper = swapper.running();
        let stdout = swapper.stdout.take().unwrap();
        let _rest = crate::command::Running::wait_for("swapping", stdout);
        for _ in 0..10 {
            let up = up(sandbox, lab.hosts.server(), INTERFACE).ran();
            assert!(matches!(up.code, Some(0 | 1)), "{up:#?}");
            let down = lab.pktmeta(&["down"]);
            assert!(matches!(down.code, Some(0 | 1)), "{down:#?}");
            assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        }
        // Ends behind the command that it is at: killed, it would leave that behind.
        swapper.signal(libc::SIGTERM);
        swapper.wait().unwrap();
        let _ = nobody("rm", &["-rf", "/sys/fs/bpf/pktmeta-aside"]);
        lab.down();
        lab.assert_nothing_is_left();
    });
}
