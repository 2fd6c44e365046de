//! The metadata that XDP and TC programs gave the connection of a request, for servers with axum
//! 0.8.
//!
//! It needs a datapath on a cgroup that contains the process, like [`TcpMeta`], and no privileges.
//! The version of this crate is that of axum.
//!
//! ```no_run
//! use axum::{Router, extract::ConnectInfo, routing::get};
//! use pktmeta::Field;
//! use pktmeta_axum::ConnectionMeta;
//!
//! const TENANT: Field<u32> = Field::new("tenant");
//!
//! async fn hello(ConnectInfo(connection): ConnectInfo<ConnectionMeta>) -> String {
//!     match connection.opening.map(|meta| meta.get(TENANT)) {
//!         Ok(Some(tenant)) => format!("hello, tenant {tenant}"),
//!         Ok(None) => "hello, whoever you are".into(),
//!         Err(error) => error.to_string(),
//!     }
//! }
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new().route("/", get(hello));
//! let listener = tokio::net::TcpListener::bind("[::]:8080").await?;
//! let service = app.into_make_service_with_connect_info::<ConnectionMeta>();
//! axum::serve(listener, service).await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use pktmeta::{Error, PacketMeta, TcpMeta};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// A connection that a server accepted: in handlers, `ConnectInfo<ConnectionMeta>`.
///
/// It is read once, when the connection is accepted, and is the same for all of its requests.
///
/// It works with tokio's `TcpListener`. For a listener of your own, implement `Connected` for a
/// type of your own, and make this one in it with [`ConnectionMeta::of`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionMeta {
    /// The peer.
    pub remote: SocketAddr,
    /// The record of its SYN: [`TcpMeta::opening_meta`].
    pub opening: Result<PacketMeta, Error>,
}

impl ConnectionMeta {
    /// The metadata of a connection with `remote`.
    pub fn of<S: TcpMeta>(stream: &S, remote: SocketAddr) -> Self {
        Self {
            remote,
            opening: stream.opening_meta(),
        }
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for ConnectionMeta {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self::of(stream.io(), *stream.remote_addr())
    }
}
