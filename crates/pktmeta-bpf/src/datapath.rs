//! The datapath: up, down, status.

use crate::{
    error::{Context, Error},
    hooks::{
        self, Hook,
        xdp::labels::{self, Label},
    },
    host,
    object::{Object, ObjectOptions},
    pins::{self, InterfaceId, Pins, Staging},
    sys::{self, ProgramStats},
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use pktmeta_core::{
    FieldInfo, Record, Registry, abi, builtin,
    schema::{self, Schema},
};
use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The datapath of this host, or of another bpffs in tests.
#[derive(Clone, Debug)]
pub struct Datapath {
    bpffs: PathBuf,
}

/// What to attach, and where.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The interface, in the network namespace of the calling thread.
    pub interface: String,
    /// The cgroup whose sockets get records; the root if `None`.
    pub cgroup: Option<PathBuf>,
    /// Schemas to register next to the built-in fields.
    pub schemas: Vec<Schema>,
    /// Values by source address.
    pub labels: Vec<Label>,
    /// The built-in fields to write, by name; all if `None`.
    pub produce: Option<Vec<String>>,
    /// How XDP attaches.
    pub mode: AttachMode,
    /// Slots for the records of datagrams that wait for their readers, a power of two.
    pub slots: u32,
}

impl UpOptions {
    /// Everything by default on `interface`.
    #[must_use]
    pub fn new(interface: &str) -> Self {
        Self {
            interface: interface.into(),
            cgroup: None,
            schemas: Vec::new(),
            labels: Vec::new(),
            produce: None,
            mode: AttachMode::Default,
            slots: Self::SLOTS,
        }
    }

    /// Slots unless told otherwise: 4 MiB, some sixty times what a socket with the default receive
    /// buffer can have waiting.
    pub const SLOTS: u32 = 16384;

    /// Fewest and most slots.
    pub const SLOTS_RANGE: std::ops::RangeInclusive<u32> = 64..=1 << 22;
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
    /// The cgroup whose sockets get records.
    pub delivery: Delivery,
    /// Every field of the host.
    pub fields: Vec<FieldInfo>,
    /// True if a packet has been labelled already; false if none has arrived yet.
    pub seen_labelled: bool,
}

/// Where records are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The kernel's number of the cgroup.
    pub cgroup_id: u64,
    /// Its path when `up` attached to it.
    pub cgroup: String,
}

/// What `down` removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Names of the interfaces, or what is known of those that are gone.
    pub interfaces: Vec<String>,
    /// True if nothing of the datapath is left.
    pub everything: bool,
}

/// The datapath as it is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Interfaces that label packets.
    pub interfaces: Vec<InterfaceStatus>,
    /// The hooks of the cgroup.
    pub cgroup: Vec<HookStatus>,
    /// Where records are delivered; `None` if the cgroup is gone.
    pub delivery: Option<Delivery>,
    /// The registered fields.
    pub fields: Vec<FieldInfo>,
    /// Slots of the ring.
    pub slots: u32,
}

/// An interface that labels packets.
#[derive(Clone, Debug)]
pub struct InterfaceStatus {
    /// Its name, if it is in this network namespace.
    pub name: Option<String>,
    /// Its index.
    pub ifindex: u32,
    /// Inode of its network namespace.
    pub netns: u64,
    /// False if the interface is gone.
    pub attached: bool,
    /// Its hooks.
    pub hooks: Vec<HookStatus>,
}

impl InterfaceStatus {
    /// The name, or what there is instead.
    #[must_use]
    pub fn label(&self) -> String {
        let Self {
            name,
            ifindex,
            netns,
            attached,
            ..
        } = self;
        match name {
            Some(name) => name.clone(),
            None if *attached => format!("interface {ifindex} of network namespace {netns}"),
            None => format!("interface {ifindex} of network namespace {netns}, gone"),
        }
    }
}

/// A hook as it is.
#[derive(Clone, Debug)]
pub struct HookStatus {
    /// The hook.
    pub hook: &'static Hook,
    /// The programs that run there.
    pub programs: Vec<ProgramStats>,
    /// Its counters, in the hook's order.
    pub counters: Vec<u64>,
}

impl HookStatus {
    /// The counter called `name`.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        let at = self
            .hook
            .counters
            .iter()
            .position(|counter| counter.name == name)?;
        self.counters.get(at).copied()
    }
}

impl Default for Datapath {
    fn default() -> Self {
        Self::new(Path::new(host::BPFFS))
    }
}

