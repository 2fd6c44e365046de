//! The sockets that the traits of this crate are for. The traits are sealed, so that a `File` has
//! none of them.

use std::{
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    sync::Arc,
};

/// A socket of a TCP connection, or of a listener.
pub trait TcpSocket: AsFd {}

/// A UDP socket that waits by blocking.
pub trait BlockingUdp: AsFd {}

/// A socket of either kind, or one of tokio.
pub trait AnySocket: AsFd {}

macro_rules! sockets {
    ($sealed:ident: $($socket:ty),*) => {
        $(impl $sealed for $socket {})*
        impl<S: $sealed + ?Sized> $sealed for &S {}
        impl<S: $sealed + ?Sized> $sealed for &mut S {}
        impl<S: $sealed + ?Sized> $sealed for Box<S> {}
        impl<S: $sealed + ?Sized> $sealed for Rc<S> {}
        impl<S: $sealed + ?Sized> $sealed for Arc<S> {}
    };
}

sockets!(TcpSocket: TcpStream, TcpListener, BorrowedFd<'_>, OwnedFd);
sockets!(BlockingUdp: UdpSocket, BorrowedFd<'_>, OwnedFd);
sockets!(AnySocket: TcpStream, TcpListener, UdpSocket, BorrowedFd<'_>, OwnedFd);

impl<S: AsFd> AnySocket for crate::MetaSender<S> {}

#[cfg(feature = "tokio")]
mod tokio {
    use super::{AnySocket, AsFd, TcpSocket};
    use ::tokio::net;

    impl TcpSocket for net::TcpStream {}
    impl TcpSocket for net::TcpListener {}
    impl TcpSocket for net::TcpSocket {}
    impl AnySocket for net::TcpStream {}
    impl AnySocket for net::TcpListener {}
    impl AnySocket for net::TcpSocket {}
    impl AnySocket for net::UdpSocket {}
    impl<S: AsFd> AnySocket for crate::tokio::MetaSender<S> {}
}
