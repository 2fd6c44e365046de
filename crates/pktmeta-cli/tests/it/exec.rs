//! `pktmeta exec`

use crate::{
    command::{PKTMETA, Run, Running, Scratch, pktmeta, text},
    lab::{Lab, eventually, tenant_address},
};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{Sandbox, in_sandbox},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

/// A server that says its port, takes COUNT connections, one after another, and exits with 7.
const SERVER: &str = "
import socket, sys
address, count = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ':' in address else socket.AF_INET
listener = socket.create_server((address, 0), family=family)
print(listener.getsockname()[1], flush=True)
for _ in range(count):
    connection, _ = listener.accept()
    connection.sendall(b'!')
    connection.close()
sys.exit(7)
";

#[test]
fn connections_that_a_program_accepts_are_logged_with_the_records_of_their_syns() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let scratch = Scratch::new();
        for version in IpVersion::BOTH {
            let log = text(scratch.path().join("log"));
            let started = SystemTime::now();
            let mut exec = exec(&lab, &["--json", "--log", &log], &serve(&lab, version, 4));
            let mut exec = exec.running();
            let server = lab.server_address(version, port(&mut exec));
            let tenants: Vec<u32> = Lab::TENANTS.collect();
            let clients = tenants.iter().map(|&tenant| {
                let mut client = lab.connect_to(server, tenant);
                client.read_exact(&mut [0]).unwrap();
                client.local_addr().unwrap().to_string()
            });
            let clients: Vec<_> = clients.collect();
            assert_eq!(exec.wait().unwrap().code(), Some(7));
            let events = events(&fs::read_to_string(&log).unwrap());
            assert_eq!(events.len(), tenants.len(), "{events:#?}");
            for ((event, tenant), client) in events.iter().zip(tenants).zip(clients) {
                assert_eq!(event["protocol"], "tcp");
                assert_eq!(event["what"], "accepted");
                assert_eq!(event["local"], server.to_string());
                assert_eq!(event["peer"], client);
                assert_eq!(event["record"]["tenant"], tenant, "{event:#}");
                assert_eq!(event["record"]["rx_ifindex"], lab.ifindex());
                assert_is_between(event["time"].as_str().unwrap(), started);
            }
            assert_no_cgroup_is_left(sandbox);
        }
    });
}

#[test]
fn a_server_that_puts_itself_into_the_background_is_logged_until_it_ends() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let scratch = Scratch::new();
        let directory = text(scratch.path());
        let conf = format!(
            "pid {directory}/pid; error_log {directory}/errors; events {{}} \
             http {{ access_log off; client_body_temp_path {directory}/body; \
             server {{ listen 8080; listen [::]:8080; return 204; }} }}"
        );
        let conf = scratch.file("nginx.conf", conf);
        let log = text(scratch.path().join("nginx.log"));
        let nginx = ["nginx", "-c", &conf, "-e", "stderr"];
        let mut exec = exec(&lab, &["--json", "--log", &log], &nginx).running();
        let stderr = Running::wait_for("in the background", exec.stderr.take().unwrap());
        for tenant in Lab::TENANTS {
            lab.connect_to(lab.server_address(IpVersion::V4, 8080), tenant);
        }
        let logged = || events(&fs::read_to_string(&log).unwrap()).len();
        eventually("all are logged", || logged() == Lab::TENANTS.count());
        assert!(exec.try_wait().unwrap().is_none());
        exec.signal(libc::SIGTERM);
        assert_eq!(exec.wait().unwrap().code(), Some(0));
        drop(stderr);
        let tenants = events(&fs::read_to_string(&log).unwrap());
        let tenants = tenants
            .iter()
            .map(|it| it["record"]["tenant"].as_u64().unwrap() as u32);
        assert!(tenants.eq(Lab::TENANTS));
        assert_no_cgroup_is_left(sandbox);
    });
}