impl Datapath {
    /// The datapath whose pins are in this bpffs.
    #[must_use]
    pub fn new(bpffs: &Path) -> Self {
        Self {
            bpffs: bpffs.into(),
        }
    }

    /// Labels the packets of an interface and delivers their records to the sockets of a cgroup.
    /// What it attaches stays when the caller ends. Kernel 6.6 (TCX).
    ///
    /// # Errors
    /// Something is missing, taken or refused. Nothing stays behind then.
    pub fn up(&self, options: &UpOptions) -> Result<Up, Error> {
        host::check_capabilities()?;
        host::check_btf()?;
        let id = find_interface(&options.interface)?;
        let cgroup = match &options.cgroup {
            Some(path) => path.clone(),
            None => host::cgroup_root()?,
        };
        let cgroup_file = host::open_cgroup(&cgroup)?;
        let cgroup_id = cgroup_id(&cgroup_file)?;
        host::mount_bpffs(&self.bpffs)?;
        let _lock = self.lock()?;

        let pins = Pins::datapath(&self.bpffs);
        self.check_not_up(&pins, id, &options.interface)?;
        let taken = |error| {
            Error::new(
                format!("look for XDP programs of {}", options.interface),
                error,
            )
        };
        if let Some(program) = sys::xdp_program(id.ifindex).map_err(taken)? {
            return Err(taken_interface(&options.interface, program));
        }
        let registry = Registration::new(self, options)?;
        let staging = Staging::new(&self.bpffs)?;
        let first = !pins.exists();
        let delivery =
            if first {
                let staged = staging.pins()?;
                let delivery = Delivery {
                    cgroup_id,
                    cgroup: cgroup.display().to_string(),
                };
                deliver(
                    staged,
                    cgroup_file.as_raw_fd(),
                    options.slots,
                    &registry.after,
                )?;
                pins::create(&staged.interfaces())?;
                delivery
            } else {
                let delivery = delivery(&pins).ok_or_else(|| {
                    Error::new("use the datapath that is up", "its cgroup is gone")
                        .remedy("run `pktmeta down`, then `pktmeta up` for each interface")
                })?;
                if options.cgroup.is_some() && delivery.cgroup_id != cgroup_id {
                    let why = format!("the datapath delivers to {} already", delivery.cgroup);
                    return Err(Error::new(format!("deliver to {}", cgroup.display()), why).remedy(
                    "leave --cgroup out, or run `pktmeta down` first and name a cgroup that \
                     contains both",
                ));
                }
                delivery
            };
        let own = match first {
            true => staging.pins()?.interface(id),
            false => staging.pins()?.clone(),
        };
        let seen_labelled = label(&own, id, options, &registry)?;
        if !first {
            // Last, so that nothing has to be taken back: readers skip types they do not know.
            registry.store(&pins.maps().join("registry"))?;
        }
        let to = if first {
            pins.directory.clone()
        } else {
            pins.interface(id).directory
        };
        staging.commit(&to)?;
        Ok(Up {
            area: registry.area,
            delivery,
            fields: registry.after.fields().to_vec(),
            seen_labelled,
        })
    }

    /// Detaches from one interface, or from all; with the last one everything goes.
    ///
    /// # Errors
    /// The interface is not labelled by us, or the kernel refuses.
    pub fn down(&self, interface: Option<&str>) -> Result<Down, Error> {
        host::check_capabilities()?;
        let nothing = Down {
            interfaces: Vec::new(),
            everything: true,
        };
        let pins = Pins::datapath(&self.bpffs);
        if !host::is_bpffs(&self.bpffs) {
            return match interface {
                Some(name) => Err(not_up(name)),
                None => Ok(nothing),
            };
        }
        let lock = self.lock()?;
        Staging::leftover(&self.bpffs).remove()?;
        let here = host::network_namespace()?;
        let all = pins.interface_ids();
        let wanted: Vec<InterfaceId> = match interface {
            None => all.clone(),
            Some(name) => {
                let id = find_interface(name)?;
                all.iter().copied().filter(|&other| other == id).collect()
            }
        };
        if let (Some(name), true) = (interface, wanted.is_empty()) {
            return Err(not_up(name));
        }
        let mut interfaces = Vec::new();
        for &id in &wanted {
            interfaces.push(interface_status(&pins, id, here).label());
            pins.interface(id).remove()?;
        }
        let everything = wanted.len() == all.len();
        if everything {
            close_ring(&pins);
            pins.remove()?;
            drop(lock);
            host::unmount_own_bpffs(&self.bpffs)
                .context(|| format!("unmount {}", self.bpffs.display()))?;
        }
        Ok(Down {
            interfaces,
            everything,
        })
    }

