//! `up`: everything is made aside, and put in place when all of it works.

use super::{
    Datapath,
    delivery::{Delivery, Plan},
    interface::{self, PinnedInterface},
    registration::Registration,
    settle, status,
};
use crate::{
    bpffs::Locked,
    dir::Dir,
    error::{Context, Error, Shown},
    hooks::{
        self, Hook,
        xdp::{
            Link,
            labels::{self, Label},
        },
    },
    host,
    object::{Object, ObjectOptions},
    pins::{InterfaceId, Pins},
    registry::HostRegistry,
    sys::{self, ProgramStats},
};
use pktmeta_core::{FieldInfo, builtin, schema::Schema};
use std::{
    ffi::{OsStr, OsString},
    os::fd::AsFd,
    path::PathBuf,
    time::{Duration, Instant},
};

/// What to attach, and where.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The interface, in the network namespace of the calling thread; `None` only to deliver to
    /// another cgroup.
    pub interface: Option<OsString>,
    /// The cgroup whose sockets get records; if `None`, those that get them already, else the root.
    pub cgroup: Option<PathBuf>,
    /// Which users of that cgroup may label what they send.
    pub send: Senders,
    /// Schemas to register next to the built-in fields.
    pub schemas: Vec<Schema>,
    /// Values by source address.
    pub labels: Vec<Label>,
    /// The built-in fields to write: some of [`builtin::NAMES`].
    pub produce: Vec<String>,
    /// How XDP attaches.
    pub mode: AttachMode,
    /// Slots for the records of datagrams that wait for their readers, a power of two.
    pub slots: u32,
}

impl UpOptions {
    /// Everything by default on `interface`.
    #[must_use]
    pub fn new(interface: impl Into<OsString>) -> Self {
        Self {
            interface: Some(interface.into()),
            ..Self::default()
        }
    }

    /// Built-in fields unless told otherwise: those that cost next to nothing, and that do not keep
    /// GRO from merging packets.
    pub const PRODUCE: [&str; 2] = [builtin::RX_IFINDEX.name(), builtin::RX_QUEUE.name()];

    /// Slots unless told otherwise: 4 MiB, some sixty times what a socket with the default receive
    /// buffer can have waiting.
    pub const SLOTS: u32 = 16384;

    /// Fewest and most slots.
    pub const SLOTS_RANGE: std::ops::RangeInclusive<u32> = 64..=1 << 22;

    pub(super) fn produces(&self, field: &str) -> bool {
        self.produce.iter().any(|name| name == field)
    }
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            interface: None,
            cgroup: None,
            send: Senders::All,
            schemas: Vec::new(),
            labels: Vec::new(),
            produce: Self::PRODUCE.map(String::from).into(),
            mode: AttachMode::Default,
            slots: Self::SLOTS,
        }
    }
}

/// Which users may label what they send, with fields that applications may write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Senders {
    /// Every one.
    #[default]
    All,
    /// These, by number in the initial user namespace; at most [`Senders::MAX`]. Nobody, if none.
    Users(Vec<u32>),
}

impl Senders {
    /// Most users that can be named.
    pub const MAX: usize = 16;
}

/// How an XDP program attaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver if it can, else generic.
    #[default]
    Default,
    /// In the driver, or not at all.
    Native,
    /// After the driver has made an skb: works everywhere, slower.
    Generic,
}

/// What `up` did.
#[derive(Clone, Debug)]
pub struct Up {
    /// Bytes reserved in front of each packet.
    pub area: usize,
    /// The cgroups whose sockets get records.
    pub deliveries: Vec<Delivery>,
    /// Every field of the host.
    pub fields: Vec<FieldInfo>,
    /// True if a packet has been labelled already; false if none has arrived yet.
    pub seen_labelled: bool,
}

pub(super) fn up(datapath: &Datapath, options: &UpOptions) -> Result<Up, Error> {
    host::check_capabilities()?;
    host::check_btf()?;
    // First: where nothing can be mounted, as under `ip netns exec`, cgroups are missing too.
    let root = datapath.bpffs.mounted()?;
    check(options)?;
    let locked = datapath.bpffs.lock(root)?;
    let registry = datapath.registry();
    // Before anything is looked at: what a killed command left may be attached.
    settle(&locked, &registry)?;
    let up = attach(&locked, datapath, options);
    match (up, settle(&locked, &registry)) {
        (Ok(_), Err(error)) => Err(error),
        (up, _) => up,
    }
}

