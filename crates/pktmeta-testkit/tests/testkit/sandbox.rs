use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pktmeta_testkit::netns::Netns;
use pktmeta_testkit::sandbox::{Sandbox, in_sandbox};

/// Runs a shell script in a sandbox, and returns how it ended and what it printed.
fn sandboxed(script: &str) -> (ExitStatus, String) {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut command = Command::new("sh");
    let status = Sandbox::run(command.args(["-c", script]).stdout(writer)).unwrap();
    drop(command);
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    (status, output)
}

fn victim(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        &format!("victims::{name}"),
        "--ignored",
        "--nocapture",
    ]);
    command
}

fn output_of(name: &str) -> (Output, String) {
    let output = victim(name).output().unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

/// The cgroup that a victim printed.
fn cgroup_in(text: &str) -> PathBuf {
    let at = text
        .find("in /")
        .unwrap_or_else(|| panic!("no path in {text}"));
    text[at + 3..].split_whitespace().next().unwrap().into()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 seconds: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn send(signal: libc::c_int, child: &Child) {
    // SAFETY: kill takes no memory.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
}

#[test]
fn the_command_is_in_a_cgroup_of_its_own_that_is_gone_afterwards() {
    let (status, output) = sandboxed(
        "echo $PKTMETA_SANDBOX; cat $PKTMETA_SANDBOX/cgroup.procs; echo pid $$; grep 0:: \
         /proc/self/cgroup",
    );
    assert!(status.success());
    let cgroup = output.lines().next().unwrap();
    let name = Path::new(cgroup).file_name().unwrap().to_str().unwrap();
    assert!(
        name.starts_with(&format!("pktmeta-{}-", std::process::id())),
        "{cgroup}"
    );
    assert!(output.trim().ends_with(name), "{output}");
    let pid = output
        .lines()
        .find_map(|line| line.strip_prefix("pid "))
        .unwrap();
    assert!(output.lines().skip(1).any(|line| line == pid), "{output}");
    assert!(!Path::new(cgroup).exists());
}

#[test]
fn no_cgroup_is_left_when_the_command_fails_is_killed_or_leaves_daemons_and_cgroups_behind() {
    for (end, code, signal) in [
        ("exit 3", Some(3), None),
        ("kill -KILL $$", None, Some(libc::SIGKILL)),
        ("sleep 1000 & exit 0", Some(0), None),
        (
            "mkdir -p $PKTMETA_SANDBOX/a/b; sleep 1000 & echo $! \
             >$PKTMETA_SANDBOX/a/b/cgroup.procs; exit 4",
            Some(4),
            None,
        ),
    ] {
        let (status, output) = sandboxed(&format!(
            "echo $PKTMETA_SANDBOX; exec 2>&1 >/dev/null; {end}"
        ));
        assert_eq!((status.code(), status.signal()), (code, signal), "{end}");
        assert!(!Path::new(output.trim()).exists(), "{end}: {output}");
    }
}

#[test]
fn a_command_can_be_run_in_one_sandbox_after_another() {
    let mut command = Command::new("true");
    for _ in 0..3 {
        assert!(Sandbox::run(&mut command).unwrap().success());
    }
    // And without one, although the way into a sandbox is still in it.
    assert!(command.status().unwrap().success());
}

#[test]
fn a_command_that_does_not_exist_is_an_error_that_names_it() {
    let error = Sandbox::run(&mut Command::new("/no/such/program")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    assert!(
        error
            .to_string()
            .contains("/no/such/program in a sandbox: it cannot be executed"),
        "{error}"
    );
}

#[test]
fn a_step_that_fails_before_the_command_runs_is_named() {
    let mut command = Command::new("true");
    // SAFETY: between fork and exec the hook makes one system call. It leaves the child without
    // privileges.
    unsafe {
        command.pre_exec(|| {
            if libc::setuid(65534) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        })
    };
    let error = Sandbox::run(&mut command).unwrap_err();
    assert!(
        error.to_string().contains("could not join the cgroup"),
        "{error}"
    );
    assert_eq!(error.raw_os_error(), Some(libc::EACCES));
}

#[test]
fn the_bpf_file_system_is_private_and_empty() {
    let (status, output) = sandboxed(
        "ls /sys/fs/bpf | grep -cv debug; mkdir /sys/fs/bpf/mark && stat -f -c %t /sys/fs/bpf; \
         grep ' /sys/fs/bpf ' /proc/self/mountinfo",
    );
    assert!(status.success(), "{output}");
    let mut lines = output.lines();
    assert_eq!(lines.next().unwrap(), "0");
    assert_eq!(lines.next().unwrap(), "cafe4a11");
    assert!(lines.all(|mount| !mount.contains("shared:")), "{output}");
    assert!(!Path::new("/sys/fs/bpf/mark").exists());
}

#[test]
fn the_network_namespace_is_new_and_has_loopback() {
    let (_, output) = sandboxed("readlink /proc/self/ns/net; grep -c . /proc/net/if_inet6");
    let mut lines = output.lines();
    assert_ne!(
        lines.next().unwrap(),
        format!("net:[{}]", Netns::current().unwrap().id())
    );
    assert_eq!(lines.next().unwrap(), "1", "only ::1 is expected: {output}");
}

#[test]
fn a_test_in_a_sandbox_has_cgroup_bpffs_and_network_for_itself() {
    let outside = std::process::id();
    in_sandbox(|sandbox| {
        assert_eq!(Sandbox::current().unwrap().cgroup(), sandbox.cgroup());
        let members = fs::read_to_string(sandbox.cgroup().join("cgroup.procs")).unwrap();
        assert_eq!(
            members.trim(),
            outside.to_string(),
            "nobody but this process"
        );
        fs::create_dir(sandbox.bpffs().join("pins")).unwrap();
    });
}

#[test]
fn a_sandbox_can_be_made_inside_a_sandbox() {
    in_sandbox(|sandbox| {
        let (status, output) = sandboxed("echo $PKTMETA_SANDBOX");
        assert!(status.success());
        assert_eq!(Path::new(output.trim()).parent(), Some(sandbox.cgroup()));
    });
}

#[test]
#[should_panic(expected = "failed in the sandbox")]
fn should_panic_is_understood() {
    in_sandbox(|_| panic!("in the sandbox"));
}

#[test]
fn a_panic_fails_the_test_and_leaves_no_cgroup_behind() {
    let (output, text) = output_of("panics_in_the_sandbox");
    assert_eq!(output.status.code(), Some(101), "{text}");
    assert!(text.contains("failed in the sandbox"), "{text}");
    assert!(text.contains("on purpose in /"), "{text}");
    assert!(!cgroup_in(&text).exists(), "{text}");
}

#[test]
fn a_test_that_takes_too_long_is_killed() {
    let (output, text) = output_of("never_ends");
    assert_eq!(output.status.code(), Some(101), "{text}");
    assert!(text.contains("ran longer than 2s and was killed"), "{text}");
    assert!(!cgroup_in(&text).exists(), "{text}");
}

#[test]
fn a_test_that_did_not_run_or_not_to_its_end_does_not_pass() {
    for (name, why) in [
        (
            "calls_in_sandbox_from_a_helper",
            "did not run in the sandbox",
        ),
        ("leaves_the_test_without_a_panic", "failed in the sandbox"),
    ] {
        let (output, text) = output_of(name);
        assert_eq!(output.status.code(), Some(101), "{text}");
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn without_privileges_a_test_fails_and_says_what_it_needs() {
    let mut command = victim("panics_in_the_sandbox");
    // A copy, because nobody else may be able to reach where the build puts its binaries.
    let copy = std::env::temp_dir().join(format!("pktmeta-testkit-{}", std::process::id()));
    fs::copy(command.get_program(), &copy).unwrap();
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    command = Command::new(&copy);
    let output = command
        .args(arguments)
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    fs::remove_file(&copy).unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{text}");
    assert!(
        text.contains("lacks CAP_NET_ADMIN, CAP_SYS_ADMIN") && text.contains("run it as root"),
        "{text}"
    );
}

/// Starts a victim that waits in a sandbox, and returns it with what is left of its output.
fn waiting_victim(name: &str) -> (Child, PathBuf, BufReader<impl Read>) {
    let mut child = victim(name).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("in /") {
        assert_ne!(
            output.read_line(&mut text).unwrap(),
            0,
            "the victim ended early: {text}"
        );
    }
    let cgroup = cgroup_in(&text);
    assert!(cgroup.exists());
    (child, cgroup, output)
}

#[test]
fn an_interrupted_caller_forwards_the_signal_cleans_up_and_learns_the_status() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let (mut child, cgroup, mut output) = waiting_victim("waits_in_sandbox_run");
        send(signal, &child);
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success(), "{rest}");
        assert!(rest.contains(&format!("then signal: {signal}")), "{rest}");
        assert!(!cgroup.exists());
    }
}

#[test]
fn a_second_signal_kills_a_sandbox_that_ignored_the_first() {
    let (mut child, cgroup, mut output) =
        waiting_victim("waits_for_a_command_that_ignores_signals");
    send(libc::SIGTERM, &child);
    thread::sleep(Duration::from_millis(300));
    assert!(
        cgroup.exists(),
        "the first signal is for the command to act on"
    );
    send(libc::SIGTERM, &child);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success(), "{rest}");
    assert!(rest.contains("then signal: 9"), "{rest}");
    assert!(!cgroup.exists());
}

#[test]
fn an_interrupted_test_run_ends_by_the_signal_after_cleaning_up() {
    let path = std::env::temp_dir().join(format!("pktmeta-testkit-victim-{}", std::process::id()));
    let mut command = victim("waits_in_in_sandbox");
    let mut child = command
        .env("VICTIM_OUT", &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the victim runs", || {
        fs::read(&path).is_ok_and(|text| !text.is_empty())
    });
    let cgroup = PathBuf::from(fs::read_to_string(&path).unwrap());
    fs::remove_file(&path).unwrap();
    assert!(cgroup.exists());
    send(libc::SIGTERM, &child);
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    assert!(!cgroup.exists());
}

#[test]
fn what_a_killed_caller_leaves_behind_is_swept_by_the_next_sandbox() {
    let (mut child, cgroup, _output) = waiting_victim("waits_in_sandbox_run");
    send(libc::SIGKILL, &child);
    child.wait().unwrap();
    // The command dies with its caller, but nobody is there to remove the cgroup; any other test's
    // sandbox may be first.
    eventually("the cgroup is swept", || {
        sandboxed("true");
        !cgroup.exists()
    });
}

#[test]
fn sandboxes_in_use_are_not_swept() {
    let (mut child, cgroup, _output) = waiting_victim("waits_in_sandbox_run");
    sandboxed("true");
    assert!(cgroup.exists());
    send(libc::SIGTERM, &child);
    assert!(child.wait().unwrap().success());
}
