//! A web server whose handlers know what XDP said of the connection's first packet.
//!
//! `cargo run -p pktmeta-examples --bin web -- 192.0.2.2:7000`

use axum::{Router, extract::ConnectInfo, routing::get};
use pktmeta::Field;
use pktmeta_axum::ConnectionMeta;
use tokio::net::TcpListener;

const TENANT: Field<u32> = Field::new("tenant");

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: web ADDRESS:PORT")?;
    let app = Router::new().route("/", get(hello));
    let listener = TcpListener::bind(address).await?;
    println!("listening");
    let service = app.into_make_service_with_connect_info::<ConnectionMeta>();
    Ok(axum::serve(listener, service).await?)
}

async fn hello(ConnectInfo(connection): ConnectInfo<ConnectionMeta>) -> String {
    match connection.opening.map(|meta| meta.get(TENANT)) {
        Ok(Some(tenant)) => format!("hello, tenant {tenant}\n"),
        Ok(None) => format!("hello, {}, whoever you are\n", connection.remote),
        Err(error) => format!("hello; {error}\n"),
    }
}
