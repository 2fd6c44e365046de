//! The programs of this folder: compiled, loaded, and run on one packet at a time.

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta_bpf::{Object, ObjectOptions};
use pktmeta_build::{Compiler, clangs};
use pktmeta_core::{
    FieldInfo, Record, Registry, Tag,
    schema::Schema,
    seal::{self, Secret},
};
use pktmeta_testkit::{
    link::TwoHosts,
    netns::NetnsGuard,
    prog_run::{LiveFrames, XdpRun, XdpVerdict},
};
use std::{
    ffi::OsString,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

/// Makes kernels look as if they had no `bpf_dynptr_from_skb_meta`.
pub(crate) const FALLBACK: &str = "-DPKTMETA_NO_SKB_META";

/// The newest, or what `BPF_CLANG` names.
pub(crate) fn clang() -> OsString {
    clangs().pop().unwrap()
}

/// Compiles `tests/fields/SOURCE`, with further arguments.
pub(crate) fn compile(clang: &OsString, source: &str, arguments: &[&str]) -> Vec<u8> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let object = format!("{source}.{}.{number}.o", std::process::id());
    let object = Path::new(env!("CARGO_TARGET_TMPDIR")).join(object);
    let compiler = Compiler::new(clang, env!("PKTMETA_LIBBPF")).arguments(arguments);
    let compiled = compiler.compile(&Path::new("tests/fields").join(source), &object);
    compiled.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let elf = std::fs::read(&object).unwrap();
    std::fs::remove_file(&object).unwrap();
    elf
}

/// The tag of a field that is in the schema.
#[track_caller]
pub(crate) fn tag(field: Field) -> Tag {
    field.info.unwrap().tag()
}

/// Loads an object with the fields of `fields.toml`.
pub(crate) fn load(elf: &[u8]) -> Object {
    let registry = registry();
    let options = ObjectOptions {
        registry: Some(&registry),
        ..Default::default()
    };
    Object::load("a test", elf, &options).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The fields of `fields.toml`.
pub(crate) fn registry() -> Registry {
    let schema = Schema::parse("fields.toml", include_str!("fields.toml")).unwrap();
    let registry = Schema::registry([&schema]).unwrap();
    registry.with_secret(secret())
}

/// What proves its records.
pub(crate) fn secret() -> Secret {
    Secret::new(0x1234_5678_9abc).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Xdp,
    Tc,
}

impl Hook {
    pub(crate) const BOTH: [Self; 2] = [Self::Xdp, Self::Tc];
}

/// In the order of `enum operation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Set,
    Delete,
    Compact,
    HasRecord,
}

/// Whether there was an error, by its number.
pub(crate) type Answer<T = ()> = Result<T, i32>;

/// A field that the programs know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// By which they do.
    number: u32,
    /// `None` if it is in no schema.
    pub(crate) info: Option<FieldInfo>,
}

impl Field {
    /// All, in the order of `fields.h`.
    const NAMES: [&str; 14] = [
        "hot_u32",
        "hot_u8",
        "hot_flag",
        "hot_u128",
        "cold_u8",
        "cold_u16",
        "cold_u32",
        "cold_u64",
        "cold_u128",
        "cold_flag",
        "cookie",
        "blob",
        "read_only",
        "unbound",
    ];

    pub(crate) fn all() -> Vec<Self> {
        Self::NAMES.map(Self::named).into()
    }

    pub(crate) fn named(name: &str) -> Self {
        let number = Self::NAMES.iter().position(|other| *other == name);
        Self {
            number: number.unwrap() as u32,
            info: registry().by_name(name).copied(),
        }
    }

    pub(crate) fn is_variable(&self) -> bool {
        self.info.is_some_and(|info| info.kind.is_variable())
    }

    /// Bytes of a value, at most.
    pub(crate) fn size(&self) -> usize {
        self.info.map_or(4, |info| info.kind.size().into())
    }
}

/// The programs of `operations.bpf.c`: XDP by test runs, TC on packets that come in by a veth.
pub(crate) struct Programs {
    object: Object,
    exchanges: MapHandle,
    hosts: TwoHosts,
    _link: OwnedFd,
    _inside: NetnsGuard,
}

impl Programs {
    pub(crate) fn new() -> Self {
        Self::compiled(&clang(), &[])
    }

    pub(crate) fn compiled(clang: &OsString, arguments: &[&str]) -> Self {
        let object = load(&compile(clang, "operations.bpf.c", arguments));
        let hosts = TwoHosts::new().unwrap();
        let inside = hosts.server().enter();
        let program = object.program("operate_tc").unwrap().as_raw_fd();
        // SAFETY: no options are passed.
        let link = unsafe {
            libbpf_sys::bpf_link_create(
                program,
                hosts.server_ifindex() as i32,
                libbpf_sys::BPF_TCX_INGRESS,
                std::ptr::null(),
            )
        };
        assert!(link >= 0, "{}", std::io::Error::last_os_error());
        Self {
            exchanges: object.map("exchanges").unwrap(),
            object,
            hosts,
            // SAFETY: the descriptor was just made and is nobody else's.
            _link: unsafe { OwnedFd::from_raw_fd(link) },
            _inside: inside,
        }
    }