#[test]
fn what_a_program_leaves_behind_is_followed_only_if_it_ended_well_and_that_is_wanted() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for (options, script, code) in [
            (&["--no-follow"][..], "sleep 60 & exit 0", 0),
            (&[], "sleep 60 & exit 3", 3),
        ] {
            let ran = exec(
                &lab,
                options,
                &["sh", "-c", &format!("exec 2>&- >&-; {script}")],
            )
            .ran();
            assert_eq!(ran.code, Some(code), "{ran:#?}");
            assert!(ran.stderr.contains("are logged no more"), "{ran:#?}");
            assert_no_cgroup_is_left(sandbox);
        }
    });
}

#[test]
fn connections_that_a_program_opens_are_logged_with_the_record_of_the_answer() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for (version, tenant) in [(IpVersion::V4, 2), (IpVersion::V6, 3)] {
            let address = (tenant_address(version, tenant), 0);
            let listener = lab
                .hosts
                .client()
                .run(|| TcpListener::bind(address))
                .unwrap();
            let peer = listener.local_addr().unwrap();
            let connect = format!(
                "import socket; socket.create_connection(({:?}, {}))",
                peer.ip().to_string(),
                peer.port()
            );
            let ran = exec(&lab, &["--json"], &["python3", "-c", &connect]).ran();
            assert_eq!(ran.code, Some(0), "{ran:#?}");
            let events = events(&ran.stderr);
            assert_eq!(events.len(), 1, "{ran:#?}");
            assert_eq!(events[0]["what"], "connected");
            assert_eq!(events[0]["peer"], peer.to_string());
            assert_eq!(events[0]["record"]["tenant"], tenant);
        }
    });
}

#[test]
fn datagrams_are_logged_each_with_its_record_if_that_is_asked_for() {
    in_sandbox(|sandbox| {
        const RECEIVE: &str = "
import socket, sys
address = sys.argv[1]
s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((address, 0))
print(s.getsockname()[1], flush=True)
for _ in range(3): s.recv(10)
";
        let lab = Lab::up(sandbox);
        for (version, options) in [
            (IpVersion::V4, &["--log", "-", "--datagrams"][..]),
            (IpVersion::V6, &["--log", "-", "--datagrams"]),
            (IpVersion::V4, &["--log", "-"]),
        ] {
            let address = lab.server_address(version, 0).ip().to_string();
            let mut exec = exec(&lab, options, &["python3", "-c", RECEIVE, &address]).running();
            let server = lab.server_address(version, port(&mut exec));
            let tenants = [4, 1, 3];
            for tenant in tenants {
                lab.udp_client(version, tenant)
                    .send_to(b"?", server)
                    .unwrap();
            }
            let mut said = String::new();
            exec.stdout
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            assert_eq!(exec.wait().unwrap().code(), Some(0));
            let lines: Vec<_> = said.lines().collect();
            if !options.contains(&"--datagrams") {
                assert_eq!(lines, [""; 0]);
                continue;
            }
            assert_eq!(lines.len(), 3, "{said}");
            for (line, tenant) in lines.iter().zip(tenants) {
                let client = tenant_address(version, tenant);
                let from = SocketAddr::new(client, 0).to_string();
                let from = from.trim_end_matches('0');
                let parts = [
                    format!(" udp datagram {server} {from}"),
                    format!(" tenant={tenant}"),
                ];
                for part in parts {
                    assert!(line.contains(&part), "no {part} in {said}");
                }
            }
        }
    });
}

#[test]
fn what_is_logged_does_not_depend_on_where_records_are_delivered() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let elsewhere = sandbox.cgroup().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let label = format!("--label={}=tenant:4", tenant_address(IpVersion::V4, 4));
        let interface = crate::lab::INTERFACE;
        let up = [
            "up",
            "--iface",
            interface,
            "--schema",
            crate::lab::SCHEMA,
            &label,
        ];
        lab.pktmeta(&[&up[..], &["--cgroup", &text(&elsewhere)]].concat())
            .succeeds();
        let mut exec = exec(&lab, &[], &serve(&lab, IpVersion::V4, 1)).running();
        let server = lab.server_address(IpVersion::V4, port(&mut exec));
        lab.connect_to(server, 4).read_exact(&mut [0]).unwrap();
        assert_eq!(exec.wait().unwrap().code(), Some(7));
        let said = stderr(&mut exec);
        assert!(said.contains(" tcp accepted "), "{said}");
        assert!(said.contains(" tenant=4"), "{said}");
    });
}

