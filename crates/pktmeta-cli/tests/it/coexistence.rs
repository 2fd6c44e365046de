//! Applications and programs that know nothing of the datapath work as they do without it.

use crate::{
    bpf::{Foreign, read_entry},
    command::{Run, Running, Scratch, pktmeta, text, up},
    lab::{INTERFACE, Lab, eventually},
};
use pktmeta::{PacketMeta, Received, TcpMeta, UdpMeta, builtin};
use pktmeta_bpf::{Object, ObjectOptions, hooks::xdp};
use pktmeta_core::{schema::Schema, seal::Secret};
use pktmeta_testkit::{
    link::{IpVersion, TwoHosts},
    packet::{self, Frame},
    prog_run::{LiveFrames, XdpRun, XdpVerdict},
    sandbox::in_sandbox,
};
use serde_json::Value;
use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    process::Command,
};

/// A tool on the server.
fn on_server(lab: &Lab, tool: &str, arguments: &[&str]) -> Command {
    let mut command = lab.hosts.server().command(tool);
    command.args(arguments);
    command
}

fn on_client(lab: &Lab, tool: &str, arguments: &[&str]) -> Command {
    let mut command = lab.hosts.client().command(tool);
    command.args(arguments);
    command
}

#[test]
fn iperf3_transfers_tcp_both_ways() {
    in_sandbox(|sandbox| iperf3(&Lab::up(sandbox), &[]));
}

#[test]
fn iperf3_transfers_udp_both_ways() {
    in_sandbox(|sandbox| iperf3(&Lab::up(sandbox), &["--udp", "--bitrate", "50M"]));
}

fn iperf3(lab: &Lab, arguments: &[&str]) {
    for version in IpVersion::BOTH {
        let address = lab.hosts.server_ip(version).to_string();
        let serve = ["--server", "--one-off", "--forceflush", "--bind", &address];
        let mut server = on_server(lab, "iperf3", &serve).running();
        let _rest = Running::wait_for("Server listening", server.stdout.take().unwrap());
        let mut client = on_client(lab, "iperf3", &["--client", &address, "--json"]);
        client.args(["--time", "2", "--bidir"]).args(arguments);
        let report: Value = serde_json::from_str(&client.ran().succeeds()).unwrap();
        for sum in ["sum_received", "sum_received_bidir_reverse"] {
            let bytes = report["end"][sum]["bytes"].as_f64().unwrap();
            assert!(
                bytes > 100_000.0,
                "{version:?} {sum}: {bytes} in {report:#}"
            );
        }
        assert!(server.wait().unwrap().success());
    }
}

#[test]
fn an_http_server_hands_out_a_file_as_it_is() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let scratch = Scratch::new();
        let contents = noise(1, 10 << 20);
        scratch.file("file", &contents);
        for version in IpVersion::BOTH {
            let address = lab.server_address(version, 8080);
            let ip = address.ip().to_string();
            let serve = ["-m", "http.server", "--bind", &ip, "8080", "--directory"];
            let mut server = on_server(&lab, "python3", &serve);
            let _server = server.arg(scratch.path()).running();
            eventually("the HTTP server listens", || {
                lab.hosts
                    .client()
                    .run(|| TcpStream::connect(address).is_ok())
            });
            let copy = text(scratch.path().join("copy"));
            let fetch = ["--silent", "--show-error", "--globoff", "--output", &copy];
            let mut client = on_client(&lab, "curl", &fetch);
            client
                .arg(format!("http://{address}/file"))
                .ran()
                .succeeds();
            assert!(
                fs::read(copy).unwrap() == contents,
                "{version:?}: another file"
            );
        }
    });
}