    /// Runs an operation on a packet with this metadata: what the program said, the value it got,
    /// and the metadata as it left it.
    pub(crate) fn run(
        &self,
        hook: Hook,
        operation: Operation,
        field: Field,
        value: &[u8],
        metadata: &[u8],
    ) -> (i64, Vec<u8>, Vec<u8>) {
        let mut exchange = Exchange::default();
        exchange.bytes[..4].copy_from_slice(&(operation as u32).to_ne_bytes());
        exchange.bytes[4..8].copy_from_slice(&field.number.to_ne_bytes());
        let start = Exchange::VALUE_AT + usize::from(field.is_variable());
        exchange.bytes[Exchange::VALUE_AT] = value.len() as u8;
        let room = value.len().min(field.size());
        exchange.bytes[start..start + room].copy_from_slice(&value[..room]);
        self.exchanges
            .update(&[0; 4], &exchange.bytes, MapFlags::ANY)
            .unwrap();
        let after = match hook {
            Hook::Xdp => self.run_xdp(metadata),
            Hook::Tc => self.run_tc(metadata),
        };
        let bytes = self.exchanges.lookup(&[0; 4], MapFlags::ANY).unwrap();
        exchange.bytes.copy_from_slice(&bytes.unwrap());
        // What the program saw of it.
        let size = exchange.metadata_size();
        assert_ne!(size, Exchange::NOT_RUN, "the program did not run");
        let seen = &exchange.bytes[Exchange::METADATA_AT..][..size];
        assert!(after.is_none_or(|after| after == seen));
        let size = match field.is_variable() {
            true => exchange.bytes[Exchange::VALUE_AT].into(),
            false => field.size(),
        };
        let got = exchange.bytes[start..].iter().take(size).copied().collect();
        (exchange.result(), got, seen.into())
    }

    fn run_xdp(&self, metadata: &[u8]) -> Option<Vec<u8>> {
        let ran = XdpRun::new(self.object.program("operate_xdp").unwrap())
            .packet(&frame())
            .metadata(metadata)
            .run()
            .unwrap();
        assert_eq!((ran.verdict, ran.packet), (XdpVerdict::Pass, frame()));
        Some(ran.metadata)
    }

    fn run_tc(&self, metadata: &[u8]) -> Option<Vec<u8>> {
        LiveFrames::new(self.object.program("pass").unwrap())
            .packet(&frame())
            .metadata(metadata)
            .ingress_ifindex(self.hosts.server_ifindex())
            .run()
            .unwrap();
        None
    }

    pub(crate) fn get(&self, hook: Hook, field: Field, metadata: &[u8]) -> Answer<Vec<u8>> {
        let (result, value, after) = self.run(hook, Operation::Get, field, &[], metadata);
        assert_eq!(after, metadata, "a reader changed it");
        answer(result).map(|()| value)
    }

    pub(crate) fn set(
        &self,
        hook: Hook,
        field: Field,
        value: &[u8],
        metadata: &mut Vec<u8>,
    ) -> Answer {
        self.change(hook, Operation::Set, field, value, metadata)
    }

    pub(crate) fn delete(&self, hook: Hook, field: Field, metadata: &mut Vec<u8>) -> Answer {
        self.change(hook, Operation::Delete, field, &[], metadata)
    }

    pub(crate) fn compact(&self, hook: Hook, metadata: &mut Vec<u8>) -> Answer {
        let any = Field::named("unbound");
        self.change(hook, Operation::Compact, any, &[], metadata)
    }

    pub(crate) fn has_record(&self, hook: Hook, metadata: &[u8]) -> bool {
        let any = Field::named("unbound");
        self.run(hook, Operation::HasRecord, any, &[], metadata).0 == 1
    }

    fn change(
        &self,
        hook: Hook,
        operation: Operation,
        field: Field,
        value: &[u8],
        metadata: &mut Vec<u8>,
    ) -> Answer {
        let (result, _, after) = self.run(hook, operation, field, value, metadata);
        *metadata = after;
        answer(result)
    }
}

/// `struct exchange`.
struct Exchange {
    bytes: [u8; 304],
}

impl Exchange {
    const VALUE_AT: usize = 20;
    const METADATA_AT: usize = Self::VALUE_AT + 66;
    const NOT_RUN: usize = u32::MAX as usize;

    fn result(&self) -> i64 {
        i64::from_ne_bytes(self.bytes[8..16].try_into().unwrap())
    }

    fn metadata_size(&self) -> usize {
        u32::from_ne_bytes(self.bytes[16..20].try_into().unwrap()) as usize
    }
}

impl Default for Exchange {
    fn default() -> Self {
        let mut bytes = [0; 304];
        bytes[16..20].copy_from_slice(&u32::MAX.to_ne_bytes());
        Self { bytes }
    }
}

/// A record in an area, of its own size or a larger one.
pub(crate) fn area(record: &Record, size: usize) -> Vec<u8> {
    secret().enclose(record, size)
}

/// The same of bytes that need not be a record.
pub(crate) fn area_of(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut area = bytes.to_vec();
    area.resize(size - seal::SIZE, 0);
    area[1] = size as u8;
    area.extend(secret().seal(size));
    area
}

/// The record in an area, which must prove itself.
#[track_caller]
pub(crate) fn open(area: &[u8]) -> Record {
    secret().open(area).unwrap()
}

fn answer(result: i64) -> Answer {
    match result {
        0 => Ok(()),
        error => Err(-error as i32),
    }
}

/// Of an EtherType for local experiments, so that nobody takes it but the test.
fn frame() -> Vec<u8> {
    let mut frame = vec![0x02; 64];
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}
