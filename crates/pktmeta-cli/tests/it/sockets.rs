//! `pktmeta sockets`

use crate::{
    command::{Run, Scratch, pktmeta, text},
    lab::{Lab, tenant_address},
};
use pktmeta::UdpMeta;
use pktmeta_core::abi;
use pktmeta_testkit::{link::IpVersion, sandbox::in_sandbox};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    process::Command,
};

#[test]
fn connections_of_a_program_that_knows_nothing_are_listed_with_their_records() {
    in_sandbox(|sandbox| {
        let lab = Lab::up_with(sandbox, &Lab::ALL_FIELDS);
        let open = [(IpVersion::V4, 1), (IpVersion::V6, 2)]
            .map(|(version, tenant)| (lab.connection(version, tenant), version, tenant));
        // From where they are listed does not matter.
        for netns in [lab.hosts.server(), lab.hosts.client()] {
            let listed = pktmeta(netns, &["sockets", "--json"]).ran().succeeds();
            let sockets: Vec<Value> = serde_json::from_str(&listed).unwrap();
            assert_eq!(sockets.len(), 2, "{sockets:#?}");
            for ((server, client), version, tenant) in &open {
                let socket = of(&sockets, server.local_addr().unwrap());
                assert_eq!(socket["protocol"], "tcp");
                assert_eq!(socket["state"], "established");
                assert_eq!(socket["peer"], client.local_addr().unwrap().to_string());
                assert_eq!(socket["uid"], 0);
                assert_eq!(socket["netns"], lab.hosts.server().id());
                assert_eq!(socket["cgroup"], text(sandbox.cgroup()));
                assert_eq!(socket["tickets"], Value::Null);
                assert!(socket["cookie"].as_u64().unwrap() > 0);
                for record in ["syn", "latest"] {
                    assert_eq!(socket[record]["tenant"], *tenant, "{version:?} {socket:#}");
                    assert_eq!(socket[record]["rx_ifindex"], lab.ifindex(), "{socket:#}");
                }
                let [syn, latest] = ["syn", "latest"].map(|of| &socket[of]["packet_number"]);
                assert!(syn.as_u64() < latest.as_u64(), "{socket:#}");
                let processes = socket["processes"].as_array().unwrap();
                assert_eq!(processes.len(), 1, "{socket:#}");
                assert_eq!(processes[0]["pid"], std::process::id());
                assert_eq!(processes[0]["fd"], server.as_raw_fd());
            }
        }
        let table = lab.pktmeta(&["sockets"]).succeeds();
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[0].starts_with("PROTO  STATE        LOCAL"), "{table}");
        let client = tenant_address(IpVersion::V4, 1).to_string();
        assert!(
            lines[1].starts_with("tcp    established  192.0.2."),
            "{table}"
        );
        assert!(lines[1].contains(&client), "{table}");
        assert!(lines[2].starts_with("       syn      "), "{table}");
        // Too long for a line.
        assert!(
            lines[3].starts_with("                flow_hash="),
            "{table}"
        );
        assert!(lines[3].ends_with(" tenant=1"), "{table}");
        assert!(lines[4].starts_with("       latest   "), "{table}");
    });
}

#[test]
fn a_connection_that_nobody_has_accepted_yet_is_listed_without_a_process() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let listener = lab.listen(IpVersion::V6);
        let _client = lab.connect(&listener, 3);
        let sockets = list(&lab, &[]);
        let socket = of(&sockets, listener.local_addr().unwrap());
        assert_eq!(socket["syn"]["tenant"], 3);
        assert_eq!(socket["processes"], json!([]));
    });
}

#[test]
fn udp_sockets_are_listed_with_where_they_get_tickets() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let server = lab.udp_server(IpVersion::V4);
        let plain = lab.plain_udp_server(IpVersion::V4);
        let sockets = list(&lab, &[]);
        let socket = of(&sockets, server.local_addr().unwrap());
        assert_eq!(socket["protocol"], "udp");
        assert_eq!(socket["state"], "unconnected");
        assert_eq!(socket["peer"], Value::Null);
        assert_eq!(socket["syn"], Value::Null);
        assert!(
            ["mark", "priority"]
                .map(Value::from)
                .contains(&socket["tickets"])
        );
        assert_eq!(sockets.len(), 1);

        let all = list(&lab, &["--all", "--udp"]);
        let socket = of(&all, plain.local_addr().unwrap());
        assert_eq!(socket["tickets"], Value::Null);
        let table = lab.pktmeta(&["sockets"]).succeeds();
        assert!(table.contains(" in the "), "{table}");
        assert!(
            !table.contains(&plain.local_addr().unwrap().to_string()),
            "{table}"
        );
    });
}

