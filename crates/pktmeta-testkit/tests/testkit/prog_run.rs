use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Duration;

use pktmeta_testkit::link::{IpVersion, TwoHosts};
use pktmeta_testkit::packet::{self, Frame};
use pktmeta_testkit::prog_run::{LiveFrames, MAX_METADATA, SkbRun, XdpRun, XdpVerdict};

use crate::bpf;

fn frame() -> Vec<u8> {
    packet::udp(
        "192.0.2.1:4000".parse().unwrap(),
        "192.0.2.2:53".parse().unwrap(),
        b"hello",
    )
}

#[test]
fn metadata_that_the_program_writes_is_returned() {
    let program = bpf::xdp_label();
    let outcome = XdpRun::new(program.as_fd()).packet(&frame()).run().unwrap();
    assert_eq!(outcome.verdict, XdpVerdict::Pass);
    assert_eq!(outcome.metadata, bpf::LABEL.to_ne_bytes());
    assert_eq!(outcome.packet, frame());
}

#[test]
fn metadata_that_is_given_is_in_front_of_what_the_program_adds() {
    let program = bpf::xdp_label();
    let outcome = XdpRun::new(program.as_fd())
        .packet(&frame())
        .metadata(&[1; 8])
        .run()
        .unwrap();
    assert_eq!(
        outcome.metadata,
        [&bpf::LABEL.to_ne_bytes()[..], &[1; 8]].concat()
    );
    assert_eq!(outcome.packet, frame());
}

#[test]
fn the_most_metadata_that_we_allow_is_what_the_kernel_allows() {
    let program = bpf::xdp_pass();
    let metadata = [7; MAX_METADATA];
    let outcome = XdpRun::new(program.as_fd())
        .packet(&frame())
        .metadata(&metadata)
        .run()
        .unwrap();
    assert_eq!(outcome.metadata, metadata);
}

#[test]
fn packets_of_more_than_a_page_come_back_whole() {
    let program = bpf::xdp_pass_with_fragments();
    let (source, destination) = ("[::1]:1".parse().unwrap(), "[::2]:2".parse().unwrap());
    let frame = packet::udp(source, destination, &[5; 9000]);
    let outcome = XdpRun::new(program.as_fd())
        .packet(&frame)
        .metadata(&[1; 4])
        .run()
        .unwrap();
    assert_eq!(outcome.metadata, [1; 4]);
    assert_eq!(outcome.packet, frame);
}

#[test]
fn repetition_measures_a_program() {
    let program = bpf::xdp_pass();
    let outcome = XdpRun::new(program.as_fd())
        .packet(&frame())
        .repeat(100_000)
        .run()
        .unwrap();
    assert!(
        (1..1_000_000).contains(&outcome.duration_ns),
        "{} ns",
        outcome.duration_ns
    );
}

#[test]
fn the_program_sees_the_device_in_the_namespace_of_the_caller() {
    let hosts = TwoHosts::new().unwrap();
    let program = bpf::xdp_ingress_ifindex();
    let run = XdpRun::new(program.as_fd())
        .packet(&frame())
        .ingress_ifindex(hosts.server_ifindex());
    let outcome = hosts.server().run(|| run.run()).unwrap();
    assert_eq!(outcome.verdict, XdpVerdict::from(hosts.server_ifindex()));

    let nowhere = XdpRun::new(program.as_fd())
        .packet(&frame())
        .ingress_ifindex(4_000_000);
    assert_eq!(
        nowhere.run().unwrap_err().raw_os_error(),
        Some(libc::ENODEV)
    );
}

#[test]
fn an_skb_program_changes_mark_and_nothing_else() {
    let program = bpf::tc_count_in_mark();
    let run = SkbRun::new(program.as_fd())
        .packet(&frame())
        .mark(41)
        .priority(6)
        .cb([1, 2, 3, 4, 5]);
    let outcome = run.tstamp(1 << 40).run().unwrap();
    assert_eq!((outcome.retval, outcome.mark, outcome.priority), (0, 42, 6));
    assert_eq!((outcome.cb, outcome.tstamp), ([1, 2, 3, 4, 5], 1 << 40));
    assert_eq!(outcome.packet, frame());
}

#[test]
fn a_program_of_the_wrong_type_is_refused_with_a_hint() {
    let program = bpf::tc_count_in_mark();
    let error = LiveFrames::new(program.as_fd())
        .packet(&frame())
        .ingress_ifindex(1)
        .run()
        .unwrap_err();
    assert!(
        format!("{error:#}").contains("the type of the program"),
        "{error:?}"
    );
}

/// A server, frames that it takes for the client's, and a socket that waits for them.
fn served(version: IpVersion) -> (TwoHosts, Vec<u8>, UdpSocket) {
    let hosts = TwoHosts::new().unwrap();
    let (client, server) = (hosts.client_ip(version), hosts.server_ip(version));
    let frame = Frame::new((client, 4000).into(), (server, 53).into())
        .macs(hosts.client_link().mac(), hosts.server_link().mac())
        .udp(b"hello");
    let socket = hosts
        .server()
        .run(|| UdpSocket::bind((server, 53)))
        .unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    (hosts, frame, socket)
}

fn drain(socket: &UdpSocket) -> usize {
    std::iter::from_fn(|| socket.recv(&mut [0; 16]).ok())
        .inspect(|len| assert_eq!(*len, 5))
        .count()
}

#[test]
fn live_frames_reach_a_socket() {
    for version in IpVersion::BOTH {
        let (hosts, frame, socket) = served(version);
        let program = bpf::xdp_pass();
        let run = LiveFrames::new(program.as_fd())
            .packet(&frame)
            .ingress_ifindex(hosts.server_ifindex());
        hosts
            .server()
            .run(|| run.repeat(40).batch(16).run())
            .unwrap();
        assert_eq!(drain(&socket), 40);
    }
}

#[test]
fn live_frames_carry_their_metadata_through_tc() {
    let (hosts, frame, socket) = served(IpVersion::V4);
    let gate = bpf::tc_label_required();
    let _link = hosts
        .server()
        .run(|| bpf::attach_tc_ingress(gate.as_fd(), hosts.server_ifindex()));
    let program = bpf::xdp_pass();
    let run = LiveFrames::new(program.as_fd())
        .packet(&frame)
        .ingress_ifindex(hosts.server_ifindex());

    let labelled = run.clone().metadata(&bpf::LABEL.to_ne_bytes()).repeat(10);
    hosts.server().run(|| labelled.run()).unwrap();
    assert_eq!(drain(&socket), 10);
    hosts.server().run(|| run.repeat(10).run()).unwrap();
    assert_eq!(drain(&socket), 0);
}

#[test]
fn frames_that_fill_a_page_are_refused_with_a_reason() {
    let (hosts, _, _) = served(IpVersion::V4);
    let program = bpf::xdp_pass();
    let run = LiveFrames::new(program.as_fd())
        .packet(&[0; 5000])
        .ingress_ifindex(hosts.server_ifindex());
    let error = hosts.server().run(|| run.run()).unwrap_err();
    assert!(
        format!("{error:#}").contains("too long for one page"),
        "{error:?}"
    );
}