fn attach(locked: &Locked, datapath: &Datapath, options: &UpOptions) -> Result<Up, Error> {
    let root = locked.root();
    let pins = Pins::for_datapath(root)?;
    let aside = Pins::aside(root)?;
    let interface = match &options.interface {
        Some(name) => Some((name.shown(), free_interface(&pins, &aside, name)?)),
        None => None,
    };
    let plan = Plan::new(&pins, &aside, options)?;
    let registration = Registration::new(datapath, root, options)?;
    let fields = Fields::register(datapath.registry(), root, &registration)?;
    if let Plan::Add(cgroup, _) = &plan {
        let shared = pins
            .maps()?
            .ok_or_else(|| Error::new("share the maps of sockets", "their directory went away"))?;
        let own = aside.create_cgroup(cgroup.id())?;
        let registry = (&registration.after, fields.host.path_by_fd(root));
        cgroup.deliver(&own, &shared, options, registry)?;
    }
    if matches!(plan, Plan::Join(_)) && interface.is_none() {
        return Err(
            Error::new("deliver to the cgroup", "pktmeta does that already").remedy(
                "see `pktmeta status`; name an interface with --iface to label its packets",
            ),
        );
    }
    let seen_labelled = match &interface {
        &Some((ref name, id)) => {
            let own = aside.create_interface(id)?;
            label(&own, name, id, options, &registration)?
        }
        None => false,
    };
    // Readers first: who reads finds nothing as long as nobody writes.
    if let Plan::Add(cgroup, _) = &plan {
        aside.move_cgroup(cgroup.id(), &pins)?;
    }
    if let Some((_, id)) = interface {
        aside.move_interface(id, &pins)?;
    }
    fields.keep();
    Ok(Up {
        area: registration.after.layout().area,
        deliveries: plan.deliveries(),
        fields: registration.after.fields().to_vec(),
        seen_labelled,
    })
}

/// What can be known to be wrong before anything is done.
fn check(options: &UpOptions) -> Result<(), Error> {
    if options.interface.is_none() && options.cgroup.is_none() {
        return Err(Error::new("start the datapath", "there is nothing to do")
            .remedy("name an interface with --iface, or a cgroup with --cgroup"));
    }
    if let Some(cgroup) = &options.cgroup {
        host::open_cgroup(cgroup)?;
    }
    if let Senders::Users(users) = &options.send
        && users.len() > Senders::MAX
    {
        let why = format!("{} users are named", users.len());
        return Err(Error::new("let users send records", why)
            .remedy(format!("name at most {}", Senders::MAX)));
    }
    let mut produce = options.produce.iter();
    if let Some(unknown) = produce.find(|name| !builtin::NAMES.contains(&name.as_str())) {
        let names = builtin::NAMES.join(",");
        let why = "that is not a built-in field";
        return Err(Error::new(format!("produce {unknown:?}"), why)
            .remedy(format!("give --produce all, none, or some of {names}")));
    }
    Ok(())
}

/// An interface that nobody has an XDP program on, and a name for its pins. Pins that had that name
/// and whose interface is gone are put aside.
fn free_interface(pins: &Pins, aside: &Pins, name: &OsStr) -> Result<InterfaceId, Error> {
    let ifindex = interface::find(name)?;
    let name = name.shown();
    let pinned = PinnedInterface::all(pins)?;
    let program =
        sys::xdp_program(ifindex).context(|| format!("look for XDP programs of {name}"))?;
    if let Some(program) = program {
        return Err(match pinned.iter().any(|other| other.runs(program)) {
            true => already_up(&name),
            false => taken_interface(&name, ifindex, program),
        });
    }
    let mut id = InterfaceId {
        netns: host::network_namespace()?,
        ifindex,
        nth: 1,
    };
    for other in pinned {
        if (other.id.netns, other.id.ifindex) != (id.netns, id.ifindex) {
            continue;
        }
        id.nth = id.nth.max(other.id.nth + 1);
        // One that has not ended is somewhere else by now.
        if other.has_ended() {
            pins.move_interface(other.id, aside)?;
        }
    }
    Ok(id)
}