    /// What is attached where, and what it counted; `None` if nothing is.
    ///
    /// # Errors
    /// The pins cannot be read.
    pub fn status(&self) -> Result<Option<Status>, Error> {
        host::check_capabilities()?;
        let pins = Pins::datapath(&self.bpffs);
        if !pins.exists() {
            return Ok(None);
        }
        let here = host::network_namespace()?;
        let ids = pins.interface_ids();
        let registry = self.registry()?;
        Ok(Some(Status {
            interfaces: ids
                .into_iter()
                .map(|id| interface_status(&pins, id, here))
                .collect(),
            cgroup: hooks::CGROUP
                .iter()
                .map(|hook| hook_status(hook, &pins.links(), &pins.maps()))
                .collect(),
            delivery: delivery(&pins),
            fields: registry.fields().to_vec(),
            slots: ring_slots(&pins).unwrap_or(0),
        }))
    }

    /// The fields of this host and their numbers; none if nothing is up.
    ///
    /// # Errors
    /// The pins cannot be read.
    pub fn registry(&self) -> Result<Registry, Error> {
        let pins = Pins::datapath(&self.bpffs);
        match pins.exists() {
            true => read_registry(&pins.maps().join("registry")),
            false => Ok(Registry::new()),
        }
    }

    fn lock(&self) -> Result<OwnedFd, Error> {
        let tried = || format!("lock {}", self.bpffs.display());
        let directory = fs::File::open(&self.bpffs).context(tried)?;
        sys::lock(directory.as_fd()).context(tried)?;
        Ok(directory.into())
    }

    fn check_not_up(&self, pins: &Pins, id: InterfaceId, name: &str) -> Result<(), Error> {
        let own = pins.interface(id);
        if !own.exists() {
            return Ok(());
        }
        let here = host::network_namespace()?;
        if !interface_status(pins, id, here).attached {
            // An interface that is gone had this index before.
            return own.remove();
        }
        Err(Error::new(
            format!("label the packets of {name}"),
            "pktmeta does that already",
        )
        .remedy(format!(
            "see `pktmeta status`; to change something, `pktmeta down --iface {name}` first"
        )))
    }
}

/// How long `up` waits for a first packet, to see whether the driver can reserve the area. No
/// kernel interface says so: `bpf_xdp_adjust_meta` fails on each packet.
const FIRST_PACKET: Duration = Duration::from_millis(250);

/// The fields before and after an `up`.
struct Registration {
    before: Registry,
    after: Registry,
    /// The fields that this interface's programs may use.
    bound: Registry,
    area: usize,
}

impl Registration {
    fn new(datapath: &Datapath, options: &UpOptions) -> Result<Self, Error> {
        let before = datapath.registry()?;
        let mut after = before.clone();
        let builtin = builtin_fields(options.produce.as_deref())?;
        let schemas = options.schemas.iter().flat_map(Schema::fields);
        for field in builtin.iter().chain(schemas) {
            after.register(&field.wanted).map_err(|error| {
                Error::new(
                    "register the schemas' fields",
                    error.describe(&field.wanted),
                )
            })?;
        }
        let area = schema::area(after.fields().iter().map(|field| field.kind));
        if area > Record::CAPACITY {
            let mut fields = after.fields().to_vec();
            fields.sort_by_key(|field| std::cmp::Reverse(field.kind.size()));
            let most: Vec<_> = fields
                .iter()
                .take(3)
                .map(|field| format!("{}: {} of {}", field.name, field.kind, field.owner))
                .collect();
            let why = format!(
                "a record with all fields has {area} bytes, {} more than the area holds",
                area - Record::CAPACITY
            );
            return Err(Error::new("reserve the area", why).remedy(format!(
                "take fields out; the largest are {}",
                most.join(", ")
            )));
        }
        let bound = Registry::from_bytes(
            &after
                .fields()
                .iter()
                .filter(|field| {
                    field.owner.as_str() != "pktmeta"
                        || builtin
                            .iter()
                            .any(|produced| produced.wanted.name == field.name)
                })
                .flat_map(FieldInfo::to_bytes)
                .collect::<Vec<_>>(),
        );
        Ok(Self {
            before,
            after,
            bound,
            area,
        })
    }