#[test]
fn a_connection_without_a_record_is_logged_as_such() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let scratch = Scratch::new();
        let log = text(scratch.path().join("log"));
        // Over loopback, which nobody labels.
        let connect = "
import socket
listener = socket.create_server(('127.0.0.1', 0))
socket.create_connection(listener.getsockname())
listener.accept()
";
        let ran = exec(&lab, &["--log", &log], &["python3", "-c", connect]).ran();
        assert_eq!((ran.code, &ran.stderr[..]), (Some(0), ""));
        let log = fs::read_to_string(&log).unwrap();
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(
            log.lines().all(|line| line.ends_with(" no record")),
            "{log}"
        );
        let json = exec(&lab, &["--json"], &["python3", "-c", connect]).ran();
        assert!(
            events(&json.stderr)
                .iter()
                .all(|event| event["record"].is_null())
        );
    });
}

#[test]
fn signals_go_to_the_program_and_it_decides_how_both_end() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let says = |signal: &str| {
            format!("trap 'echo got; exit 9' {signal}; echo ready; while :; do sleep 0.05; done")
        };
        for (name, signal) in [
            ("TERM", libc::SIGTERM),
            ("INT", libc::SIGINT),
            ("USR1", libc::SIGUSR1),
        ] {
            let mut exec = exec(&lab, &[], &["sh", "-c", &says(name)]).running();
            let rest = Running::wait_for("ready", exec.stdout.take().unwrap());
            exec.signal(signal);
            assert_eq!(exec.wait().unwrap().code(), Some(9), "{name}");
            assert!(
                BufReader::new(rest)
                    .lines()
                    .any(|line| line.unwrap() == "got")
            );
        }
        for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
            let mut exec = exec(&lab, &[], &["sh", "-c", "echo ready; exec sleep 60"]).running();
            Running::wait_for("ready", exec.stdout.take().unwrap());
            exec.signal(signal);
            let status = exec.wait().unwrap();
            assert_eq!(status.signal(), Some(signal), "{status}");
        }
        let killed = exec(&lab, &[], &["sh", "-c", "kill -KILL $$"])
            .running()
            .wait()
            .unwrap();
        assert_eq!(killed.signal(), Some(libc::SIGKILL));
        assert_no_cgroup_is_left(sandbox);
    });
}

#[test]
fn a_process_that_outlives_the_program_goes_on_and_the_cgroup_does_not() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let daemon = "sleep 60 >&- 2>&- & echo $!";
        let said = exec(&lab, &["--no-follow"], &["sh", "-c", daemon])
            .ran()
            .succeeds();
        let pid = said.trim();
        assert_no_cgroup_is_left(sandbox);
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert_eq!(cgroup, own);
    });
}

#[test]
fn the_program_gets_the_usual_signals_and_its_arguments_as_they_are() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let status = exec(&lab, &[], &["grep", "Sig", "/proc/self/status"])
            .ran()
            .succeeds();
        let masks: Vec<_> = status
            .lines()
            .filter(|line| line.starts_with("SigBlk"))
            .collect();
        assert_eq!(masks, ["SigBlk:\t0000000000000000"]);
        let said = exec(&lab, &[], &["printf", "<%s>", "--json", "a b", ""])
            .ran()
            .succeeds();
        assert_eq!(said, "<--json><a b><>");
    });
}

