//! A client made by hand: it sends the segments that it is told to, and no others.

use super::*;
use pktmeta_testkit::packet::{Frame, TcpFlags};
use socket2::{Domain, Protocol, Type};

pub(super) struct Peer<'l> {
    lab: &'l Lab,
    from: SocketAddr,
    to: SocketAddr,
    /// Sequence number of the stream's first byte.
    first: u32,
    /// Sequence number of the server's first byte.
    acknowledged: u32,
    socket: TcpStream,
}

impl<'l> Peer<'l> {
    /// A connection whose stream starts at a sequence number.
    pub(super) fn connect(lab: &'l Lab, listener: &TcpListener, tenant: u32, first: u32) -> Self {
        Self::connect_after(lab, listener, tenant, first, || ())
    }

    /// The same with a handshake that nobody labels.
    pub(super) fn connect_unlabelled(lab: &'l Lab, listener: &TcpListener, tenant: u32) -> Self {
        let inject = Lab::inject_on_loopback;
        Self::shake_hands(lab, listener, tenant, 1, inject, || ())
    }

    /// The same with something that happens between the SYN and the end of the handshake.
    pub(super) fn connect_after(
        lab: &'l Lab,
        listener: &TcpListener,
        tenant: u32,
        first: u32,
        meanwhile: impl FnOnce(),
    ) -> Self {
        Self::shake_hands(lab, listener, tenant, first, Lab::inject, meanwhile)
    }

    fn shake_hands(
        lab: &'l Lab,
        listener: &TcpListener,
        tenant: u32,
        first: u32,
        inject: impl Fn(&Lab, &Frame, TcpFlags, &[u8]),
        meanwhile: impl FnOnce(),
    ) -> Self {
        let to = listener.local_addr().unwrap();
        let from = client_address(version_of(to), tenant, 4000);
        // The client's kernel does not know of the connection, and would reset it.
        lab.lose_what_is_sent_to(from.ip());
        let wire = listen_on_the_wire(lab.hosts.client());
        let syn = Frame::new(from, to).tcp_numbers(first.wrapping_sub(1), 0);
        inject(lab, &syn, TcpFlags::SYN, &[]);
        let acknowledged = syn_ack(wire, from, to).wrapping_add(1);
        meanwhile();
        let ack = Frame::new(from, to).tcp_numbers(first, acknowledged);
        inject(lab, &ack, TcpFlags::ACK, &[]);
        Self {
            lab,
            from,
            to,
            first,
            acknowledged,
            socket: accept(listener),
        }
    }

    /// The server's end.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends what the stream has from a position on, and waits until it arrives: its number.
    #[track_caller]
    pub(super) fn send(&self, position: usize, length: usize) -> u64 {
        let latest = || number(&self.socket.packet_meta().unwrap());
        let before = latest();
        self.inject(position, length);
        wait_until(|| latest() != before);
        latest()
    }

    /// Sends the stream's first bytes, of a connection that has no record yet.
    #[track_caller]
    pub(super) fn send_first(&self, length: usize) {
        self.inject(0, length);
        wait_until(|| !self.socket.packet_meta().unwrap().is_absent());
    }

    /// Sends what the server has already.
    #[track_caller]
    pub(super) fn send_again(&self, position: usize, length: usize) {
        self.send_in_vain(position, length, "DelayedACKLost");
    }

    /// The same with what is outside the window, which the server answers and drops.
    #[track_caller]
    pub(super) fn send_outside(&self, position: usize, length: usize) {
        self.send_in_vain(position, length, "OutSegs");
    }

    /// The same with a segment that nobody labels.
    #[track_caller]
    pub(super) fn send_unlabelled(&self, position: usize, length: usize) {
        let payload = Self::stream(position, length);
        let segment = self.segment(position);
        self.lab
            .inject_on_loopback(&segment, TcpFlags::ACK, &payload);
        wait_until(|| !matches!(self.socket.meta_at(position as u64), Err(Error::NotArrived)));
    }

    /// Ends the stream at a position.
    pub(super) fn finish(&self, position: usize) {
        let flags = TcpFlags {
            fin: true,
            ..TcpFlags::ACK
        };
        self.lab.inject(&self.segment(position), flags, &[]);
    }

    #[track_caller]
    fn send_in_vain(&self, position: usize, length: usize, counter: &str) {
        let count = || tcp_counter(self.lab.hosts.server(), counter);
        let before = count();
        self.inject(position, length);
        wait_until(|| count() != before);
    }

    fn inject(&self, position: usize, length: usize) {
        let payload = Self::stream(position, length);
        self.lab
            .inject(&self.segment(position), TcpFlags::ACK, &payload);
    }

    /// What the stream has from a position on.
    pub(super) fn stream(position: usize, length: usize) -> Vec<u8> {
        (position..position + length).map(|at| at as u8).collect()
    }

    fn segment(&self, position: usize) -> Frame {
        let sequence = self.first.wrapping_add(position as u32);
        Frame::new(self.from, self.to).tcp_numbers(sequence, self.acknowledged)
    }
}

/// Gets every frame that the devices of a namespace send or receive.
fn listen_on_the_wire(netns: &Netns) -> Socket {
    let everything = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
    let socket = netns.run(|| Socket::new(Domain::PACKET, Type::RAW, Some(everything)));
    let socket = socket.unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// The sequence number of the answer to a SYN.
fn syn_ack(mut wire: Socket, from: SocketAddr, to: SocketAddr) -> u32 {
    const SYN_ACK: u8 = 0x12;
    let tcp = 14 + if to.is_ipv4() { 20 } else { 40 };
    let ports = [to.port().to_be_bytes(), from.port().to_be_bytes()].concat();
    let mut frame = [0; 256];
    loop {
        let length = wire.read(&mut frame).unwrap();
        let Some(header) = frame[..length].get(tcp..tcp + 20) else {
            continue;
        };
        if header[..4] == ports && header[13] == SYN_ACK {
            return u32::from_be_bytes(header[4..8].try_into().unwrap());
        }
    }
}
