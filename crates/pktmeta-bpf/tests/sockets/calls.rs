//! Socket calls with arguments of chance, by a user without privileges: those of others are as if
//! there were no datapath, and ours answer with what was said.
//!
//! `PKTMETA_SOCKET_CALLS` says how many, `PKTMETA_SOCKET_SEED` which.

use crate::{
    kinds::{Kind, OTHERS, OURS},
    lab::{Lab, in_child, set_option},
    options::{Host, get, get_at, set_at},
    tally::Random,
};
use libc::{
    EAGAIN, EINVAL, EMSGSIZE, ENOBUFS, ENODATA, ENOENT, ENOPROTOOPT, ENOSPC, EPERM, EPROTOTYPE,
    ESTALE, SOL_SOCKET,
};
use pktmeta::Record;
use pktmeta_bpf::Senders;
use pktmeta_core::{FieldInfo, Registry, TlvType, abi};
use pktmeta_testkit::{
    link::IpVersion,
    sandbox::{in_sandbox, in_sandbox_for},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufReader, BufWriter, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::{Duration, SystemTime},
};

#[test]
fn calls_of_others_give_what_they_give_without_a_datapath() {
    in_sandbox_for(limit(), |sandbox| {
        let [delivered, plain] = ["delivered", "plain"].map(|name| sandbox.cgroup().join(name));
        for cgroup in [&delivered, &plain] {
            fs::create_dir(cgroup).unwrap();
        }
        let _lab = Lab::up_with(sandbox, |options| options.cgroup = Some(delivered.clone()));
        let (seed, count) = (seed(), count());
        let mut sides = [&delivered, &plain].map(|cgroup| Side::start(cgroup, seed, count));
        let mut calls = Calls::new(seed);
        let mut answered = 0;
        for number in 0..count {
            let call = calls.draw();
            let [with, without] = [0, 1].map(|side| sides[side].next(&call));
            assert_eq!(with, without, "call {number} of seed {seed}: {call:?}");
            answered += u64::from(with.result == 0);
        }
        println!("{count} calls, {answered} of which succeeded: no difference");
        assert!(answered > count / 50, "{answered}");
    });
}

#[test]
fn calls_of_ours_answer_with_what_was_set_and_with_nothing_else() {
    in_sandbox_for(limit(), |sandbox| {
        let host = Host::up_for(sandbox, Senders::All);
        let (seed, count) = (seed(), count());
        in_child(|| {
            become_nobody(sandbox.cgroup());
            let mut random = Random::new(seed);
            let mut sockets = Vec::new();
            let mut answered = 0;
            for number in 0..count {
                if number % CALLS_OF_A_SOCKET == 0 {
                    let open = Sockets::open().all.into_iter();
                    sockets = open
                        .map(|(kind, socket)| Model::new(&host, kind, socket))
                        .collect();
                }
                let mut at = random.below(sockets.len() as u64) as usize;
                // Those that have more to say are asked more.
                while !sockets[at].sends() && random.below(4) > 0 {
                    at = random.below(sockets.len() as u64) as usize;
                }
                answered += u64::from(sockets[at].call(&mut random));
            }
            println!("{count} calls of seed {seed}, {answered} of which succeeded: no leak");
            assert!(answered > count / 100, "{answered}");
        });
    });
}

#[test]
fn who_asks_how_long_an_answer_is_gets_the_kernels_answer() {
    in_sandbox(|sandbox| {
        let _lab = Lab::up(sandbox);
        let netlink = OTHERS[10].open().unwrap();
        set_option(&netlink, SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, 1);
        let ask = |room: u32| {
            let mut length = room;
            let mut groups = [0u8; 64];
            // SAFETY: the kernel writes at most length bytes, which there are.
            let result = unsafe {
                libc::getsockopt(
                    netlink.as_raw_fd(),
                    SOL_NETLINK,
                    libc::NETLINK_LIST_MEMBERSHIPS,
                    groups.as_mut_ptr().cast(),
                    &raw mut length,
                )
            };
            assert_eq!(result, 0, "{room}: {}", io::Error::last_os_error());
            length
        };
        let whole = ask(64);
        assert!(whole >= 4, "a bit for each group");
        for room in [0, 1, whole - 1] {
            assert_eq!(ask(room), whole);
        }
    });
}

