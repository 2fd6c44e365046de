//! The ring: where the records of datagrams wait, mapped from the kernel. `docs/abi.md` draws it.

use crate::net::map::{self, Mapping};
use pktmeta_core::{
    Record,
    abi::{Info, RING_CLOSED, SLOT_DISPLACED, SLOT_RECORD, SLOT_SIZE},
    pins,
    record::ParseError,
};
use std::{
    env,
    ffi::{CString, OsStr},
    io,
    os::{fd::AsFd, unix::ffi::OsStringExt},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, fence},
};

/// `off` and `on` say whether to map the ring; without it, the ring is mapped where that is
/// [safe](may_call_bpf).
const RING_VARIABLE: &str = "PKTMETA_RING";

const WORDS: usize = SLOT_SIZE / 4;
type Slot = [AtomicU32; WORDS];

// Words of a slot.
const TICKET: usize = 0;
const DISPLACED: usize = SLOT_DISPLACED / 4;
const COOKIE: usize = 2;
const RECORD: usize = SLOT_RECORD / 4;

/// What stands in place of a record's header if the datagram had none.
const NO_RECORD: [u8; Record::HEADER] = [0; Record::HEADER];

// Words of the header, which is the entry after the last slot.
const INFO: usize = 0;
const CLOSED: usize = RING_CLOSED / 4;

/// A datapath's ring. The kernel writes to it all the time.
pub(crate) struct Ring {
    memory: Mapping<WORDS>,
}

/// Why a slot does not hold the wanted record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Another datagram's record is there, or comes there just now.
    Overrun,
    /// The ticket is another socket's.
    Foreign,
    /// The slot holds no record.
    Malformed(ParseError),
}

impl Ring {
    /// Maps the pinned ring of the datapath that described itself by `info`.
    pub(crate) fn open(info: &Info) -> io::Result<Self> {
        if !may_call_bpf(
            env::var_os(RING_VARIABLE).as_deref(),
            map::has_seccomp_filter,
        ) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let bpffs = env::var_os(pins::BPFFS_VARIABLE).unwrap_or_else(|| pins::BPFFS.into());
        Self::open_pin(PathBuf::from(bpffs).join(pins::ring(info.cgroup)), info)
    }