#[test]
fn a_large_transfer_arrives_as_it_was_sent() {
    in_sandbox(|sandbox| {
        const BLOCK: usize = 1 << 20;
        const BLOCKS: u64 = 100;
        let lab = Lab::up(sandbox);
        let noise = noise(2, BLOCK);
        // Each block has its number in front, so that one in the place of another is noticed.
        let stamp =
            |block: &mut [u8], number: u64| block[..8].copy_from_slice(&number.to_be_bytes());
        for version in IpVersion::BOTH {
            let (mut server, mut client) = lab.connection(version, 1);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut block = noise.clone();
                    for number in 0..BLOCKS {
                        stamp(&mut block, number);
                        client.write_all(&block).unwrap();
                    }
                });
                let (mut expected, mut block) = (noise.clone(), vec![0; BLOCK]);
                for number in 0..BLOCKS {
                    stamp(&mut expected, number);
                    server.read_exact(&mut block).unwrap();
                    assert!(block == expected, "block {number} of {version:?} differs");
                }
            });
            lab.assert_labelled(&server.packet_meta().unwrap(), 1);
        }
    });
}

/// Bytes that do not repeat.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state ^ state >> 29).to_le_bytes()
    });
    words.take(length / 8).flatten().collect()
}

#[test]
fn packets_of_an_interface_that_is_not_labelled_have_no_record_and_arrive() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            // From the server to itself: through its loopback interface.
            let server = lab.udp_server(version);
            let to = server.local_addr().unwrap();
            let client = lab.plain_udp_server(version);
            client.send_to(b"hello", to).unwrap();
            let mut payload = [0; 16];
            let Received {
                len: length,
                from,
                meta,
                ..
            } = server.recv_from_meta(&mut payload).unwrap();
            assert_eq!(&payload[..length], b"hello");
            assert_eq!(from, client.local_addr().unwrap());
            assert!(meta.unwrap().is_absent());

            let listener = lab.listen(version);
            let to = listener.local_addr().unwrap();
            let mut client = lab.hosts.server().run(|| TcpStream::connect(to)).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(b"hello").unwrap();
            server.read_exact(&mut payload[..5]).unwrap();
            assert_eq!(&payload[..5], b"hello");
            assert!(server.opening_meta().unwrap().is_absent());
            assert!(server.packet_meta().unwrap().is_absent());
        }
        lab.assert_works();
    });
}

/// Metadata that is no record: it has not the magic.
const FOREIGN: [u8; 8] = [0xaa; 8];

/// An interface takes one XDP program, so somebody else's metadata can be in front of a packet only
/// if a program that runs before ours, in the driver or a dispatcher, put it there: `BPF_PROG_RUN`
/// stands in for that.
#[test]
fn xdp_takes_the_place_of_metadata_of_others() {
    in_sandbox(|_| {
        let schema = Schema::parse("builtin.toml", builtin::SCHEMA).unwrap();
        let secret = Secret::new(0x1234_5678_9abc).unwrap();
        let registry = Schema::registry([&schema]).unwrap().with_secret(secret);
        let options = ObjectOptions {
            registry: Some(&registry),
            ..Default::default()
        };
        let object = Object::load(xdp::HOOK.name, xdp::HOOK.object, &options).unwrap();
        let program = object.program(xdp::HOOK.programs[0].name).unwrap();
        let frame = packet::udp(
            (TwoHosts::CLIENT_V4, 4000).into(),
            (TwoHosts::SERVER_V4, 53).into(),
            b"hello",
        );
        let run = XdpRun::new(program).packet(&frame).metadata(&FOREIGN);
        let outcome = run.run().unwrap();
        assert_eq!(outcome.verdict, XdpVerdict::Pass);
        let record = secret.open(&outcome.metadata).unwrap();
        assert_eq!(registry.get(&record, builtin::PACKET_NUMBER), Some(1));
        assert_eq!(outcome.packet, frame);

        let cpus = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
        let last = cpus.trim().rsplit(['-', ',']).next().unwrap();
        let names: Vec<_> = xdp::HOOK
            .counters
            .iter()
            .map(|counter| counter.name)
            .collect();
        let mut counts = vec![0; names.len() * (1 + last.parse::<usize>().unwrap())];
        let map = object.map(xdp::HOOK.counters_map.unwrap()).unwrap();
        read_entry(map.as_fd(), &mut counts);
        let count = |name| {
            let at = names.iter().position(|found| *found == name).unwrap();
            counts.chunks(names.len()).map(|cpu| cpu[at]).sum::<u64>()
        };
        assert_eq!(["packets", "foreign", "records"].map(count), [1, 1, 1]);
    });
}