#[test]
fn who_asks_for_a_flow_label_is_told_which_it_is() {
    const IPV6_FLOWLABEL_MGR: i32 = 32;
    const CREATE: u8 = 1;
    const EXCLUSIVE: u8 = 1;
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let socket = lab.udp_server(IpVersion::V6);
        // A struct in6_flowlabel_req: the destination, the label, the action, share and flags.
        let mut request = [0; 32];
        request[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        request[21] = EXCLUSIVE;
        request[22] = CREATE;
        // SAFETY: the kernel reads and writes at most as many bytes as there are.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IPV6,
                IPV6_FLOWLABEL_MGR,
                request.as_mut_ptr().cast(),
                request.len() as libc::socklen_t,
            )
        };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        assert_ne!(request[16..20], [0; 4], "the kernel chose a label");
    });
}

/// How many calls.
fn count() -> u64 {
    std::env::var("PKTMETA_SOCKET_CALLS").map_or(100_000, |calls| calls.parse().unwrap())
}

/// What the calls follow from. It is printed.
fn seed() -> u64 {
    let seed = std::env::var("PKTMETA_SOCKET_SEED").map(|seed| seed.parse().unwrap());
    let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = seed.unwrap_or_else(|_| now());
    println!("PKTMETA_SOCKET_SEED={seed}");
    seed
}

fn limit() -> Duration {
    Duration::from_secs(120) + Duration::from_micros(count() * 200)
}

const SOL_NETLINK: i32 = 270;

/// After so many calls sockets are new: what they were set to makes them refuse more and more.
const CALLS_OF_A_SOCKET: u64 = 4096;

/// Bytes behind a buffer of the longest length.
const ROOM: usize = 64 * 1024;

/// A getsockopt or setsockopt.
#[derive(Clone, Copy, Debug)]
struct Call {
    socket: usize,
    sets: bool,
    level: Level,
    option: i32,
    length: usize,
    fill: Fill,
}

/// The level of a call.
#[derive(Clone, Copy, Debug)]
enum Level {
    Number(i32),
    /// One of those that the socket's kind has options at.
    Own(usize),
}

impl Level {
    fn of(self, socket: &OwnedFd) -> i32 {
        let number = |option| {
            let bytes = get_at(socket, SOL_SOCKET, option, 4).unwrap();
            i32::from_ne_bytes(bytes.try_into().unwrap())
        };
        let own = match self {
            Self::Number(level) => return level,
            Self::Own(own) => own,
        };
        let protocol = number(libc::SO_PROTOCOL);
        let levels = match number(libc::SO_DOMAIN) {
            libc::AF_INET => [SOL_SOCKET, libc::IPPROTO_IP, protocol],
            libc::AF_INET6 => [SOL_SOCKET, libc::IPPROTO_IPV6, protocol],
            libc::AF_NETLINK => [SOL_SOCKET, SOL_NETLINK, SOL_NETLINK],
            libc::AF_PACKET => [SOL_SOCKET, libc::SOL_PACKET, libc::SOL_PACKET],
            libc::AF_VSOCK => [SOL_SOCKET, libc::AF_VSOCK, libc::AF_VSOCK],
            _ => [SOL_SOCKET; 3],
        };
        levels[own % levels.len()]
    }
}

/// What stands in the buffer.
#[derive(Clone, Copy, Debug)]
enum Fill {
    Byte(u8),
    /// This number, over and over.
    Number(u32),
    Random(u64),
}

/// The calls that follow from a seed.
struct Calls {
    random: Random,
}

impl Calls {
    /// Levels that the kernel knows, ours' neighbours, and one that nobody has.
    const LEVELS: [i32; 24] = [
        SOL_SOCKET, SOL_SOCKET, SOL_SOCKET, 0, 0, 6, 6, 6, 17, 17, 40, 41, 41, 58, 132, 136, 255,
        263, 270, 282, 284, 0x504c, 0x5053, 12345,
    ];
    const LENGTHS: [usize; 22] = [
        0, 4, 4, 4, 8, 12, 16, 20, 24, 28, 32, 40, 64, 104, 128, 256, 1024, 4095, 4096, 4097, 8192,
        ROOM,
    ];

    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
        }
    }

    fn draw(&mut self) -> Call {
        let random = &mut self.random;
        let level = match random.below(32) {
            0 => Level::Number(random.below(1 << 32) as i32),
            1..8 => Level::Number(*random.choose(&Self::LEVELS)),
            _ => Level::Own(random.below(12) as usize),
        };
        let option = match random.below(16) {
            0 => random.below(1 << 32) as i32,
            1 => random.below(1 << 12) as i32 - 8,
            2..6 => random.below(140) as i32,
            _ => random.below(80) as i32,
        };
        let length = match random.below(4) {
            0 => random.below(300) as usize,
            _ => *random.choose(&Self::LENGTHS),
        };
        let fill = match random.below(5) {
            0 => Fill::Byte(0),
            1 => Fill::Byte(0xff),
            2 => Fill::Random(random.below(u64::MAX)),
            3 => Fill::Number(1),
            _ => Fill::Number(random.below(300) as u32),
        };
        Call {
            socket: random.below(64) as usize,
            sets: random.below(2) == 0,
            level,
            option,
            length,
            fill,
        }
    }
}