fn already_up(name: &str) -> Error {
    Error::new(
        format!("label the packets of {name}"),
        "pktmeta does that already",
    )
    .remedy(format!(
        "see `pktmeta status`; to change something, `pktmeta down --iface {name}` first"
    ))
}

/// The fields, known to readers before the first record arrives; dropped before they are kept, they
/// are as they were.
struct Fields<'a> {
    host: HostRegistry,
    root: &'a Dir,
    undo: Option<Undo<'a>>,
}

enum Undo<'a> {
    Remove,
    Restore(&'a Registration),
}

impl<'a> Fields<'a> {
    fn register(
        host: HostRegistry,
        root: &'a Dir,
        registration: &'a Registration,
    ) -> Result<Self, Error> {
        let undo = match host.create(root, &registration.after)? {
            true => Undo::Remove,
            false => Undo::Restore(registration),
        };
        let fields = Self {
            host,
            root,
            undo: Some(undo),
        };
        // First: a number is never shown by the name that an older schema gave it.
        registration.names_after.write(root)?;
        let Registration { before, after, .. } = registration;
        fields.host.store(root, before, after)?;
        Ok(fields)
    }

    fn keep(mut self) {
        self.undo = None;
    }
}

impl Drop for Fields<'_> {
    fn drop(&mut self) {
        let undone = match self.undo.take() {
            None => Ok(()),
            Some(Undo::Remove) => self.host.forget(self.root),
            Some(Undo::Restore(Registration {
                before,
                after,
                names_before,
                ..
            })) => {
                let restored = self.host.store(self.root, after, before);
                restored.and_then(|()| names_before.write(self.root))
            }
        };
        if let Err(error) = undone {
            eprintln!("pktmeta: {error}");
        }
    }
}

/// Loads a hook's programs.
pub(super) fn load(hook: &Hook, options: &ObjectOptions<'_>) -> Result<Object, Error> {
    Object::load(hook.name, hook.object, options).map_err(|error| error.or_remedy(ASK_THE_DOCTOR))
}

const ASK_THE_DOCTOR: &str = "`pktmeta doctor` says what this host lacks, and what to do";

/// Attaches an interface's hooks, XDP last: nothing is labelled before all can deal with it. True
/// if a packet has been labelled.
fn label(
    pins: &Dir,
    name: &str,
    id: InterfaceId,
    options: &UpOptions,
    registration: &Registration,
) -> Result<bool, Error> {
    let entries = labels::entries(&options.labels, &registration.dictionary())?;
    let link = match entries.is_empty() {
        true => Link::Ethernet, // nothing is looked for in packets
        false => Link::of(name, id.ifindex)?,
    };
    let in_driver = match options.mode {
        AttachMode::Native => true,
        AttachMode::Generic => false,
        AttachMode::Default => sys::xdp_in_driver(id.ifindex)
            .context(|| format!("look for the XDP of {name}'s driver"))?,
    };
    let maps = interface::MAPS.into_iter();
    let needed = hooks::INTERFACE
        .into_iter()
        .filter(|hook| registration.needs(hook));
    let maps = maps.chain(needed.clone().map(|hook| hook.counters_map));
    let object_options = ObjectOptions {
        registry: Some(&registration.after),
        unbound: &registration.unproduced,
        globals: vec![
            ("labels_used", vec![u8::from(!entries.is_empty())]),
            ("raw_ip", vec![u8::from(link == Link::Ip)]),
        ],
        max_entries: labels::MAPS
            .map(|name| (name, entries.len().max(1) as u32))
            .into(),
        // Behind the driver, packets are made linear instead. For a program that takes fragments
        // the kernel copies each packet and forgets mac_len (skb_pp_cow_data): every program at TC,
        // of others too, would then miss the packet's Ethernet header.
        frags: in_driver,
        pins: maps.map(|name| (name, pins.path_by_fd(name))).collect(),
    };
    for hook in needed.rev() {
        let object = load(hook, &object_options)?;
        if hook.name == hooks::xdp::HOOK.name {
            labels::store(&object, &entries)?;
        }
        for program in hook.programs {
            let flags = match program.attach_type {
                libbpf_sys::BPF_XDP if in_driver => libbpf_sys::XDP_FLAGS_DRV_MODE,
                libbpf_sys::BPF_XDP => libbpf_sys::XDP_FLAGS_SKB_MODE,
                _ => 0,
            };
            object
                .attach(program, id.ifindex as i32, flags, pins)
                .map_err(|error| attach_failed(name, error))?;
        }
    }
    wait_for_label(name, || {
        status::read_counters(&hooks::xdp::HOOK, pins).unwrap_or_default()
    })
}