/// Live frames enter the stack behind the driver's XDP: their metadata is that of another program,
/// which passed them, and our hooks at TC and in the cgroup meet it.
#[test]
fn datagrams_with_metadata_of_others_arrive_without_a_record() {
    in_sandbox(|sandbox| {
        const FRAMES: u32 = 10;
        let lab = Lab::up_with(sandbox, &Lab::ALL_FIELDS);
        let server = lab.udp_server(IpVersion::V4);
        let foreign = Foreign::xdp();
        let frame = Frame::new(
            (TwoHosts::CLIENT_V4, 4000).into(),
            server.local_addr().unwrap(),
        );
        let (from, to) = (lab.hosts.client_link().mac(), lab.hosts.server_link().mac());
        let run = LiveFrames::new(foreign.as_fd())
            .packet(&frame.macs(from, to).udp(b"hello"))
            .metadata(&FOREIGN)
            .ingress_ifindex(lab.ifindex())
            .repeat(FRAMES);
        let before = lab.status().counter("tc ingress", "foreign");
        lab.hosts.server().run(|| run.run()).unwrap();
        for _ in 0..FRAMES {
            let mut payload = [0; 16];
            let Received {
                len: length, meta, ..
            } = server.recv_from_meta(&mut payload).unwrap();
            assert_eq!(&payload[..length], b"hello");
            assert!(meta.unwrap().is_absent());
        }
        let after = lab.status().counter("tc ingress", "foreign");
        assert_eq!(after - before, u64::from(FRAMES));
        lab.assert_works();
    });
}

#[test]
fn while_tcpdump_runs_records_still_arrive_with_what_xdp_knows() {
    in_sandbox(|sandbox| {
        let lab = Lab::up_with(sandbox, &Lab::ALL_FIELDS);
        let arguments = ["--immediate-mode", "-i", INTERFACE, "-n", "-w", "/dev/null"];
        let mut tcpdump = on_server(&lab, "tcpdump", &arguments).running();
        let mut stderr = Running::wait_for("listening on", tcpdump.stderr.take().unwrap());
        let before = lab.status();
        let mut without_hash = 0;
        let mut check = |meta: PacketMeta, tenant| {
            lab.assert_labelled(&meta, tenant);
            without_hash += u64::from(meta.get(builtin::FLOW_HASH).is_none());
        };
        for version in IpVersion::BOTH {
            for tenant in Lab::TENANTS {
                check(lab.datagram(version, tenant).unwrap(), tenant);
                let (server, _client) = lab.connection(version, tenant);
                check(server.opening_meta().unwrap(), tenant);
                check(server.packet_meta().unwrap(), tenant);
            }
        }
        // A packet that is shared cannot be changed: `read_only` counts what TC could not add.
        let after = lab.status();
        let lost =
            after.counter("tc ingress", "read_only") - before.counter("tc ingress", "read_only");
        println!("{lost} records lost TC's fields, of {without_hash} was read");
        assert!(lost >= without_hash, "{lost} counted, {without_hash} seen");

        tcpdump.signal(libc::SIGINT);
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        let captured = said
            .lines()
            .find_map(|line| line.strip_suffix(" packets captured"));
        assert!(captured.is_some_and(|count| count != "0"), "{said}");
    });
}