    /// Fields that are new on the host.
    fn added(&self) -> impl Iterator<Item = &FieldInfo> {
        self.after
            .fields()
            .iter()
            .filter(|field| self.before.by_type(field.tlv).is_none())
    }

    fn store(&self, path: &Path) -> Result<(), Error> {
        let map = open_map(path)?;
        self.added()
            .try_for_each(|field| write_field(&map, field.tlv.get(), &field.to_bytes()))
    }
}

/// Attaches the cgroup's hooks.
fn deliver(pins: &Pins, cgroup: i32, slots: u32, registry: &Registry) -> Result<(), Error> {
    if !slots.is_power_of_two() || !UpOptions::SLOTS_RANGE.contains(&slots) {
        let (min, max) = UpOptions::SLOTS_RANGE.into_inner();
        return Err(Error::new(
            format!("make a ring of {slots} slots"),
            "not a size that it can have",
        )
        .remedy(format!("give a power of two from {min} to {max}")));
    }
    pins::create(&pins.maps())?;
    pins::create(&pins.links())?;
    let cpus = libbpf_rs::num_possible_cpus().context(|| "count the CPUs".into())?;
    let cpus = u32::try_from(cpus.next_power_of_two()).unwrap_or(u32::MAX);
    if slots / cpus == 0 {
        return Err(Error::new(
            format!("make a ring of {slots} slots"),
            "each CPU needs one",
        )
        .remedy(format!("give at least {cpus}")));
    }
    let maps = pins.maps();
    let shared = [
        "ring",
        "issued",
        "registry",
        "connections",
        "tickets",
        "syns",
    ];
    let counters = hooks::CGROUP.iter().map(|hook| hook.counters_map);
    let options = ObjectOptions {
        registry: None,
        globals: vec![
            ("ring_slots", slots.to_ne_bytes().into()),
            ("ring_bits", slots.ilog2().to_ne_bytes().into()),
            ("ring_cpu_bits", (slots / cpus).ilog2().to_ne_bytes().into()),
        ],
        max_entries: vec![("ring", slots + 1)],
        pins: shared
            .into_iter()
            .chain(counters)
            .map(|name| maps.join(name))
            .collect(),
    };
    // All maps have to be ready before the first program runs.
    let mut objects = Vec::new();
    for hook in hooks::CGROUP {
        objects.push((hook, Object::load(hook.name, hook.object, &options)?));
    }
    start_ring(&maps, slots)?;
    let map = open_map(&maps.join("registry"))?;
    for field in registry.fields() {
        write_field(&map, field.tlv.get(), &field.to_bytes())?;
    }
    for (hook, object) in &objects {
        for program in hook.programs {
            let pin = pins.links().join(program.name);
            object.attach(program.name, cgroup, program.attach_type, 0, &pin)?;
        }
    }
    Ok(())
}

