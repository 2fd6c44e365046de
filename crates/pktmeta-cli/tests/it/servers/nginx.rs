//! nginx

use super::{PORT, Server};
use crate::command::{Scratch, text};
use pktmeta_testkit::sandbox::in_sandbox;

#[test]
fn nginx_and_its_clients_are_served_the_same_with_a_datapath() {
    in_sandbox(|sandbox| {
        let scratch = Scratch::new();
        let directory = text(scratch.path());
        scratch.file("file", "All of it, and none of it twice.\n".repeat(9_000));
        let listen = |port, options| {
            format!(
                "server {{ listen 192.0.2.2:{port} {options}; listen [2001:db8::2]:{port} \
                 {options}; root {directory}; location /upload {{ client_max_body_size 1m; \
                 proxy_pass http://192.0.2.2:{port}/count; }} location /count {{ return 200 \
                 \"$request_length $remote_addr\\n\"; }} }}"
            )
        };
        let conf = format!(
            "daemon off; master_process off; pid {directory}/pid; error_log {directory}/errors; \
             events {{}} http {{ access_log off; gzip on; gzip_types *; \
             client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; {} {} }}",
            listen(PORT + 1, "http2"),
            listen(PORT, "deferred"),
        );
        let conf = scratch.file("nginx.conf", conf);
        let file = format!("@{directory}/file");
        let server = Server {
            command: &["nginx", "-c", &conf, "-e", "stderr"],
            ask: &|client| {
                let (http, http2) = (client.url(PORT, "file"), client.url(PORT + 1, "file"));
                [
                    client.curl(&http, &[]),
                    client.curl(&http, &["--range", "1000-2000"]),
                    client.curl(&http, &["--compressed"]),
                    client.curl(&http2, &["--http2-prior-knowledge"]),
                    client.curl(&client.url(PORT, "none"), &["--head"]),
                    client.curl(&client.url(PORT, "upload"), &["--data-binary", &file]),
                ]
                .concat()
            },
            question: b"GET /count HTTP/1.1\r\nHost: here\r\n\r\n",
        };
        server.is_the_same_with_a_datapath(sandbox);
    });
}
