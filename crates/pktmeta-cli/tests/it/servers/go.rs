//! A server of Go's standard library

use super::{PORT, Server};
use crate::command::{Run, Scratch, text};
use pktmeta_testkit::sandbox::in_sandbox;
use std::process::Command;

const SERVER: &str = r#"
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
)

func answer(to http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		log.Fatal(err)
	}
	client, _, err := net.SplitHostPort(request.RemoteAddr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(to, client, request.Method, request.URL, len(body))
}

func main() {
	log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(answer)))
}
"#;

#[test]
fn a_go_server_and_its_clients_are_served_the_same_with_a_datapath() {
    in_sandbox(|sandbox| {
        let scratch = Scratch::new();
        let source = scratch.file("server.go", SERVER);
        let program = text(scratch.path().join("server"));
        let mut go = Command::new("go");
        go.args(["build", "-o", &program, &source]).ran().succeeds();
        let body = format!("@{program}");
        let server = Server {
            command: &[&program],
            ask: &|client| {
                let told = [
                    client.curl(&client.url(PORT, "a"), &[]),
                    client.curl(&client.url(PORT, "b"), &["--data-binary", &body]),
                    client.curl(&client.url(PORT, "c"), &["--http1.0"]),
                ];
                assert!(told[0].contains(&client.address()), "{told:?}");
                told.concat()
            },
            question: b"GET /d HTTP/1.1\r\nHost: here\r\n\r\n",
        };
        server.is_the_same_with_a_datapath(sandbox);
    });
}