#[test]
fn what_sockets_send_is_shown_also_of_listeners_and_of_datagrams() {
    in_sandbox(|sandbox| {
        let scratch = Scratch::new();
        let trace =
            "owner = \"app\"\n[[field]]\nname = \"trace\"\ntype = \"u64\"\nwriters = [\"app\"]\n";
        let schema = scratch.file("app.toml", trace);
        let lab = Lab::up_with(sandbox, &["--schema", &schema]);
        let listener = lab.listen(IpVersion::V6);
        let udp = lab.plain_udp_server(IpVersion::V4);
        let _silent = lab.plain_udp_server(IpVersion::V4);
        send_trace(&lab, &listener, 77);
        send_trace(&lab, &udp, 78);
        let _client = lab.connect(&listener, 2);
        let (accepted, _) = listener.accept().unwrap();

        let sockets = list(&lab, &[]);
        let shown: Vec<_> = sockets
            .iter()
            .map(|socket| (socket["state"].as_str().unwrap(), &socket["sends"]))
            .collect();
        let [listening, sending] = [77, 78].map(|trace| json!({ "trace": trace }));
        assert_eq!(
            shown,
            [
                ("listen", &listening),
                ("established", &listening),
                ("unconnected", &sending)
            ]
        );
        let found = list(&lab, &["--field", "trace=78"]);
        assert_eq!(found.len(), 1, "{found:#?}");
        let table = lab.pktmeta(&["sockets", "--udp"]).succeeds();
        assert!(table.contains("\n       sends    trace=78\n"), "{table}");

        // No bytes end it.
        set_option(&udp, abi::PKTMETA_TX, &[]);
        assert_eq!(list(&lab, &["--udp"]).len(), 0);
        drop(accepted);
    });
}

#[test]
fn filters_choose_by_protocol_port_field_and_value() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let (four, four_client) = lab.connection(IpVersion::V4, 1);
        let (six, _six_client) = lab.connection(IpVersion::V6, 2);
        let udp = lab.udp_server(IpVersion::V4);
        let [four, six, udp] =
            [four.local_addr(), six.local_addr(), udp.local_addr()].map(Result::unwrap);
        let port = |end: SocketAddr| end.port().to_string();
        let client_port = port(four_client.local_addr().unwrap());
        let cases: [(&[&str], &[SocketAddr]); 9] = [
            (&["--tcp"], &[four, six]),
            (&["--udp"], &[udp]),
            (&["--tcp", "--udp"], &[four, six, udp]),
            (&["--port", &port(six)], &[six]),
            (&["--port", &client_port], &[four]),
            (&["--field", "tenant"], &[four, six]),
            (&["--field", "tenant=2"], &[six]),
            (&["--field", "tenant=2", "--field", "rx_queue=0"], &[six]),
            (&["--field", "tenant=2", "--field", "tenant=1"], &[]),
        ];
        for (arguments, wanted) in cases {
            let sockets = list(&lab, arguments);
            let found: BTreeSet<_> = sockets.iter().map(|s| s["local"].to_string()).collect();
            let wanted = wanted.iter().map(|end| format!("{:?}", end.to_string()));
            assert_eq!(found, wanted.collect(), "{arguments:?}");
        }
        let refused = |field: &str| lab.pktmeta(&["sockets", "--field", field]);
        refused("tenent").fails(&["no field is called \"tenent\"", "tenant is the nearest"]);
        refused("tenant=many").fails(&["\"many\" is no value for tenant: u32"]);
    });
}

#[test]
fn all_shows_sockets_without_a_record_too_and_those_of_other_namespaces() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let listener = lab.listen(IpVersion::V6);
        let (server, client) = lab.connection(IpVersion::V4, 1);
        assert_eq!(list(&lab, &[]).len(), 1);
        let all = list(&lab, &["--all"]);
        assert_eq!(of(&all, listener.local_addr().unwrap())["state"], "listen");
        assert_eq!(of(&all, server.local_addr().unwrap())["syn"]["tenant"], 1);
        let client = of(&all, client.local_addr().unwrap());
        assert_eq!(client["netns"], lab.hosts.client().id());
        assert_eq!(client["syn"], Value::Null);
    });
}

