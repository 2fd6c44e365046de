//! What is printed, and what happens when it cannot be: whichever command prints.

use crate::{
    bind::{probe, probe_schema},
    command::{PKTMETA, Ran, Run, Scratch, pktmeta, text, up},
    lab::{INTERFACE, Lab, SCHEMA, Status},
};
use pktmeta_core::printable;
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
};

/// What a command's standard output may be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stdout {
    Closed,
    Full,
    /// A pipe that nobody reads any more.
    Left,
}

impl Stdout {
    const ALL: [Self; 3] = [Self::Closed, Self::Full, Self::Left];

    fn run(self, command: &mut Command) -> Ran {
        match self {
            Self::Closed => {
                // SAFETY: close takes no memory; nobody uses the descriptor between fork and exec.
                let close = || match unsafe { libc::close(1) } {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                };
                // SAFETY: it makes one system call.
                unsafe { command.pre_exec(close) }
            }
            Self::Full => command.stdout(File::options().write(true).open("/dev/full").unwrap()),
            Self::Left => {
                let (reader, writer) = io::pipe().unwrap();
                drop(reader);
                command.stdout(writer)
            }
        };
        let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        output.unwrap().wait_with_output().unwrap().into()
    }

    /// How a command that has something to print ends.
    #[track_caller]
    fn check(self, ran: &Ran, command: &Command) {
        let (code, stderr) = match self {
            Self::Closed => (0, ""),
            Self::Full => (
                1,
                "error: write to the standard output: No space left on device",
            ),
            Self::Left => (128 + libc::SIGPIPE, ""),
        };
        assert_eq!(ran.code, Some(code), "{self:?} {command:?}: {ran:#?}");
        assert!(
            ran.stderr.starts_with(stderr),
            "{self:?} {command:?}: {ran:#?}"
        );
        assert_eq!(
            ran.stderr.is_empty(),
            stderr.is_empty(),
            "{command:?}: {ran:#?}"
        );
    }
}

#[test]
fn every_command_says_that_its_output_is_full_and_ends_quietly_when_its_reader_has_gone() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let scratch = Scratch::new();
        let (_server, _client) = lab.connection(IpVersion::V4, 1);
        let directory = text(scratch.path());
        let object = probe(&scratch);
        let probe = scratch.file("probe.toml", probe_schema("u32"));
        let bound = text(scratch.path().join("bound.o"));
        let commands: &[&[&str]] = &[
            &["--help"],
            &["--version"],
            &["up", "--help"],
            &["status"],
            &["status", "--json"],
            &["sockets"],
            &["sockets", "--json"],
            &["registry", "list"],
            &["registry", "list", "--json"],
            &["registry", "register", SCHEMA],
            &["bind", &object, "-o", &bound, "--schema", &probe],
            &["bind", &object, "-o", &bound, "--schema", &probe, "--json"],
            &["doctor"],
            &["doctor", "--json"],
            &["check", SCHEMA],
            &["check", SCHEMA, "--json"],
            &["encode", "tenant=7"],
            &["encode", "tenant=7", "--json"],
            &["decode", "504d1004"],
            &["decode", "504d1004", "--json"],
            &["gen", "c", SCHEMA],
            &["gen", "json-schema"],
            &["gen", "go", SCHEMA, "-o", &directory],
            &["completions", "bash"],
        ];
        for stdout in Stdout::ALL {
            for arguments in commands {
                let mut command = pktmeta(lab.hosts.server(), arguments);
                stdout.check(&stdout.run(&mut command), &command);
            }
        }
    });
}

#[test]
fn what_a_command_did_stays_though_it_could_not_say_so() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        for stdout in Stdout::ALL {
            let mut up = up(sandbox, lab.hosts.server(), INTERFACE);
            stdout.check(&stdout.run(&mut up), &up);
            assert_eq!(lab.status().0["up"], true, "{stdout:?}");
            let mut down = pktmeta(lab.hosts.server(), &["down"]);
            stdout.check(&stdout.run(&mut down), &down);
            assert_eq!(lab.status().0["up"], false, "{stdout:?}");
            lab.pktmeta(&["registry", "register", SCHEMA]).succeeds();
            let mut remove = pktmeta(lab.hosts.server(), &["registry", "remove", "--all"]);
            stdout.check(&stdout.run(&mut remove), &remove);
            lab.assert_nothing_is_left();
        }
    });
}