#[test]
fn what_comes_faster_than_it_is_logged_is_counted() {
    in_sandbox(|sandbox| {
        const DATAGRAMS: usize = 12_000;
        let lab = Lab::up(sandbox);
        let scratch = Scratch::new();
        let fifo = text(scratch.path().join("log"));
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        // Waits for what is the last datagram, sent when the log has been read.
        let receive = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 0))
print(s.getsockname()[1], flush=True)
while s.recv(10) != b'last': pass
";
        let options = ["--datagrams", "--log", &fifo];
        let mut exec = exec(&lab, &options, &["python3", "-c", receive]).running();
        let log = fs::File::open(&fifo).unwrap();
        let server = lab.server_address(IpVersion::V4, port(&mut exec));
        let client = lab.udp_client(IpVersion::V4, 1);
        for _ in 0..DATAGRAMS {
            client.send_to(b"?", server).unwrap();
        }
        let reader = std::thread::spawn(move || BufReader::new(log).lines().count());
        eventually("the program ends", || {
            let _ = client.send_to(b"last", server);
            exec_has_ended(&exec)
        });
        assert_eq!(exec.wait().unwrap().code(), Some(0));
        let logged = reader.join().unwrap();
        let said = stderr(&mut exec);
        let lost = said
            .strip_prefix("pktmeta: ")
            .and_then(|said| said.split_once(" more came"));
        let lost: usize = lost.unwrap_or_else(|| panic!("{said}")).0.parse().unwrap();
        assert!(lost > 0 && logged > 0);
        assert!(logged + lost >= DATAGRAMS, "{logged} {lost}");
    });
}

#[test]
fn mistakes_are_told_before_anything_is_made() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let ran = exec(&lab, &[], &["true"]).ran();
        ran.fails(&["nothing is up", "`pktmeta up --iface IF` starts it"]);
        lab.try_up(&[]).succeeds();
        let missing = exec(&lab, &[], &["/nonexistent"]).ran();
        assert_eq!(missing.code, Some(127), "{missing:#?}");
        assert!(
            missing.stderr.contains("run /nonexistent: No such file"),
            "{missing:#?}"
        );
        let directory = exec(&lab, &[], &["/tmp"]).ran();
        assert_eq!(directory.code, Some(126), "{directory:#?}");
        exec(&lab, &["--cgroup", "/tmp"], &["true"])
            .ran()
            .fails(&["open cgroup /tmp"]);
        let log = exec(&lab, &["--log", "/nonexistent/log"], &["true"]).ran();
        log.fails(&["create the log /nonexistent/log", "No such file"]);
        let nothing = Command::new(PKTMETA).arg("exec").ran();
        assert_eq!(nothing.code, Some(2), "{nothing:#?}");
        assert_no_cgroup_is_left(sandbox);
    });
}

/// `pktmeta exec` on the server.
fn exec(lab: &Lab, options: &[&str], program: &[&str]) -> Command {
    let arguments = [&["exec"], options, &["--"], program].concat();
    pktmeta(lab.hosts.server(), &arguments)
}

fn serve<'a>(lab: &Lab, version: IpVersion, count: u32) -> [&'a str; 5] {
    // Tests are short; what they leak goes with them.
    let [address, count] =
        [lab.hosts.server_ip(version).to_string(), count.to_string()].map(|text| &*text.leak());
    ["python3", "-c", SERVER, address, count]
}

#[track_caller]
fn assert_no_cgroup_is_left(sandbox: &Sandbox) {
    let below = fs::read_dir(sandbox.cgroup())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let below: Vec<_> = below.filter(|path| path.is_dir()).collect();
    assert_eq!(below, [] as [PathBuf; 0]);
}

/// The port that a program says.
fn port(running: &mut Running) -> u16 {
    let mut said = String::new();
    let stdout = running.stdout.as_mut().unwrap();
    while !said.ends_with('\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        said.push(byte[0].into());
    }
    said.trim().parse().unwrap()
}

fn stderr(running: &mut Running) -> String {
    let mut said = String::new();
    let mut stderr = running.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    said
}

fn exec_has_ended(running: &Running) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap();
    state.rsplit_once(") ").unwrap().1.starts_with('Z')
}

fn events(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A time of the log is not before `started`, and not in the future.
#[track_caller]
fn assert_is_between(time: &str, started: SystemTime) {
    let date = |at: SystemTime| {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let said = Command::new("date")
            .args(["-u", "+%Y-%m-%dT%H:%M:%S", "-d", &format!("@{seconds}")])
            .ran()
            .succeeds();
        said.trim().to_owned()
    };
    let second = &time[..19];
    assert!(date(started).as_str() <= second, "{time}");
    assert!(second <= date(SystemTime::now()).as_str(), "{time}");
}
