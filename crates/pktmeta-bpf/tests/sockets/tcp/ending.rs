//! How connections end.

use super::*;
use std::net::Shutdown;

#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    ClientResets,
    ServerResets,
    /// Which leaves the client in TIME-WAIT.
    ClientFirst,
    /// Which leaves the server in it.
    ServerFirst,
}

impl Ending {
    pub(super) const ALL: [Self; 4] = [
        Self::ClientResets,
        Self::ServerResets,
        Self::ClientFirst,
        Self::ServerFirst,
    ];

    /// Ends a connection, whose two ends these are.
    pub(super) fn of(self, client: TcpStream, socket: TcpStream) {
        let (first, second) = match self {
            Self::ClientResets => return reset(client),
            Self::ServerResets => return reset(socket),
            Self::ClientFirst => (client, socket),
            Self::ServerFirst => (socket, client),
        };
        for (one, mut other) in [(&first, &second), (&second, &first)] {
            one.shutdown(Shutdown::Write).unwrap();
            assert_eq!(other.read(&mut [0]).unwrap(), 0);
        }
    }
}

/// Ends a connection at once.
pub(super) fn reset(end: TcpStream) {
    let end: Socket = end.into();
    end.set_linger(Some(Duration::ZERO)).unwrap();
}
