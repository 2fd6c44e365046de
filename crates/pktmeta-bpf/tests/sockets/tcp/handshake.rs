//! Ways to open a connection.

use super::*;

#[test]
fn two_sockets_that_connect_to_each_other_have_the_record_of_the_others_syn() {
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let address = lab.server_address(version, 4000);
            let peer_address = client_address(version, 5, 4001);
            let socket = tcp_socket(lab.hosts.server(), address);
            let peer = tcp_socket(lab.hosts.client(), peer_address);
            // The first SYN gets lost, so that they cross.
            lab.lose_what_is_sent_to(peer_address.ip());
            begin_to_connect(&socket, peer_address);
            lab.find(peer_address.ip());
            peer.connect_timeout(&address.into(), LIMIT).unwrap();
            let (peer, socket) = (peer.into(), socket.into());
            say(&peer, &socket);
            assert_ours(&peer, &socket, 5);
        }
    });
}

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