/// The mark of the next datagram, as an application sees it that asked for marks.
fn receive_mark(socket: &UdpSocket) -> u32 {
    let mut payload = [0_u8; 16];
    let mut control = [0_u64; 16];
    let mut payloads = libc::iovec {
        iov_base: payload.as_mut_ptr().cast(),
        iov_len: payload.len(),
    };
    // SAFETY: all zeroes is a valid msghdr.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &mut payloads;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // SAFETY: the header points to one iovec and to `control`, of the lengths it says.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, 0) };
    assert!(received >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel filled in the header, whose control messages are in `control`.
    let message = unsafe { libc::CMSG_FIRSTHDR(&header).as_ref() };
    let message = message.expect("a control message");
    assert_eq!(
        (message.cmsg_level, message.cmsg_type),
        (libc::SOL_SOCKET, libc::SO_MARK)
    );
    // SAFETY: a mark is a u32 behind the header of its message.
    unsafe { libc::CMSG_DATA(message).cast::<u32>().read_unaligned() }
}

#[test]
fn an_application_that_receives_marks_for_itself_gets_the_real_ones() {
    in_sandbox(|sandbox| {
        const MARK: u32 = 0x5eed;
        let lab = Lab::up(sandbox);
        let own = lab.plain_udp_server(IpVersion::V4);
        set_option(
            &own,
            libc::SOL_SOCKET,
            libc::SO_RCVMARK,
            &1_i32.to_ne_bytes(),
        )
        .unwrap();
        let client = lab.udp_client(IpVersion::V4, 1);
        let send = || client.send_to(b"hello", own.local_addr().unwrap()).unwrap();
        send();
        assert_eq!(receive_mark(&own), 0);
        let marks = Foreign::tcx_that_marks(MARK as i32);
        let _link = marks.attach_to_interface(lab.hosts.server(), lab.ifindex());
        send();
        assert_eq!(receive_mark(&own), MARK);
        lab.assert_works();
        send();
        assert_eq!(receive_mark(&own), MARK);
    });
}

/// What a socket answers into a buffer of `size` bytes.
fn get_option(socket: impl AsFd, level: i32, name: i32, size: usize) -> io::Result<Vec<u8>> {
    let mut value = vec![0; size];
    let mut length = size as libc::socklen_t;
    // SAFETY: value has the length that is passed.
    let result = unsafe {
        let value = value.as_mut_ptr().cast();
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, value, &mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    value.truncate(length as usize);
    Ok(value)
}

fn set_option(socket: impl AsFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let length = value.len() as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: value has the length that is passed.
    match unsafe { libc::setsockopt(socket, level, name, value.as_ptr().cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A page; beyond it the kernel shows a program less than the application passes.
const PAGE: usize = 4096;

#[test]
fn socket_options_of_other_levels_are_answered_as_without_the_datapath() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let (server, _client) = lab.connection(IpVersion::V4, 1);
        // Timestamp and record route: an option that has a value of its own.
        let options = [7, 7, 4, 0, 0, 0, 0, 0];
        set_option(&server, libc::IPPROTO_IP, libc::IP_OPTIONS, &options).unwrap();
        let answers = || {
            let all = [
                (libc::SOL_SOCKET, libc::SO_RCVBUF),
                (libc::SOL_SOCKET, libc::SO_TYPE),
                (libc::SOL_SOCKET, 9999),
                (libc::IPPROTO_IP, libc::IP_OPTIONS),
                (libc::IPPROTO_IP, libc::IP_TTL),
                (libc::IPPROTO_TCP, libc::TCP_MAXSEG),
                (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
                (libc::IPPROTO_TCP, 9999),
                (9999, 1),
            ];
            let sizes = [4, 64, PAGE, PAGE + 1, 2 * PAGE];
            let questions = all
                .into_iter()
                .flat_map(|question| sizes.map(|size| (question, size)));
            let answer = |((level, name), size)| {
                get_option(&server, level, name, size).map_err(|error| error.raw_os_error())
            };
            questions.map(answer).collect::<Vec<_>>()
        };
        // Its numbers change, its length does not.
        let info = |size| {
            get_option(&server, libc::IPPROTO_TCP, libc::TCP_INFO, size)
                .unwrap()
                .len()
        };
        let infos = || [PAGE / 32, PAGE, 2 * PAGE].map(info);
        let (before, infos_before) = (answers(), infos());
        lab.try_up(&[]).succeeds();
        assert_eq!(answers(), before);
        assert_eq!(infos(), infos_before);
    });
}

#[test]
fn socket_options_larger_than_a_page_go_through() {
    in_sandbox(|sandbox| {
        const GROUPS: u32 = 3000;
        let lab = Lab::up(sandbox);
        // The one answer that grows with the process that asks.
        let groups: Vec<u32> = (1..=GROUPS).collect();
        let answer = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // The system call, unlike libc's function, is for this thread only.
                // SAFETY: the list has the length that is passed.
                let result = unsafe { libc::syscall(libc::SYS_setgroups, GROUPS, groups.as_ptr()) };
                assert_eq!(result, 0, "{}", io::Error::last_os_error());
                let (socket, _peer) = UnixStream::pair().unwrap();
                get_option(socket, libc::SOL_SOCKET, libc::SO_PEERGROUPS, 4 * PAGE)
            });
            thread.join().unwrap()
        });
        let expected: Vec<_> = groups
            .iter()
            .flat_map(|group| group.to_ne_bytes())
            .collect();
        assert!(answer.unwrap() == expected);

        let socket = lab.plain_udp_server(IpVersion::V4);
        let mut value = vec![0; 2 * PAGE];
        value[..4].copy_from_slice(&50_000_i32.to_ne_bytes());
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &value).unwrap();
        let size = get_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 4).unwrap();
        assert_eq!(size, 100_000_i32.to_ne_bytes(), "the kernel doubles it");
    });
}

