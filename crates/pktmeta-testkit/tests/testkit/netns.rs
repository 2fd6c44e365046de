use std::net::UdpSocket;
use std::process::Stdio;

use pktmeta_testkit::netns::Netns;

fn here() -> u64 {
    Netns::current().unwrap().id()
}

#[test]
fn a_new_namespace_is_another_one_and_its_loopback_works() {
    let netns = Netns::new().unwrap();
    assert_ne!(netns.id(), here());
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let received = netns.run(|| {
            let socket = UdpSocket::bind(address).unwrap();
            socket
                .send_to(b"hello", socket.local_addr().unwrap())
                .unwrap();
            socket.recv(&mut [0; 16]).unwrap()
        });
        assert_eq!(received, 5);
    }
}

#[test]
fn run_leaves_the_thread_where_it_was_and_passes_panics_on() {
    let (netns, before) = (Netns::new().unwrap(), here());
    assert_eq!(netns.run(here), netns.id());
    let panic = std::panic::catch_unwind(|| netns.run(|| panic!("inside"))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"inside"));
    assert_eq!(here(), before);
}

#[test]
fn guards_restore_the_namespace_also_when_nested_and_unwinding() {
    let (outer, inner, before) = (Netns::new().unwrap(), Netns::new().unwrap(), here());
    {
        let _outer = outer.enter();
        assert_eq!(here(), outer.id());
        let unwound = std::panic::catch_unwind(|| {
            let _inner = inner.enter();
            assert_eq!(here(), inner.id());
            panic!("on purpose");
        });
        assert!(unwound.is_err());
        assert_eq!(here(), outer.id());
    }
    assert_eq!(here(), before);
}

#[test]
fn commands_run_inside_also_after_the_handle_is_dropped() {
    let netns = Netns::new().unwrap();
    let id = netns.id();
    let mut command = netns.command("readlink");
    drop(netns);
    let output = command
        .arg("/proc/self/ns/net")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        format!("net:[{id}]")
    );
}
