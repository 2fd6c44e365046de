//! unbound

use super::{Client, Server};
use crate::command::{Run, Scratch, text};
use pktmeta_testkit::sandbox::in_sandbox;

/// It learns to which address a datagram was sent from a control message, beside which a ticket
/// would stand.
const CONF: &str = "
server:
    interface: 0.0.0.0
    interface: ::0
    interface-automatic: yes
    port: 8080
    access-control: 0.0.0.0/0 allow
    access-control: ::0/0 allow
    num-threads: 1
    module-config: iterator
    rrset-roundrobin: no
    chroot: \"\"
    username: \"\"
    pidfile: \"\"
    use-syslog: no
    do-daemonize: no
    local-zone: \"example.org.\" static
    local-data: \"one.example.org. 300 IN A 192.0.2.9\"
    local-data: \"one.example.org. 300 IN AAAA 2001:db8::9\"
    local-data: 'long.example.org. 300 IN TXT \"LONG\" \"LONG\" \"LONG\" \"LONG\"'
remote-control:
    control-enable: no
";

/// Asks for names by UDP, and by TCP what is too long for that, as resolvers do.
const CLIENT: &str = "
import socket, struct, sys
server, client = sys.argv[1], sys.argv[2]
family = socket.AF_INET6 if ':' in client else socket.AF_INET

def query(number, name, kind):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    return struct.pack('!6H', number, 0x100, 1, 0, 0, 0) + labels + struct.pack('!BHH', 0, kind, 1)

def by(kind):
    found = socket.socket(family, kind)
    found.settimeout(10)
    found.bind((client, 0))
    found.connect((server, 8080))
    return found

datagrams = by(socket.SOCK_DGRAM)
connection = by(socket.SOCK_STREAM)
reader = connection.makefile('rb')
names = [('one.example.org', 1), ('one.example.org', 28), ('none.example.org', 1),
         ('long.example.org', 16)]
for number, (name, kind) in enumerate(names * 5):
    asked = query(number, name, kind)
    datagrams.send(asked)
    answer = datagrams.recv(4096)
    print('udp', name, answer.hex())
    if answer[2] & 2:
        connection.sendall(struct.pack('!H', len(asked)) + asked)
        length, = struct.unpack('!H', reader.read(2))
        print('tcp', name, reader.read(length).hex())
";

#[test]
fn unbound_and_its_clients_are_served_the_same_with_a_datapath() {
    in_sandbox(|sandbox| {
        let scratch = Scratch::new();
        let conf = scratch.file("unbound.conf", CONF.replace("LONG", &"text ".repeat(50)));
        let script = scratch.file("client.py", CLIENT);
        let ask = |client: &Client<'_>| {
            let mut python = client.lab.hosts.client().command("python3");
            let server = client.server().ip().to_string();
            let told = python.args([&script, &server, &client.address()]).ran();
            let told = told.succeeds();
            assert_eq!(told.matches("udp").count(), 20, "{told}");
            assert_eq!(told.matches("tcp").count(), 5, "{told}");
            assert!(told.contains("c0000209"), "{told}");
            told
        };
        let server = Server {
            command: &["unbound", "-d", "-c", &text(&conf)],
            ask: &ask,
            question:
                b"\0\x21\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03one\x07example\x03org\0\0\x01\0\x01",
        };
        server.is_the_same_with_a_datapath(sandbox);
    });
}
