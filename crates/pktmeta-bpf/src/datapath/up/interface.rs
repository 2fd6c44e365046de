//! The attaching of an interface's hooks.

use super::pin_dirs::PinDirs;
use crate::{
    datapath::{
        hook_status::read_counters,
        interface::{PinnedInterface, find},
        link_type::LinkType,
        options::{AttachMode, UpOptions, cpu_slots},
        registration::Registration,
    },
    error::{Context, Error, ErrorKind, Shown},
    hook::Target,
    hooks, host, labels,
    object::{ASK_THE_DOCTOR, Object, ObjectOptions},
    pins::{InterfaceId, Pins},
    settings::Settings,
    stores,
    sys::{self, ProgramStats},
};
use std::{
    ffi::OsStr,
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// An interface without an XDP program, and a name for its pins. Old pins of that name whose
/// interface is gone are put aside.
pub(super) fn free(pins: &Pins, aside: &Pins, name: &OsStr) -> Result<InterfaceId, Error> {
    let (ifindex, program) = find(name)?;
    let name = name.shown();
    let pinned = PinnedInterface::all(pins)?;
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
        // If it has not ended, its interface is somewhere else by now.
        if other.has_ended() {
            pins.move_interface(other.id, aside)?;
        }
    }
    Ok(id)
}

fn already_up(name: &str) -> Error {
    Error::new(
        ErrorKind::InUse,
        format!("label the packets of {name}"),
        "pktmeta does that already",
    )
    .with_remedy(format!(
        "see `pktmeta status`; to change something, `pktmeta down --iface {name}` first"
    ))
}
/// Attaches an interface's hooks, XDP last: no packet is labelled before all hooks can read it.
/// True if a packet has been labelled.
pub(super) fn label(
    dirs: &PinDirs<'_>,
    name: &str,
    id: InterfaceId,
    options: &UpOptions,
    registration: &Registration,
) -> Result<bool, Error> {
    let labels = options.labels.as_ref();
    let entries = labels.map(|labels| labels::entries(labels, &registration.dictionary()));
    let entries = entries.transpose()?;
    let link_type = match entries {
        None => LinkType::Ethernet, // nothing is looked for in packets
        Some(_) => LinkType::of(name, id.ifindex)?,
    };
    let in_driver = match options.mode {
        AttachMode::Native => true,
        AttachMode::Generic => false,
        AttachMode::Default => sys::xdp_in_driver(id.ifindex)
            .context(|| format!("look for the XDP of {name}'s driver"))?,
    };
    let settings = Settings {
        labels: entries.as_ref().map(Vec::len),
        raw_ip: link_type == LinkType::Ip,
        slots: options.slots,
        cpu_slots: cpu_slots(options.slots)?,
        senders: options.send.clone(),
    };
    let needed = hooks::of(Target::Interface).filter(|hook| registration.needs(hook));
    for hook in needed.rev() {
        let options = ObjectOptions {
            registry: Some(&registration.after),
            unbound: &registration.unproduced,
            // Behind the driver, packets are made linear instead. For a program that takes
            // fragments the kernel copies each packet and forgets mac_len (skb_pp_cow_data): every
            // program at TC, of others too, would then miss the packet's Ethernet header.
            frags: in_driver,
            ..ObjectOptions::default()
        };
        let pin = |name: &str, scope| dirs.path(name, scope);
        let object = Object::load_hook(hook, &settings, pin, options)?;
        if hook
            .stores
            .iter()
            .any(|store| store.map == stores::LABELS.map)
        {
            labels::store(&object, entries.as_deref().unwrap_or_default())?;
        }
        for program in hook.programs {
            let (target, flags) = (id.ifindex as i32, program.attach.flags(in_driver));
            object
                .attach(program, target, flags, dirs.own)
                .map_err(|error| attach_failed(name, error))?;
        }
    }
    wait_for_label(name, || {
        read_counters(&hooks::xdp::HOOK, dirs.own).unwrap_or_default()
    })
}

/// How long `up` waits for a first packet, to see whether the driver can reserve the area. No
/// kernel interface says so: `bpf_xdp_adjust_meta` fails on each packet.
const FIRST_PACKET: Duration = Duration::from_millis(250);

/// Waits for a first packet; an error if packets come and the driver reserves no area for any.
fn wait_for_label(interface: &str, mut counters: impl FnMut() -> Vec<u64>) -> Result<bool, Error> {
    let hook = &hooks::xdp::HOOK;
    let started = Instant::now();
    loop {
        let counters = counters();
        let count = |name| hook.counter(&counters, name).unwrap_or(0);
        if count("records") > 0 {
            return Ok(true);
        }
        if count("no_area") > 0 {
            let why = "its driver cannot reserve metadata in front of packets";
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("label the packets of {interface}"),
                why,
            )
            .with_remedy("attach after the driver: add --mode generic"));
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
        true => error.with_remedy(format!(
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
    Error::new(
        ErrorKind::InUse,
        format!("attach to {interface}"),
        format!("it has {whose}"),
    )
    .with_remedy(format!(
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
        let error = wait_for_label("eth0", || vec![3, 0, 0, 0, 0, 0, 3, 0]).unwrap_err();
        assert!(error.tried().contains("eth0"), "{error:?}");
        assert!(
            error.remedy().unwrap().contains("--mode generic"),
            "{error:?}"
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