#[test]
fn a_server_in_python_reads_the_record_by_getsockopt() {
    in_sandbox(|sandbox| {
        const SCRIPT: &str = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/python/read_record.py"
        );
        let lab = Lab::up(sandbox);
        for (version, port) in [(IpVersion::V4, 7001), (IpVersion::V6, 7002)] {
            let address = lab.server_address(version, port);
            let arguments = [SCRIPT, &address.ip().to_string(), &port.to_string()];
            let mut server = on_server(&lab, "python3", &arguments).running();
            let stdout = server.stdout.take().unwrap();
            let mut stdout = Running::wait_for("listening", stdout);
            let _client = lab
                .hosts
                .client()
                .run(|| TcpStream::connect(address))
                .unwrap();
            let mut said = String::new();
            stdout.read_to_string(&mut said).unwrap();
            assert!(server.wait().unwrap().success());
            let line = format!("rx_ifindex = {}", lab.ifindex());
            assert!(
                said.lines().any(|found| found == line),
                "no {line} in {said}"
            );
        }
    });
}

/// Generic XDP and a listener on all addresses, as on a cloud's machine.
#[test]
fn a_listener_on_all_addresses_has_records_of_both_families_in_generic_mode() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let arguments = ["--mode", "generic"];
        up(sandbox, lab.hosts.server(), INTERFACE)
            .args(arguments)
            .ran()
            .succeeds();
        let listener = lab
            .hosts
            .server()
            .run(|| TcpListener::bind("[::]:7003"))
            .unwrap();
        for version in IpVersion::BOTH {
            let to = lab.server_address(version, 7003);
            let _client = lab.hosts.client().run(|| TcpStream::connect(to)).unwrap();
            let (server, _) = listener.accept().unwrap();
            let ifindex = server.opening_meta().unwrap().get(builtin::RX_IFINDEX);
            assert_eq!(ifindex, Some(lab.ifindex()), "{version:?}");
        }
        pktmeta(lab.hosts.server(), &["down"]).ran().succeeds();
    });
}