/// How long `up` waits for a first packet, to see whether the driver can reserve the area. No
/// kernel interface says so: `bpf_xdp_adjust_meta` fails on each packet.
const FIRST_PACKET: Duration = Duration::from_millis(250);

/// Waits for a first packet; an error if packets come and the driver reserves no area for any.
fn wait_for_label(interface: &str, mut counters: impl FnMut() -> Vec<u64>) -> Result<bool, Error> {
    let hook = &hooks::xdp::HOOK;
    let at = |name| {
        hook.counters
            .iter()
            .position(|counter| counter.name == name)
    };
    let started = Instant::now();
    loop {
        let counters = counters();
        let count = |name| {
            at(name)
                .and_then(|at| counters.get(at).copied())
                .unwrap_or(0)
        };
        if count("records") > 0 {
            return Ok(true);
        }
        if count("no_area") > 0 {
            let why = "its driver cannot reserve metadata in front of packets";
            return Err(Error::new(format!("label the packets of {interface}"), why)
                .remedy("attach after the driver: add --mode generic"));
        }
        if started.elapsed() >= FIRST_PACKET {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Why a program was not attached to an interface.
fn attach_failed(interface: &str, error: Error) -> Error {
    let taken = matches!(error.errno(), Some(libc::EBUSY | libc::EEXIST));
    let error = error.during(format!("label the packets of {interface}"));
    match taken {
        true => error.remedy(format!(
            "somebody attached an XDP program meanwhile (`ip link show {interface}`): try again"
        )),
        false => error.or_remedy(ASK_THE_DOCTOR),
    }
}

/// An interface takes one XDP program, and this one has another's. There are two ways out.
fn taken_interface(interface: &str, ifindex: u32, program: u32) -> Error {
    let stats = sys::program_by_id(program).and_then(|program| ProgramStats::of(program.as_fd()));
    let name = stats.map(|stats| stats.name).unwrap_or_default();
    let own = hooks::xdp::HOOK.programs.first().map_or("", |own| own.name);
    let whose = match name.as_str() {
        "" => format!("an XDP program (id {program})"),
        // The kernel cuts names.
        name if name.len() > 4 && own.starts_with(name) => {
            format!(
                "pktmeta's own XDP program (id {program}), of another bpffs or without its pins"
            )
        }
        name => format!("the XDP program \"{name}\" (id {program}) of somebody else"),
    };
    let detach = match sys::link_of_program(program, ifindex) {
        Some(link) => format!("`bpftool link detach id {link}`"),
        None => format!("`ip link set {interface} xdp off`"),
    };
    Error::new(format!("attach to {interface}"), format!("it has {whose}")).remedy(format!(
        "an interface takes one XDP program. Detach that one ({detach}, or with the tool that \
         attached it); or keep it, let it write the record (`pktmeta bind`), and run `pktmeta up \
         --cgroup PATH` without --iface"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_reserves_no_area_is_an_error_with_a_remedy() {
        let error = wait_for_label("eth0", || vec![3, 0, 0, 0, 0, 0, 3, 0])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("eth0") && error.contains("--mode generic"),
            "{error}"
        );
    }

    #[test]
    fn a_labelled_packet_ends_the_wait_and_silence_is_no_error() {
        let mut calls = 0;
        let seen = wait_for_label("eth0", || {
            calls += 1;
            vec![calls / 3, calls / 3, 0, 0, 0, 0, 0, 0]
        });
        assert!(seen.unwrap());
        assert!(!wait_for_label("eth0", Vec::new).unwrap());
    }
}
