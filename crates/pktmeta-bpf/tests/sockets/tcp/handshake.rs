//! Ways to open a connection.

use super::*;

#[test]
fn a_socket_has_no_record_until_it_is_connected() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let socket = tcp_socket(lab.hosts.server(), lab.server_address(version, 0));
            let peer = listen(lab.hosts.client(), client_address(version, 2, 0));
            let peer_address = peer.local_addr().unwrap();
            assert_nobodys(&socket);
            lab.lose_what_is_sent_to(peer_address.ip());
            begin_to_connect(&socket, peer_address);
            assert_nobodys(&socket);
            lab.find(peer_address.ip());
            // Once the SYN was sent again.
            (&socket).write_all(b"!").unwrap();
            assert_ours(&accept(&peer), &socket.into(), 2);
        }
    });
}
