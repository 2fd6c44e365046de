//! haproxy

use super::{PORT, Server};
use crate::command::{Scratch, text};
use pktmeta_testkit::sandbox::in_sandbox;

/// A proxy that tells the server behind it who asks, and that server.
const CONF: &str = "
global
    nbthread 1
defaults
    mode http
    timeout client 20s
    timeout server 20s
    timeout connect 20s
    option http-keep-alive
backend servers
    server one 192.0.2.2:8081 send-proxy-v2
frontend server
    bind 192.0.2.2:8081 accept-proxy
    http-request return status 200 content-type text/plain \
     lf-string \"%[src] %[method] %[path] %[req.body_len]\\n\"
frontend stream
    mode tcp
    bind 192.0.2.2:8082
    bind 2001:db8::2:8082
    default_backend streams
backend streams
    mode tcp
    server one 192.0.2.2:8081 send-proxy-v2
frontend proxy
    bind 192.0.2.2:8080
    bind 2001:db8::2:8080
    default_backend servers
";

#[test]
fn haproxy_and_its_clients_are_served_the_same_with_a_datapath() {
    in_sandbox(|sandbox| {
        let scratch = Scratch::new();
        let conf = scratch.file("haproxy.cfg", CONF);
        let body = format!("@{}", text(&conf));
        let server = Server {
            command: &["haproxy", "-db", "-f", &conf],
            ask: &|client| {
                let told = [
                    client.curl(&client.url(PORT, "a"), &[]),
                    client.curl(&client.url(PORT, "b"), &["--data-binary", &body]),
                    client.curl(&client.url(PORT + 2, "c"), &["--head"]),
                    client.curl(&client.url(PORT + 2, "d"), &[]),
                ];
                assert!(told[0].contains(&client.address()), "{told:?}");
                assert!(told[3].contains(&client.address()), "{told:?}");
                told.concat()
            },
            question: b"GET /e HTTP/1.1\r\nHost: here\r\n\r\n",
        };
        server.is_the_same_with_a_datapath(sandbox);
    });
}