    fn open_pin(path: PathBuf, info: &Info) -> io::Result<Self> {
        const BPF_MAP_TYPE_ARRAY: u32 = 2;
        map::probe_pin(&path)?;
        let map = map::open(&CString::new(path.into_os_string().into_vec())?)?;
        let found = map::info(map.as_fd())?;
        if found.map_type != BPF_MAP_TYPE_ARRAY || found.value_size as usize != SLOT_SIZE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let memory = Mapping::of_map(map.as_fd(), found.max_entries as usize)?;
        Self::new(memory, info).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The ring in `memory`; `None` if it is not that of the datapath with this `info`.
    fn new(memory: Mapping<WORDS>, info: &Info) -> Option<Self> {
        let (header, slots) = memory.split_last()?;
        let mut bytes = [0; Info::SIZE];
        load(&header[INFO..], &mut bytes);
        let found = Info::from_bytes(&bytes)?;
        // The header lacks what differs between users or changes with the fields.
        let lasting = |info: &Info| (info.version, info.instance, info.slots, info.cgroup);
        let same = lasting(&found) == lasting(info)
            && slots.len().is_power_of_two()
            && slots.len() == info.slots as usize;
        same.then_some(Self { memory })
    }

    /// True once the datapath is down.
    pub(crate) fn is_closed(&self) -> bool {
        self.memory
            .last()
            .is_none_or(|header| header[CLOSED].load(Acquire) != 0)
    }

    /// Copies the slot of `ticket` into `record`, if it is of the socket with this cookie. Returns
    /// the mark or priority that the ticket took the place of.
    pub(crate) fn read(
        &self,
        ticket: u32,
        cookie: u64,
        record: &mut Option<Record>,
    ) -> Result<u32, Missed> {
        let slot = self.slot(ticket).ok_or(Missed::Overrun)?;
        // The writer clears the ticket, writes the rest, and sets the ticket, with full barriers
        // between. Bytes that are read between two loads of the same ticket are whole.
        if slot[TICKET].load(Acquire) != ticket {
            return Err(Missed::Overrun);
        }
        let displaced = slot[DISPLACED].load(Relaxed);
        let mut found_cookie = [0; 8];
        load(&slot[COOKIE..], &mut found_cookie);
        let header = slot[RECORD].load(Relaxed).to_ne_bytes();
        let length = usize::from(header[3]).clamp(Record::HEADER, Record::CAPACITY);
        let parsed = record.get_or_insert_default().parse_in_place(|bytes| {
            load(&slot[RECORD..], &mut bytes[..length.next_multiple_of(4)]);
        });
        fence(Acquire);
        if slot[TICKET].load(Relaxed) != ticket {
            return Err(Missed::Overrun);
        }
        if u64::from_ne_bytes(found_cookie) != cookie {
            return Err(Missed::Foreign);
        }
        match header {
            NO_RECORD => *record = None,
            _ => parsed.map_err(Missed::Malformed)?,
        }
        Ok(displaced)
    }

    fn slot(&self, ticket: u32) -> Option<&Slot> {
        let (_, slots) = self.memory.split_last()?;
        slots.get(ticket as usize & (slots.len().checked_sub(1)?))
    }
}

/// True unless the user forbids bpf(2), or the call may be fatal: the filters of service managers
/// kill a process that makes a call which they do not know (systemd's
/// `SystemCallFilter=@system-service` has no bpf). A process cannot ask what a filter does.
fn may_call_bpf(wish: Option<&OsStr>, has_seccomp_filter: impl FnOnce() -> bool) -> bool {
    match wish.and_then(OsStr::to_str) {
        Some("off") => false,
        Some("on") => true,
        _ => !has_seccomp_filter(),
    }
}

/// Fills `bytes`, a whole number of words, from words that may change meanwhile.
fn load(words: &[AtomicU32], bytes: &mut [u8]) {
    for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use pktmeta_core::{Tag, TlvType};
    use std::{
        ops::RangeInclusive,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::SeqCst},
        },
        thread,
    };

    /// Writes to a ring as `cgroup_skb_ingress.bpf.c` does.
    pub(crate) struct Kernel {
        memory: Mapping<WORDS>,
        pub(crate) info: Info,
    }

    impl Kernel {
        /// A ring with so many slots and the kernel's view of it.
        pub(crate) fn new(slots: u32) -> (Ring, Self) {
            let mut info = Info::NONE;
            (info.version, info.instance, info.slots) = (1, 42, slots);
            let [memory, view] = Mapping::anonymous_twice(slots as usize + 1).unwrap();
            let kernel = Self { memory: view, info };
            let header = kernel.memory.last().unwrap();
            for (at, word) in [info.version, info.instance, info.slots]
                .into_iter()
                .enumerate()
            {
                header[INFO + at].store(word, SeqCst);
            }
            (Ring::new(memory, &info).unwrap(), kernel)
        }

        /// The mark that a ticket took the place of.
        pub(crate) fn displaced(ticket: u32) -> u32 {
            !ticket
        }

        pub(crate) fn write(&self, ticket: u32, cookie: u64, record: &[u8]) {
            let slot = &self.memory[ticket as usize % (self.memory.len() - 1)];
            slot[TICKET].swap(0, SeqCst);
            fence(SeqCst);
            slot[DISPLACED].store(Self::displaced(ticket), Relaxed);
            store(&slot[COOKIE..], &cookie.to_ne_bytes());
            store(&slot[RECORD..], record);
            fence(SeqCst);
            slot[TICKET].swap(ticket, SeqCst);
        }

        pub(crate) fn close(&self) {
            self.memory.last().unwrap()[CLOSED].store(1, SeqCst);
        }
    }

    fn store(words: &[AtomicU32], bytes: &[u8]) {
        for (word, bytes) in words.iter().zip(bytes.chunks(4)) {
            let mut whole = [0; 4];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u32::from_ne_bytes(whole), Relaxed);
        }
    }

    /// A slot: the mark or priority that the ticket took the place of, and the record.
    fn read(ring: &Ring, ticket: u32, cookie: u64) -> Result<(u32, Option<Record>), Missed> {
        let mut record = None;
        let displaced = ring.read(ticket, cookie, &mut record)?;
        Ok((displaced, record))
    }

    /// Lengths of records with one field of any size.
    const LENGTHS: RangeInclusive<usize> = Record::HEADER + 2..=Record::CAPACITY;

    /// A record of `length` bytes, with one field whose bytes are all `fill`.
    fn record(length: usize, fill: u8) -> Record {
        let mut record = Record::new();
        let field = Tag::sized(TlvType::new(9).unwrap());
        let value = vec![fill; length - LENGTHS.start()];
        record.set(field, &value).unwrap();
        record
    }

    #[test]
    fn a_slot_is_read_up_to_the_records_length() {
        let (ring, kernel) = Kernel::new(4);
        let mut read = None;
        // Each overwrites a longer one, in the slot and in the reader's buffer.
        for record in LENGTHS.rev().map(|length| record(length, 9)) {
            kernel.write(4 + 2, 7, record.as_bytes());
            ring.read(4 + 2, 7, &mut read).unwrap();
            assert_eq!(read, Some(record));
        }
        kernel.write(4 + 2, 7, &NO_RECORD);
        ring.read(4 + 2, 7, &mut read).unwrap();
        assert_eq!(read, None);
        // An impossible length makes the reader look nowhere else.
        for length in [0, 3, 217, 255] {
            let mut bytes = record(Record::CAPACITY, 9).as_bytes().to_vec();
            bytes[3] = length;
            kernel.write(4 + 2, 7, &bytes);
            let malformed = ring.read(4 + 2, 7, &mut read);
            assert_eq!(malformed, Err(Missed::Malformed(ParseError::Length)));
        }
    }

    #[test]
    fn only_the_ticket_that_stands_there_reads_a_slot() {
        let (ring, kernel) = Kernel::new(4);
        assert_eq!(read(&ring, 4 + 1, 7), Err(Missed::Overrun), "never written");
        kernel.write(4 + 1, 7, record(8, 1).as_bytes());
        assert!(read(&ring, 4 + 1, 7).is_ok());
        assert_eq!(read(&ring, 4 + 1, 8), Err(Missed::Foreign));
        assert_eq!(read(&ring, 8 + 1, 7), Err(Missed::Overrun));
        kernel.write(8 + 1, 7, record(8, 2).as_bytes());
        assert_eq!(read(&ring, 4 + 1, 7), Err(Missed::Overrun));
        assert!(read(&ring, u32::MAX, 7).is_err());
    }

    #[test]
    fn a_racing_writer_never_mixes_records() {
        const COOKIE_OF: fn(u32) -> u64 = |ticket| u64::from(ticket) << 32 | u64::from(!ticket);
        const RECORD_OF: fn(u32) -> Record = |ticket| {
            let lengths = LENGTHS.count();
            record(
                LENGTHS.start() + ticket as usize * 7 % lengths,
                ticket as u8,
            )
        };
        let (ring, kernel) = Kernel::new(2);
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU32::new(0));
        let writer = thread::spawn({
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            move || {
                let mut ticket = 2;
                while !stop.load(Relaxed) {
                    let record = RECORD_OF(ticket);
                    kernel.write(ticket, COOKIE_OF(ticket), record.as_bytes());
                    written.store(ticket, SeqCst);
                    ticket += 1;
                }
            }
        });
        let (mut whole, mut overrun) = (0, 0);
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 500 || whole == 0 {
            let ticket = written.load(SeqCst);
            match read(&ring, ticket, COOKIE_OF(ticket)) {
                Ok((displaced, record)) => {
                    assert_eq!(displaced, Kernel::displaced(ticket));
                    assert_eq!(record, Some(RECORD_OF(ticket)));
                    whole += 1;
                }
                Err(Missed::Overrun) => overrun += 1,
                Err(other) => assert_eq!(ticket, 0, "{other:?}: of another ticket"),
            }
        }
        stop.store(true, Relaxed);
        writer.join().unwrap();
        println!("{whole} whole, {overrun} overrun");
    }

    #[test]
    fn a_closed_ring_says_so() {
        let (ring, kernel) = Kernel::new(4);
        assert!(!ring.is_closed());
        kernel.close();
        assert!(ring.is_closed());
    }

    #[test]
    fn only_the_ring_of_this_datapath_is_taken() {
        let is_taken = |change: fn(&mut Info)| {
            let (_, mut kernel) = Kernel::new(4);
            change(&mut kernel.info);
            Ring::new(kernel.memory, &kernel.info).is_some()
        };
        assert!(is_taken(|_| {}));
        assert!(is_taken(|info| (info.features, info.schema) = (1, 1)));
        assert!(!is_taken(|info| info.version = 2));
        assert!(!is_taken(|info| info.instance = 43));
        assert!(!is_taken(|info| info.slots = 8));
        assert!(!is_taken(|info| info.cgroup = 1));
        let [five, kernel] = Mapping::anonymous_twice(6).unwrap();
        for (word, value) in [(0, 1), (1, 42), (2, 5)] {
            kernel[5][word].store(value, SeqCst);
        }
        let mut info = Kernel::new(4).1.info;
        info.slots = 5;
        assert!(Ring::new(five, &info).is_none());
    }

    #[test]
    fn under_a_seccomp_filter_only_a_wish_maps_the_ring() {
        for (wish, filtered, may) in [
            (None, false, true),
            (None, true, false),
            (Some("maybe"), true, false),
            (Some("on"), true, true),
            (Some("off"), false, false),
        ] {
            assert_eq!(
                may_call_bpf(wish.map(OsStr::new), || filtered),
                may,
                "{wish:?}"
            );
        }
    }

    #[test]
    fn a_pin_that_is_not_there_is_an_error() {
        let info = Kernel::new(4).1.info;
        assert!(Ring::open_pin("/nonexistent/ring".into(), &info).is_err());
        assert!(Ring::open_pin("/dev/null".into(), &info).is_err());
        assert!(Ring::open_pin("a\0b".into(), &info).is_err());
    }
}
