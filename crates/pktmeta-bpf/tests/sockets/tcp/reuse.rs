//! Sockets, ports and addresses that were a connection's before.

use super::*;
use std::os::fd::AsRawFd;

#[test]
fn a_socket_that_connects_again_has_nothing_of_its_first_connection() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let socket = connected_and_disconnected(&lab, version);
            let peer = listen(lab.hosts.client(), client_address(version, 2, 0));
            let peer_address = peer.local_addr().unwrap();
            lab.lose_what_is_sent_to(peer_address.ip());
            begin_to_connect(&socket, peer_address);
            assert_nobodys(&socket);
            lab.find(peer_address.ip());
            disconnect(&socket);

            let unlabelled = lab.listen(version);
            let address = unlabelled.local_addr().unwrap();
            socket.connect(&address.into()).unwrap();
            let socket = socket.into();
            say(&accept(&unlabelled), &socket);
            assert_nobodys(&socket);
        }
    });
}

#[test]
fn a_socket_that_listens_has_nothing_of_its_earlier_connection() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let socket = connected_and_disconnected(&lab, version);
            socket.listen(1).unwrap();
            assert_nobodys(&socket);
            let listener: TcpListener = socket.into();
            let client = lab.connect(listener.local_addr().unwrap(), 2);
            assert_ours(&client, &accept(&listener), 2);
            assert_nobodys(&listener);
        }
    });
}

/// A socket of the server that was connected to tenant 1.
fn connected_and_disconnected(lab: &Lab, version: IpVersion) -> Socket {
    let peer = listen(lab.hosts.client(), client_address(version, 1, 0));
    let socket = tcp_socket(lab.hosts.server(), lab.server_address(version, 0));
    socket.connect(&peer.local_addr().unwrap().into()).unwrap();
    assert_labelled(&socket.opening_meta().unwrap(), 1);
    disconnect(&socket);
    socket
}

/// Ends a connection, after which the socket can begin another (connect(2)).
fn disconnect(socket: &Socket) {
    // SAFETY: Zeros are a socket address; its family is AF_UNSPEC.
    let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
    // SAFETY: The kernel reads the size that is said of `nowhere`.
    let result = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            &raw const nowhere,
            size_of_val(&nowhere) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