impl Call {
    /// Ours, which differ, and what would make new descriptors, buffers as large as the machine, or
    /// sockets that take long to close.
    fn is_left_out(&self, level: i32) -> bool {
        const SO_PEERPIDFD: i32 = 77;
        const PACKET_RX_RING: i32 = 5;
        const PACKET_TX_RING: i32 = 13;
        let ours = abi::SOL_PKTMETA..=abi::SOL_PKTMETA_DGRAM_DISPLACED;
        ours.contains(&level)
            || matches!(
                (level, self.option),
                (SOL_SOCKET, libc::SO_LINGER | SO_PEERPIDFD)
                    | (libc::SOL_PACKET, PACKET_RX_RING | PACKET_TX_RING)
            )
    }

    /// Whether the answer has times, ports, numbers of processes or of sockets, or other numbers of
    /// chance in it.
    fn is_of_chance(&self, level: i32) -> bool {
        match level {
            0 => self.option == 52, // which of raw sockets is the protocol, and of others the port
            SOL_SOCKET => matches!(
                self.option,
                // Errors that came meanwhile, peer's credentials, name, incoming CPU and queue,
                // memory, cookies.
                4 | 17 | 28 | 49 | 55 | 56 | 57 | 71
            ),
            // Info, queues and windows, key, congestion, time stamps, saved SYN.
            libc::IPPROTO_TCP => matches!(self.option, 11 | 21 | 24 | 26 | 28 | 29 | 33 | 35),
            // IPV6_2292PKTOPTIONS, which may tell the flow label of what came in, and flow labels.
            libc::IPPROTO_IPV6 => matches!(self.option, 6 | 32),
            libc::SOL_PACKET => matches!(self.option, 6 | 21), // how many packets were seen
            284 => true,                                       // of MPTCP
            _ => false,
        }
    }

    /// Makes the call.
    fn run(&self, sockets: &Sockets, buffer: &mut [u8; ROOM]) -> Outcome {
        let socket = &sockets.all[self.socket % sockets.all.len()].1;
        let (level, option) = (self.level.of(socket), self.option);
        if self.is_left_out(level) {
            return Outcome::default();
        }
        let bytes = &mut buffer[..self.length];
        match self.fill {
            Fill::Byte(byte) => bytes.fill(byte),
            Fill::Number(number) => {
                for part in bytes.chunks_mut(4) {
                    part.copy_from_slice(&number.to_ne_bytes()[..part.len()]);
                }
            }
            Fill::Random(seed) => {
                bytes.fill(0);
                let mut random = Random::new(seed);
                let some = bytes.iter_mut().take(256);
                some.for_each(|byte| *byte = random.below(256) as u8);
            }
        }
        let mut length = self.length as libc::socklen_t;
        // SAFETY: the buffer has as many bytes as the kernel is told.
        let result = unsafe {
            let value = bytes.as_mut_ptr().cast();
            match self.sets {
                true => libc::setsockopt(socket.as_raw_fd(), level, option, value, length),
                false => {
                    libc::getsockopt(socket.as_raw_fd(), level, option, value, &raw mut length)
                }
            }
        };
        let error = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        Outcome {
            result,
            error: if result < 0 { error } else { 0 },
            length,
            bytes: if self.is_of_chance(level) {
                0
            } else {
                hash(&bytes[..self.length.min(8192)])
            },
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_ne_bytes(word)
    });
    words.fold(0, |hash, word| {
        (hash ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}

/// What became of a call.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    result: i32,
    error: i32,
    length: u32,
    /// A hash of the buffer.
    bytes: u64,
}

impl Outcome {
    const SIZE: usize = 20;

    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.result.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.error.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_ne_bytes());
        bytes[12..].copy_from_slice(&self.bytes.to_ne_bytes());
        bytes
    }