/// Attaches an interface's hooks, XDP last: nothing is labelled before all can deal with it. True
/// if a packet has been labelled.
fn label(
    pins: &Pins,
    id: InterfaceId,
    options: &UpOptions,
    registration: &Registration,
) -> Result<bool, Error> {
    let entries = labels::entries(&options.labels, &registration.after)?;
    pins::create(&pins.directory)?;
    let maps = ["xdp_labels", "xdp_numbers"].into_iter();
    let maps = maps.chain(hooks::INTERFACE.iter().map(|hook| hook.counters_map));
    let object_options = ObjectOptions {
        registry: Some(&registration.bound),
        globals: vec![
            (
                "pktmeta_area",
                (registration.area as u32).to_ne_bytes().into(),
            ),
            ("labels_used", vec![u8::from(!entries.is_empty())]),
        ],
        max_entries: vec![("xdp_labels", entries.len().max(1) as u32)],
        pins: maps.map(|name| pins.directory.join(name)).collect(),
    };
    for hook in hooks::INTERFACE.iter().rev() {
        let object = Object::load(hook.name, hook.object, &object_options)?;
        if hook.name == hooks::xdp::HOOK.name {
            let map = object.map("xdp_labels")?;
            for (key, value) in &entries {
                map.update(key, value, MapFlags::ANY)
                    .context(|| "store the labels".into())?;
            }
        }
        for program in hook.programs {
            let flags = match (program.attach_type, options.mode) {
                (libbpf_sys::BPF_XDP, AttachMode::Native) => libbpf_sys::XDP_FLAGS_DRV_MODE,
                (libbpf_sys::BPF_XDP, AttachMode::Generic) => libbpf_sys::XDP_FLAGS_SKB_MODE,
                _ => 0,
            };
            let pin = pins.directory.join(program.name);
            let target = id.ifindex as i32;
            object
                .attach(program.name, target, program.attach_type, flags, &pin)
                .map_err(|error| {
                    Error::new(
                        format!("{} of {}", error.tried(), options.interface),
                        error.why(),
                    )
                    .remedy("`pktmeta doctor` says what this host can attach")
                })?;
        }
    }
    let counters_map = pins.directory.join(hooks::xdp::HOOK.counters_map);
    wait_for_label(&options.interface, || {
        read_counters(&hooks::xdp::HOOK, &counters_map).unwrap_or_default()
    })
}

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
        if count("labelled") > 0 {
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

fn builtin_fields(produce: Option<&[String]>) -> Result<Vec<schema::SchemaField>, Error> {
    let schema = Schema::parse("builtin.toml", builtin::SCHEMA)
        .context(|| "read the built-in fields".into())?;
    let Some(produce) = produce else {
        return Ok(schema.fields().to_vec());
    };
    let known = |name: &String| {
        schema
            .fields()
            .iter()
            .any(|field| field.wanted.name.as_str() == name)
    };
    if let Some(unknown) = produce.iter().find(|name| !known(name)) {
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.wanted.name.as_str().to_owned())
            .collect();
        return Err(Error::new(
            format!("produce {unknown:?}"),
            "that is not a built-in field",
        )
        .remedy(format!("name some of {}", names.join(","))));
    }
    let chosen = schema.fields().iter().filter(|field| {
        produce
            .iter()
            .any(|name| name == field.wanted.name.as_str())
    });
    Ok(chosen.cloned().collect())
}

fn find_interface(name: &str) -> Result<InterfaceId, Error> {
    let tried = || format!("find interface {name:?}");
    let ifindex = sys::interface_index(name).map_err(|error| {
        Error::new(tried(), error)
            .remedy("`ip link` lists the interfaces of this network namespace")
    })?;
    Ok(InterfaceId {
        netns: host::network_namespace()?,
        ifindex,
    })
}

fn taken_interface(interface: &str, program: u32) -> Error {
    let name = sys::program_by_id(program)
        .and_then(|program| ProgramStats::of(program.as_fd()))
        .map_or_else(|_| String::new(), |stats| format!(" \"{}\"", stats.name));
    Error::new(
        format!("attach to {interface}"),
        format!("it has the XDP program{name} (id {program}) of somebody else"),
    )
    .remedy(format!(
        "an interface takes one XDP program: detach that one (`ip link set {interface} xdp off`, \
         or with the tool that attached it)"
    ))
}

fn not_up(interface: &str) -> Error {
    Error::new(
        format!("take pktmeta off {interface}"),
        "it is not on that interface",
    )
    .remedy("`pktmeta status` lists where it is")
}

fn interface_status(pins: &Pins, id: InterfaceId, here: u64) -> InterfaceStatus {
    let own = pins.interface(id);
    let program = hooks::xdp::HOOK
        .programs
        .first()
        .map_or("", |program| program.name);
    let attached = sys::open_pin(&own.directory.join(program))
        .and_then(|link| sys::link_info(link.as_fd()))
        .is_ok_and(|info| sys::link_ifindex(&info) != 0);
    InterfaceStatus {
        name: if attached && id.netns == here {
            sys::interface_name(id.ifindex)
        } else {
            None
        },
        ifindex: id.ifindex,
        netns: id.netns,
        attached,
        hooks: hooks::INTERFACE
            .iter()
            .map(|hook| hook_status(hook, &own.directory, &own.directory))
            .collect(),
    }
}

fn hook_status(hook: &'static Hook, links: &Path, maps: &Path) -> HookStatus {
    let stats = |program: &hooks::Program| {
        let link = sys::open_pin(&links.join(program.name)).ok()?;
        let program = sys::program_by_id(sys::link_info(link.as_fd()).ok()?.prog_id).ok()?;
        ProgramStats::of(program.as_fd()).ok()
    };
    HookStatus {
        hook,
        programs: hook.programs.iter().filter_map(stats).collect(),
        counters: read_counters(hook, &maps.join(hook.counters_map)).unwrap_or_default(),
    }
}

fn read_counters(hook: &Hook, path: &Path) -> Result<Vec<u64>, Error> {
    hook.read_counters(&open_map(path)?)
}