#[test]
fn the_demo_ends_when_nobody_reads_what_it_shows() {
    for (stdout, code) in [(Stdout::Full, 1), (Stdout::Left, 128 + libc::SIGPIPE)] {
        let mut demo = Command::new(PKTMETA);
        demo.args(["demo", "--datagrams", "8", "--connections", "2"]);
        let ran = stdout.run(&mut demo);
        assert_eq!(ran.code, Some(code), "{ran:#?}");
        assert!(!ran.stderr.contains("panicked"), "{ran:#?}");
    }
}

#[test]
fn an_error_that_cannot_be_said_is_one_all_the_same() {
    for arguments in [&["check", "/nonexistent.toml"][..], &["up", "--nonsense"]] {
        let mut command = Command::new(PKTMETA);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let status = command.args(arguments).stderr(full).status().unwrap();
        assert!(matches!(status.code(), Some(1 | 2)), "{status}");
    }
}

/// What a process, which may be anybody's, calls itself.
const NAMES: [&[u8]; 4] = [
    b"x\ntcp",
    b"\x1b[31mred",
    "\u{202e}live".as_bytes(),
    b"not \xff utf-8",
];

#[test]
fn the_name_of_a_process_moves_and_colours_nothing() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let holders = NAMES.into_iter().zip(Lab::TENANTS).map(|(name, tenant)| {
            let (server, client) = lab.connection(IpVersion::V4, tenant);
            let local = server.local_addr().unwrap().to_string();
            (name, tenant, local, Holder::new(server, name), client)
        });
        let holders: Vec<_> = holders.collect();
        let table = lab.pktmeta(&["sockets", "--tcp"]).succeeds();
        let list = lab.pktmeta(&["sockets", "--json"]).succeeds();
        assert_printable(&table);
        assert_printable(&list);
        let list: Value = serde_json::from_str(&list).unwrap();
        for (name, tenant, local, holder, _client) in &holders {
            let mut rows = table.lines().skip_while(|line| !line.contains(local));
            let shown = format!(" {}({})", printable::name(name), holder.0.id());
            assert!(rows.next().unwrap().contains(&shown), "{table}");
            assert!(
                rows.next().unwrap().contains(&format!(" tenant={tenant}")),
                "{table}"
            );
            let mut sockets = list.as_array().unwrap().iter();
            let process = &sockets.find(|it| it["local"] == *local).unwrap()["processes"][0];
            match std::str::from_utf8(name) {
                Ok(name) => assert_eq!(process["command"], name),
                Err(_) => assert_eq!(process["command_hex"], hex(name)),
            }
        }
    });
}

/// A process of any name that has a socket open.
struct Holder(std::process::Child);

impl Holder {
    fn new(socket: impl Into<OwnedFd>, name: &[u8]) -> Self {
        let script = "import ctypes, sys, os\n\
            ctypes.CDLL(None).prctl(15, os.fsencode(sys.argv[1]), 0, 0, 0)\n\
            print(flush=True); import time; time.sleep(60)";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(OsStr::from_bytes(name))
            .stdin(socket.into())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_cgroup_whose_name_is_not_utf_8_is_shown_and_watched() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        for name in [&b"gr\xfcn"[..], b"\x1b[2J\x9b"] {
            let cgroup = sandbox.cgroup().join(OsStr::from_bytes(name));
            fs::create_dir(&cgroup).unwrap();
            let up = pktmeta(lab.hosts.server(), &["up", "--cgroup"])
                .arg(&cgroup)
                .ran();
            assert_printable(&up.succeeds());
            let status = lab.pktmeta(&["status"]).succeeds();
            assert_printable(&status);
            assert!(status.contains(if name[0] == b'g' {
                r"gr\xfcn"
            } else {
                r"\u{1b}[2J\x9b"
            }));
            let status = lab.status().0;
            assert_eq!(
                status["cgroups"][0]["path_hex"],
                hex(cgroup.as_os_str().as_bytes())
            );
            let mut member = Command::new("sleep");
            let mut member = member.arg("60").spawn().unwrap();
            fs::write(cgroup.join("cgroup.procs"), member.id().to_string()).unwrap();
            let pid = member.id().to_string();
            let mut watch = pktmeta(lab.hosts.server(), &["watch", "--pid", &pid]).running();
            std::thread::sleep(std::time::Duration::from_millis(500));
            watch.signal(libc::SIGINT);
            assert_eq!(watch.wait().unwrap().code(), Some(0));
            let _ = (member.kill(), member.wait());
            assert_printable(&lab.down());
            fs::remove_dir(&cgroup).unwrap();
        }
    });
}

