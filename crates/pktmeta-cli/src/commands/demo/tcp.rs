//! Connections, each with its tenant in the payload.

use super::{
    lab::{Family, Lab, TENANT},
    tally::Connections,
};
use anyhow::Context;
use indicatif::ProgressBar;
use pktmeta::{TcpMeta, builtin};
use socket2::{Domain, Socket, Type};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

/// Opens `count` connections, one after another, and checks the records of each.
pub(super) fn exchange(
    lab: &Lab,
    family: Family,
    count: u64,
    progress: &ProgressBar,
) -> anyhow::Result<Connections> {
    let listener = lab
        .hosts
        .server()
        .run(|| TcpListener::bind(lab.server(family)));
    let listener = listener.context("open the server's TCP socket")?;
    std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, count));
        for (number, tenant) in (0..count).zip((1..=Lab::TENANTS).cycle()) {
            let mut stream = connect(lab, family, tenant).context("connect to the server")?;
            stream
                .write_all(&tenant.to_be_bytes())
                .context("send to the server")?;
            // The server answers when it has looked at the records.
            stream
                .read_exact(&mut [0])
                .context("read the server's answer")?;
            progress.set_position(number + 1);
        }
        progress.finish_and_clear();
        server
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Opens a connection as `tenant`, from the client.
pub(super) fn connect(lab: &Lab, family: Family, tenant: u32) -> std::io::Result<TcpStream> {
    lab.hosts.client().run(|| {
        let server = lab.server(family);
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        socket.bind(&lab.client(family, tenant).into())?;
        socket.connect_timeout(&server.into(), LIMIT)?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(socket.into())
    })
}

const LIMIT: Duration = Duration::from_secs(5);

fn serve(listener: &TcpListener, count: u64) -> anyhow::Result<Connections> {
    let mut connections = Connections::default();
    for _ in 0..count {
        let (mut stream, _) = listener.accept().context("accept a connection")?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut tenant = [0; 4];
        stream
            .read_exact(&mut tenant)
            .context("read from the client")?;
        check(&stream, u32::from_be_bytes(tenant), &mut connections)?;
        stream.write_all(&[0]).context("answer the client")?;
    }
    Ok(connections)
}

fn check(stream: &TcpStream, tenant: u32, connections: &mut Connections) -> anyhow::Result<()> {
    let syn = stream.opening_meta().context("read the SYN's record")?;
    let latest = stream.packet_meta().context("read the latest record")?;
    connections.opened += 1;
    if syn.is_absent() || latest.is_absent() {
        connections.unlabelled += 1;
        return Ok(());
    }
    connections.labelled += 1;
    let tenants = [syn.get(TENANT), latest.get(TENANT)];
    // The segment with the payload came after the SYN.
    let in_order = syn.get(builtin::PACKET_NUMBER) < latest.get(builtin::PACKET_NUMBER);
    let one_flow = syn.get(builtin::FLOW_HASH) == latest.get(builtin::FLOW_HASH);
    if tenants != [Some(tenant); 2] || !in_order || !one_flow {
        connections.mismatched += 1;
    }
    Ok(())
}