fn read_registry(path: &Path) -> Result<Registry, Error> {
    let map = open_map(path)?;
    let mut bytes = Vec::new();
    for tlv in 1..abi::FIELDS_MAX as u32 {
        let field = map.lookup(&tlv.to_ne_bytes(), MapFlags::ANY);
        bytes.extend(
            field
                .context(|| "read the registry".into())?
                .unwrap_or_default(),
        );
    }
    Ok(Registry::from_bytes(&bytes))
}

fn write_field(map: &MapHandle, tlv: u8, bytes: &[u8]) -> Result<(), Error> {
    map.update(&u32::from(tlv).to_ne_bytes(), bytes, MapFlags::ANY)
        .context(|| "write the registry".into())
}

fn open_map(path: &Path) -> Result<MapHandle, Error> {
    MapHandle::from_pinned_path(path).map_err(|error| {
        Error::new(
            format!("open the map {}", path.display()),
            format!("{error:#}"),
        )
        .remedy("the datapath is damaged: run `pktmeta down`, then `pktmeta up`")
    })
}

/// The cgroup that the first cgroup link is attached to.
fn delivery(pins: &Pins) -> Option<Delivery> {
    let program = hooks::CGROUP[0].programs.first()?;
    let link = sys::open_pin(&pins.links().join(program.name)).ok()?;
    let info = sys::link_info(link.as_fd()).ok()?;
    let cgroup_id = sys::link_cgroup(&info);
    let root = host::cgroup_root().ok()?;
    let cgroup = find_cgroup(&root, cgroup_id)?.display().to_string();
    Some(Delivery { cgroup_id, cgroup })
}

/// A cgroup's id is the inode of its directory.
fn cgroup_id(cgroup: &fs::File) -> Result<u64, Error> {
    use std::os::unix::fs::MetadataExt;
    Ok(cgroup
        .metadata()
        .context(|| "read the cgroup's id".into())?
        .ino())
}

fn find_cgroup(directory: &Path, id: u64) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata(directory).ok()?.ino() == id {
        return Some(directory.into());
    }
    let entries = fs::read_dir(directory).ok()?.filter_map(Result::ok);
    let mut below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.find_map(|entry| find_cgroup(&entry.path(), id))
}

/// Writes the ring's header and a random start for each CPU's tickets: what one datapath issued
/// means nothing to the next.
fn start_ring(maps: &Path, slots: u32) -> Result<(), Error> {
    let random = || {
        let mut bytes = [0; 4];
        io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    let tried = || "start the ring".into();
    let mut header = [0; abi::SLOT_SIZE];
    header[..4].copy_from_slice(&abi::VERSION.to_ne_bytes());
    header[4..8].copy_from_slice(&random().context(tried)?);
    header[8..12].copy_from_slice(&slots.to_ne_bytes());
    let ring = open_map(&maps.join("ring"))?;
    ring.update(&slots.to_ne_bytes(), &header, MapFlags::ANY)
        .context(tried)?;
    let issued = open_map(&maps.join("issued"))?;
    let cpus = libbpf_rs::num_possible_cpus().context(tried)?;
    let starts: io::Result<Vec<Vec<u8>>> = (0..cpus).map(|_| random().map(Vec::from)).collect();
    issued
        .update_percpu(&0u32.to_ne_bytes(), &starts.context(tried)?, MapFlags::ANY)
        .context(tried)
}

/// Tells applications that have the ring mapped that it will not be written any more.
fn close_ring(pins: &Pins) {
    let close = || {
        let ring = open_map(&pins.maps().join("ring")).ok()?;
        let at = ring_slots(pins)?.to_ne_bytes();
        let mut header = ring.lookup(&at, MapFlags::ANY).ok()??;
        header[abi::RING_CLOSED] = 1;
        ring.update(&at, &header, MapFlags::ANY).ok()
    };
    // A ring that cannot be opened has no reader that could map it either.
    let _ = close();
}

fn ring_slots(pins: &Pins) -> Option<u32> {
    open_map(&pins.maps().join("ring"))
        .ok()?
        .max_entries()
        .checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_reserves_no_area_is_an_error_with_a_remedy() {
        let error = wait_for_label("eth0", || vec![3, 0, 0, 3, 0])
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
            vec![calls / 3, calls / 3, 0, 0, 0]
        });
        assert!(seen.unwrap());
        assert!(!wait_for_label("eth0", Vec::new).unwrap());
    }
}