    fn parse(bytes: &[u8; Self::SIZE]) -> Self {
        let number = |at: usize| *bytes[at..].first_chunk().unwrap();
        Self {
            result: i32::from_ne_bytes(number(0)),
            error: i32::from_ne_bytes(number(4)),
            length: u32::from_ne_bytes(number(8)),
            bytes: u64::from_ne_bytes(*bytes[12..].first_chunk().unwrap()),
        }
    }
}

/// A process that makes the calls of a seed, and tells what became of them.
struct Side {
    outcomes: BufReader<UnixStream>,
}

impl Side {
    fn start(cgroup: &Path, seed: u64, count: u64) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // SAFETY: no other thread of this process holds a lock.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "{}", io::Error::last_os_error());
        if child == 0 {
            become_nobody(cgroup);
            make_calls(
                seed,
                count,
                BufWriter::with_capacity(1 << 16, alone_with(theirs)),
            );
            // SAFETY: it ends this process, and runs nothing of the parent's on the way.
            unsafe { libc::_exit(0) }
        }
        Self {
            outcomes: BufReader::with_capacity(1 << 16, ours),
        }
    }

    fn next(&mut self, call: &Call) -> Outcome {
        let mut bytes = [0; Outcome::SIZE];
        let read = self.outcomes.read_exact(&mut bytes);
        read.unwrap_or_else(|error| panic!("{error}, about {call:?}"));
        Outcome::parse(&bytes)
    }
}

/// Closes all other descriptors but the standard ones, so that both processes have the same
/// numbers: an option's value may be one.
fn alone_with(stream: UnixStream) -> UnixStream {
    const NUMBER: i32 = 3;
    // SAFETY: this process was just forked, and ends without dropping what owned the other
    // descriptors.
    unsafe {
        assert_eq!(libc::dup2(stream.into_raw_fd(), NUMBER), NUMBER);
        assert_eq!(libc::close_range(NUMBER as u32 + 1, u32::MAX, 0), 0);
        UnixStream::from_raw_fd(NUMBER)
    }
}

fn make_calls(seed: u64, count: u64, mut to: impl Write) {
    let mut buffer = Box::new([0; ROOM]);
    let mut sockets = Sockets::open();
    let mut calls = Calls::new(seed);
    for number in 1..=count {
        let outcome = calls.draw().run(&sockets, &mut buffer);
        if to.write_all(&outcome.to_bytes()).is_err() {
            return; // what was said before was different
        }
        if number % CALLS_OF_A_SOCKET == 0 {
            drop(sockets);
            sockets = Sockets::open();
        }
    }
    let _ = to.flush();
}

/// Makes this process one of a user without privileges, in a cgroup, with namespaces of its own,
/// where it may open any kind of socket.
fn become_nobody(cgroup: &Path) {
    const NOBODY: u32 = 65534;
    fs::write(cgroup.join("cgroup.procs"), "0").unwrap();
    // SAFETY: they take numbers; a list of no groups is not read.
    let results = unsafe {
        [
            libc::setgroups(0, std::ptr::null()),
            libc::setresgid(NOBODY, NOBODY, NOBODY),
            libc::setresuid(NOBODY, NOBODY, NOBODY),
            // Its files in /proc are its own.
            libc::prctl(libc::PR_SET_DUMPABLE, 1),
            libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET),
        ]
    };
    assert_eq!(results, [0; 5], "{}", io::Error::last_os_error());
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", format!("0 {NOBODY} 1")).unwrap();
    fs::write("/proc/self/gid_map", format!("0 {NOBODY} 1")).unwrap();
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
    let any = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // SAFETY: an ifreq of zeros is one without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request names a device and has its flags.
    let result = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// A socket of every kind, and of TCP, UDP and Unix also such as are bound, listen or are
/// connected.
struct Sockets {
    all: Vec<(Option<Kind>, OwnedFd)>,
}