#[test]
fn an_interface_of_any_bytes_is_labelled_shown_and_detached() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let name = OsStr::from_bytes(b"a\xff\x1b[31m\\");
        let shown = r"a\xff\u{1b}[31m\\";
        let mut rename = Command::new("ip");
        rename.args(["link", "set", INTERFACE, "name"]).arg(name);
        lab.hosts.server().run(|| rename.ran()).succeeds();
        let pktmeta = |command: &str, arguments: &[&OsStr]| {
            let mut command = pktmeta(lab.hosts.server(), &[command]);
            let ran = command.args(arguments).ran();
            assert_printable(&(ran.stdout.clone() + &ran.stderr));
            ran
        };
        let cgroup = sandbox.cgroup().as_os_str();
        let iface = ["--iface".as_ref(), name];
        let up = [&iface[..], &["--cgroup".as_ref(), cgroup]].concat();
        let said = pktmeta("up", &up).succeeds();
        assert!(said.contains(&format!("{shown}: labels each")), "{said}");
        pktmeta("up", &up).fails(&[shown, "already"]);
        let said = pktmeta("status", &[]).succeeds();
        assert!(said.contains(&format!("{shown}\n")), "{said}");
        let Status(status) = lab.status();
        let interface = &status["interfaces"][0];
        assert_eq!(interface["name"], "a\u{fffd}\u{1b}[31m\\");
        assert_eq!(interface["name_hex"], hex(name.as_bytes()));
        let said = pktmeta("down", &iface).succeeds();
        assert!(said.contains(&format!("{shown}: detached")), "{said}");
        pktmeta("down", &iface).fails(&[shown, "not on that interface"]);
    });
}

#[test]
fn a_line_break_in_a_path_makes_no_remedy() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let scratch = Scratch::new();
        let path = text(scratch.path().join("a\n  = run it\u{202e}"));
        fs::create_dir(&path).unwrap();
        let below = format!("{path}/x");
        for arguments in [
            &["up", "--cgroup", &path][..],
            &["down", "--cgroup", &path],
            &["watch", "--cgroup", &path],
            &["--bpffs", &below, "up", "--cgroup", &text(sandbox.cgroup())],
            &["bind", &below, "-o", &path],
            &["headers", &format!("{SCHEMA}/{path}")],
            &["decode", "--schema", &below, "504d1004"],
        ] {
            let ran = lab.pktmeta(arguments);
            assert_ne!(ran.code, Some(0), "{ran:#?}");
            assert!(ran.stderr.contains(r"a\n  = run it\u{202e}"), "{ran:#?}");
            assert!(!ran.stderr.contains("\n  = run it"), "{ran:#?}");
        }
    });
}

