//! `recvmsg` as applications call it that do everything themselves.

use socket2::{MaybeUninitSlice, MsgHdrMut, SockRef};
use std::{io, net::UdpSocket};

/// One datagram, or what `UDP_GRO` merged.
pub(crate) struct Message {
    pub(crate) payload: Vec<u8>,
    pub(crate) control: Vec<u8>,
    /// The payload was longer than there was room for.
    pub(crate) truncated: bool,
}

impl Message {
    /// Receives with room for so many bytes.
    #[track_caller]
    pub(crate) fn receive(socket: &UdpSocket, room: usize, flags: i32) -> Self {
        Self::try_receive(socket, room, flags).unwrap()
    }

    pub(crate) fn try_receive(socket: &UdpSocket, room: usize, flags: i32) -> io::Result<Self> {
        const CONTROL: usize = 256;
        let (mut payload, mut control) = (Vec::with_capacity(room), Vec::with_capacity(CONTROL));
        let mut buffers = [MaybeUninitSlice::new(
            &mut payload.spare_capacity_mut()[..room],
        )];
        let mut header = MsgHdrMut::new()
            .with_buffers(&mut buffers)
            .with_control(&mut control.spare_capacity_mut()[..CONTROL]);
        let length = SockRef::from(socket).recvmsg(&mut header, flags)?;
        let (control_length, flags) = (header.control_len(), header.flags());
        // SAFETY: the kernel wrote so many bytes to each; with MSG_TRUNC it returns how many there
        // were to write, and `payload` has `room`.
        unsafe {
            payload.set_len(length.min(room));
            control.set_len(control_length);
        }
        Ok(Self {
            payload,
            control,
            truncated: flags.is_truncated(),
        })
    }

    /// The data of a control message.
    pub(crate) fn find(&self, level: i32, kind: i32) -> Option<&[u8]> {
        // A `cmsghdr`: its own length and that of its data, level, type.
        const HEADER: usize = size_of::<usize>() + 8;
        let mut rest = self.control.as_slice();
        while rest.len() >= HEADER {
            let length = usize::from_ne_bytes(*rest.first_chunk().unwrap());
            let number = |at: usize| i32::from_ne_bytes(*rest[at..].first_chunk().unwrap());
            if (number(HEADER - 8), number(HEADER - 4)) == (level, kind) {
                return Some(&rest[HEADER..length]);
            }
            rest = rest
                .get(length.next_multiple_of(size_of::<usize>())..)
                .unwrap_or_default();
        }
        None
    }

    /// A control message that is a number.
    pub(crate) fn number(&self, level: i32, kind: i32) -> Option<u32> {
        Some(u32::from_ne_bytes(
            *self.find(level, kind)?.first_chunk().unwrap(),
        ))
    }
}