impl Sockets {
    fn open() -> Self {
        let kinds = OURS.into_iter().chain(OTHERS);
        let kinds = kinds.filter_map(|kind| Some((Some(kind), kind.open()?)));
        let mut all: Vec<_> = kinds.collect();
        let mut add = |socket: OwnedFd| all.push((None, socket));
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.connect(udp.local_addr().unwrap()).unwrap();
        for socket in [listener.into(), client.into(), server.into()] {
            add(socket);
        }
        for socket in [udp.into(), peer.into()] {
            add(socket);
        }
        let netlink = OTHERS[10].open().unwrap();
        set_option(&netlink, SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, 1);
        add(netlink);
        let (one, other) = UnixStream::pair().unwrap();
        add(one.into());
        add(other.into());
        Self { all }
    }
}

/// A socket, and what our options said and were told of it.
struct Model<'h> {
    host: &'h Host,
    socket: OwnedFd,
    is_tcp: bool,
    is_udp: bool,
    info: Vec<u8>,
    tickets: i32,
    history: i32,
    selection: Vec<u8>,
    /// Fields of what is sent.
    sent: BTreeMap<u8, Vec<u8>>,
}

impl<'h> Model<'h> {
    fn new(host: &'h Host, kind: Option<Kind>, socket: OwnedFd) -> Self {
        let of = |option| get(&socket, option);
        Self {
            host,
            is_tcp: of(abi::PKTMETA_RX_HISTORY).is_ok(),
            is_udp: of(abi::PKTMETA_TICKETS).is_ok(),
            info: of(abi::PKTMETA_INFO).unwrap_or_else(|error| panic!("{kind:?}: {error}")),
            socket,
            tickets: 0,
            history: 0,
            selection: vec![],
            sent: BTreeMap::new(),
        }
    }

    fn sends(&self) -> bool {
        self.is_tcp || self.is_udp
    }

    /// Makes a call. True if it was answered.
    fn call(&mut self, random: &mut Random) -> bool {
        let level = abi::SOL_PKTMETA
            + match random.below(3) {
                0 => random.below(6) as i32,
                _ => 0,
            };
        let option = match random.below(8) {
            0 => random.below(1 << 32) as i32,
            1 => (abi::TX_TICKET | random.below(40) as u32) as i32,
            2 => random.below(0x600) as i32,
            3 | 4 => 0x100 * random.below(6) as i32 + random.below(66) as i32,
            _ => random.below(12) as i32,
        };
        match random.below(3) {
            0 => self.get(level, option, random),
            _ => self.set(level, option, random),
        }
    }

    #[track_caller]
    fn get(&self, level: i32, option: i32, random: &mut Random) -> bool {
        const ERRORS: [i32; 8] = [
            ENOPROTOOPT,
            ENODATA,
            ENOENT,
            ESTALE,
            EAGAIN,
            EMSGSIZE,
            EPROTOTYPE,
            ENOBUFS,
        ];
        let room = *random.choose(&[0, 1, 3, 4, 8, 31, 32, 63, 64, 72, 256, 2304, 4096, 8192]);
        match get_at(&self.socket, level, option, room) {
            Ok(answer) => {
                let wanted = self.answer(level, option);
                assert_eq!(Some(&answer), wanted.as_ref(), "{level:#x} {option:#x}");
                true
            }
            Err(error) => {
                assert!(ERRORS.contains(&error), "{level:#x} {option:#x}: {error}");
                let wanted = self.answer(level, option).filter(|it| it.len() <= room);
                assert_eq!(wanted, None, "{level:#x} {option:#x}: {error}");
                false
            }
        }
    }

    /// What an option must answer; `None` if it must not.
    fn answer(&self, level: i32, option: i32) -> Option<Vec<u8>> {
        let registry = &self.host.registry;
        let sends = self.sends();
        if level == abi::SOL_PKTMETA_DGRAM_DISPLACED {
            // Nothing arrived; of what has no record, nothing was displaced.
            let is_absent = option == abi::TICKET_ABSENT as i32 && self.is_udp;
            return is_absent.then(|| vec![0; 4]);
        }
        if level != abi::SOL_PKTMETA {
            return None;
        }
        let field = |first: i32| u8::try_from(option - first).ok();
        match option {
            abi::PKTMETA_INFO => Some(self.info.clone()),
            abi::PKTMETA_TICKETS if self.is_udp => Some(self.tickets.to_ne_bytes().into()),
            abi::PKTMETA_RX_HISTORY if self.is_tcp => Some(self.history.to_ne_bytes().into()),
            abi::PKTMETA_FIELDS if sends => {
                Some(self.selection.clone()).filter(|it| !it.is_empty())
            }
            abi::PKTMETA_TX if sends && !self.sent.is_empty() => {
                // The order is the kernel's.
                let answer = get(&self.socket, option).ok()?;
                assert_eq!(fields(&answer), self.sent);
                Some(answer)
            }
            0x100..=0x140 => {
                let from = field(abi::PKTMETA_FIELD_INFO)?;
                let found = (from..64).find_map(|it| registry.by_type(TlvType::new(it)?));
                found.map(|found: &FieldInfo| found.to_bytes().into())
            }
            0x401..=0x43f if sends => {
                let value = self.sent.get(&field(abi::PKTMETA_TX_FIELD)?)?;
                Some(if value.is_empty() {
                    vec![1]
                } else {
                    value.clone()
                })
            }
            _ => None,
        }
    }