#[test]
fn more_sockets_than_the_kernel_shows_at_once_are_each_listed_once() {
    in_sandbox(|sandbox| {
        const SOCKETS: usize = 900;
        let lab = Lab::up(sandbox);
        let sockets: Vec<UdpSocket> = (0..SOCKETS)
            .map(|_| {
                let socket = lab.plain_udp_server(IpVersion::V4);
                socket.enable_packet_meta().unwrap();
                socket
            })
            .collect();
        let listed = list(&lab, &[]);
        let ports = |ports: Vec<u16>| ports.into_iter().collect::<BTreeSet<_>>();
        let bound = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap().port());
        let shown = listed.iter().map(|socket| {
            assert_eq!(socket["processes"].as_array().unwrap().len(), 1);
            let end: SocketAddr = socket["local"].as_str().unwrap().parse().unwrap();
            end.port()
        });
        assert_eq!(ports(shown.collect()), ports(bound.collect()));
        assert_eq!(listed.len(), SOCKETS);
    });
}

#[test]
fn a_socket_that_two_processes_have_open_names_both() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let (server, _client) = lab.connection(IpVersion::V4, 4);
        let own = server.try_clone().unwrap();
        let mut other = Command::new("sleep")
            .arg("60")
            .stdin(OwnedFd::from(own))
            .spawn()
            .unwrap();
        let table = lab.pktmeta(&["sockets"]).succeeds();
        let sockets = list(&lab, &[]);
        let _ = (other.kill(), other.wait());
        let socket = of(&sockets, server.local_addr().unwrap());
        let processes = socket["processes"].as_array().unwrap();
        let has = |pid: u32| processes.iter().any(|process| process["pid"] == pid);
        assert_eq!(processes.len(), 2, "{socket:#}");
        assert!(has(std::process::id()) && has(other.id()), "{socket:#}");
        assert!(table.contains(") +1"), "{table}");
    });
}

#[test]
fn sockets_says_that_nothing_is_up() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        lab.pktmeta(&["sockets"])
            .fails(&["nothing is up", "`pktmeta up --iface IF` starts it"]);
    });
}

/// What `sockets --json` lists, of this test's namespaces: others have tests too.
#[track_caller]
fn list(lab: &Lab, arguments: &[&str]) -> Vec<Value> {
    let ran = lab.pktmeta(&[&["sockets", "--json"], arguments].concat());
    let mut sockets: Vec<Value> = serde_json::from_str(&ran.succeeds()).unwrap();
    let own = [lab.hosts.server().id(), lab.hosts.client().id()].map(Value::from);
    sockets.retain(|socket| own.contains(&socket["netns"]));
    sockets
}

/// Has a socket send a record whose `trace` is this.
fn send_trace(lab: &Lab, socket: &impl AsRawFd, trace: u64) {
    let list = lab.pktmeta(&["registry", "list", "--json"]).succeeds();
    let list: Value = serde_json::from_str(&list).unwrap();
    let mut fields = list["fields"].as_array().unwrap().iter();
    let field = fields.find(|field| field["name"] == "trace").unwrap();
    let number = field["number"].as_i64().unwrap() as i32;
    set_option(socket, abi::PKTMETA_TX_FIELD + number, &trace.to_le_bytes());
}

fn set_option(socket: &impl AsRawFd, option: i32, value: &[u8]) {
    let (fd, length) = (socket.as_raw_fd(), value.len() as u32);
    // SAFETY: value has as many bytes as are said.
    let set =
        unsafe { libc::setsockopt(fd, abi::SOL_PKTMETA, option, value.as_ptr().cast(), length) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// The connection, or else the socket, that has this local end.
#[track_caller]
fn of(sockets: &[Value], local: SocketAddr) -> &Value {
    let mut found = sockets
        .iter()
        .filter(|socket| socket["local"] == local.to_string());
    let found = found
        .by_ref()
        .max_by_key(|socket| !socket["peer"].is_null());
    found.unwrap_or_else(|| panic!("no {local} in {sockets:#?}"))
}