#[test]
fn what_an_argument_says_reaches_the_terminal_printable() {
    let red = "a\x1b[31m\u{202e}";
    let scratch = Scratch::new();
    let schema = scratch.file("\x1b[31m\n.toml", format!("owner = \"edge\"\n{red} = 1\n"));
    for arguments in [
        &["up", "--iface", red][..],
        &["up", red],
        &["check", &schema],
        &["check", red],
        &["encode", "--schema", SCHEMA, red],
        &["decode", "--schema", SCHEMA, red],
        &["down", "--cgroup", red],
        &["bind", red, "-o", red],
        &["--bpffs", red, "up", "--help"],
    ] {
        let mut command = Command::new(PKTMETA);
        let ran = command.args(arguments).env("PKTMETA_BPFFS", red).ran();
        assert_printable(&ran.stderr);
        assert_printable(&ran.stdout);
        // Of an argument that clap refuses the colours are left out.
        let printed = ran.stderr + &ran.stdout;
        let shown = [
            r"a\u{1b}[31m\u{202e}",
            r"a\u{202e}",
            r"'\u{1b}' at character 2",
        ];
        assert!(
            shown.iter().any(|it| printed.contains(it)),
            "{arguments:?}: {printed}"
        );
    }
}

#[test]
fn tables_fit_a_hundred_columns() {
    in_sandbox(|sandbox| {
        let lab = Lab::up_with(sandbox, &Lab::ALL_FIELDS);
        let (_server, _client) = lab.connection(IpVersion::V6, 1);
        for arguments in [
            &["status"][..],
            &["sockets"],
            &["registry", "list"],
            &["check", SCHEMA],
        ] {
            let table = lab.pktmeta(arguments).succeeds();
            // Programs that other tests run at the same time.
            let mut lines = table
                .lines()
                .filter(|line| !line.contains("another registry"));
            let long = lines.find(|line| line.chars().count() > 100);
            assert_eq!(long, None, "{arguments:?}:\n{table}");
        }
    });
}

#[test]
fn every_manual_page_says_its_version_exit_codes_files_and_where_to_read_on() {
    let scratch = Scratch::new();
    let directory = text(scratch.path());
    Command::new(PKTMETA)
        .args(["man", &directory])
        .ran()
        .succeeds();
    let pages: Vec<_> = fs::read_dir(scratch.path()).unwrap().collect();
    assert!(pages.len() > 15, "{pages:#?}");
    for page in pages {
        let page = fs::read_to_string(page.unwrap().path()).unwrap();
        let version = concat!("\"pktmeta ", env!("CARGO_PKG_VERSION"), "\"");
        for part in [version, "EXIT STATUS", "141", "FILES", "SEE ALSO"] {
            assert!(page.contains(part), "no {part} in {page}");
        }
    }
    let status = fs::read_to_string(scratch.path().join("pktmeta-status.1")).unwrap();
    assert!(status.contains("nothing is up"), "{status}");
}

#[test]
fn a_shell_completes_interfaces_and_fields_of_this_host() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let directory = Scratch::new();
        let script = lab.pktmeta(&["completions", "bash"]).succeeds();
        let script = directory.file("completions", script);
        for (typed, wanted) in [
            ("pktmeta up --iface ", INTERFACE),
            ("pktmeta down --iface ", INTERFACE),
            ("pktmeta sockets --field ", "tenant"),
            ("pktmeta regi", "registry"),
        ] {
            let words: Vec<_> = typed.split(' ').map(|word| format!("'{word}'")).collect();
            let ask = format!(
                ". {script}; COMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9; \
                 eval $(complete -p pktmeta | sed 's/.* -F \\([^ ]*\\) .*/\\1/') pktmeta; \
                 printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                words.join(" "),
                words.len() - 1
            );
            let mut bash = lab.hosts.server().command("bash");
            let path = Path::new(PKTMETA).parent().unwrap().to_str().unwrap();
            let path = format!("{path}:{}", std::env::var("PATH").unwrap());
            let bash = bash.args(["-c", &ask]).env("PATH", path);
            let said = bash.env("PKTMETA_BPFFS", sandbox.bpffs()).ran();
            let said = said.succeeds();
            assert!(
                said.lines().any(|line| line.trim() == wanted),
                "{typed}: {said}"
            );
        }
    });
}

#[track_caller]
fn assert_printable(text: &str) {
    let is_printable = |c| c == '\n' || printable::is_printable(c);
    assert!(text.chars().all(is_printable), "{text:?}");
}

fn hex(bytes: &[u8]) -> Value {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    json!(digits)
}