    #[track_caller]
    fn set(&mut self, level: i32, option: i32, random: &mut Random) -> bool {
        const ERRORS: [i32; 7] = [
            ENOPROTOOPT,
            EINVAL,
            EPERM,
            EPROTOTYPE,
            ENOENT,
            ENOSPC,
            ENOBUFS,
        ];
        let mut value = value(&self.host.registry, random);
        let tlv = TlvType::new((option % 0x100) as u8);
        let field = tlv.and_then(|tlv| self.host.registry.by_type(tlv));
        if let Some(field) =
            field.filter(|_| option >= abi::PKTMETA_TX_FIELD && random.below(4) > 0)
        {
            value = vec![random.below(2) as u8; field.kind.size().into()];
        }
        if let Err(error) = set_at(&self.socket, level, option, &value) {
            assert!(ERRORS.contains(&error), "{level:#x} {option:#x}: {error}");
            return false;
        }
        let number = || i32::from_ne_bytes(*value.first_chunk().unwrap());
        match (level, option) {
            (abi::SOL_PKTMETA, abi::PKTMETA_TICKETS) if self.is_udp => self.tickets = number(),
            (abi::SOL_PKTMETA, abi::PKTMETA_RX_HISTORY) if self.is_tcp => self.history = number(),
            (abi::SOL_PKTMETA, abi::PKTMETA_FIELDS) => self.selection = value,
            (abi::SOL_PKTMETA, abi::PKTMETA_TX) => self.sent = fields(&value),
            (abi::SOL_PKTMETA, 0x401..=0x43f) => {
                let tlv = (option - abi::PKTMETA_TX_FIELD) as u8;
                let field = TlvType::new(tlv).and_then(|tlv| self.host.registry.by_type(tlv));
                let is_flag = field.unwrap().kind.size() == 0;
                self.sent.insert(tlv, if is_flag { vec![] } else { value });
            }
            (abi::SOL_PKTMETA, 0x501..=0x53f) => {
                let tlv = (option - abi::PKTMETA_TX_DELETE) as u8;
                assert!(self.sent.remove(&tlv).is_some(), "{option:#x}");
            }
            (abi::SOL_PKTMETA_DGRAM, ticket) => {
                assert_eq!(ticket as u32 & abi::TX_TICKET_MASK, abi::TX_TICKET);
            }
            _ => panic!("{level:#x} {option:#x} was taken"),
        }
        assert!(self.sends(), "{level:#x} {option:#x} was taken");
        true
    }
}

/// The fields of a record, by number.
fn fields(record: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    if record.is_empty() {
        return BTreeMap::new();
    }
    let record = Record::parse(record).unwrap();
    let fields = record.iter();
    fields
        .map(|(tag, value)| (tag.tlv().unwrap().get(), value.to_vec()))
        .collect()
}

/// Something to set: a record, a number, or any bytes.
fn value(registry: &Registry, random: &mut Random) -> Vec<u8> {
    let mut bytes = match random.below(4) {
        0 => (random.below(5) as u32).to_ne_bytes().to_vec(),
        1 => (0..random.below(70))
            .map(|_| random.below(256) as u8)
            .collect(),
        2 => vec![1; random.below(9) as usize],
        _ => {
            let mut record = Record::new();
            for _ in 0..random.below(4) {
                let info = random.choose(registry.fields());
                let _ = record.set(info.tag(), &vec![1; info.kind.size().into()]);
            }
            record.as_bytes().to_vec()
        }
    };
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len() as u64 + 1) as usize),
        1 => bytes.extend(vec![0; random.below(300) as usize]),
        _ => {}
    }
    bytes
}
