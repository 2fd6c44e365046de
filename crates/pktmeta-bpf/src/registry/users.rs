//! The users of fields: loaded programs that are bound to them, whoever loaded them, and labels.

use crate::{
    bind::Binding,
    dir::Dir,
    error::{Error, ErrorKind},
    host, labels,
    pins::Pins,
    stores, sys,
};
use libbpf_rs::{
    MapCore, MapFlags, MapHandle, MapType,
    query::{ProgInfoIter, ProgInfoQueryOptions},
};
use pktmeta_core::{FieldInfo, Registry, TlvType};
use std::{collections::BTreeMap, fmt, io};

/// A user of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// The field's number. It may be a retired one.
    pub number: TlvType,
    /// The user.
    pub what: Use,
}

/// See [`User`].
///
/// Exhaustive: code that skips a user would call a field unused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A loaded BPF program that is bound to it.
    Program {
        /// Name, which the kernel may have cut.
        name: String,
        /// The kernel's number for the program.
        id: u32,
    },
    /// A label of `pktmeta up` sets it.
    Label {
        /// Index of the interface.
        ifindex: u32,
    },
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { name, id } => write!(f, "BPF program {name} (id {id})"),
            Self::Label { ifindex } => {
                write!(f, "a label of `pktmeta up` on interface {ifindex}")
            }
        }
    }
}

/// The users of a registry's numbers.
pub(crate) fn all(root: &Dir, registry: &Registry) -> Result<Vec<User>, Error> {
    let mut users = bound_programs()?;
    users.retain(|user| user.registry == Some(registry.id()));
    let mut users: Vec<_> = users.into_iter().map(|bound| bound.user).collect();
    if let Some(pins) = Pins::of_datapath(root)? {
        for id in pins.interface_ids()? {
            let Some(own) = pins.interface(id)? else {
                continue;
            };
            users.extend(labelled_fields(&own)?.into_iter().map(|number| User {
                number,
                what: Use::Label {
                    ifindex: id.ifindex,
                },
            }));
        }
    }
    users.sort_by(|a, b| (a.number, &a.what).cmp(&(b.number, &b.what)));
    Ok(users)
}

/// Loaded programs that are bound to another registry than this one, or by another version.
pub(crate) fn strays(registry: u32) -> Result<Vec<Use>, Error> {
    let mut strays = bound_programs()?;
    strays.retain(|bound| bound.registry != Some(registry));
    let mut strays: Vec<_> = strays.into_iter().map(|bound| bound.user.what).collect();
    strays.sort();
    strays.dedup();
    Ok(strays)
}

/// A use of a number of some registry; `None` if another version bound it.
struct Bound {
    registry: Option<u32>,
    user: User,
}

/// The loaded programs that are bound. Their bindings lie in the frozen map that is their
/// `.rodata`, whichever loader made it.
fn bound_programs() -> Result<Vec<Bound>, Error> {
    host::check_capabilities()?;
    may_look()?;
    let options = ProgInfoQueryOptions::default().include_map_ids(true);
    let mut constants: BTreeMap<u32, Vec<Binding>> = BTreeMap::new();
    let mut users = Vec::new();
    for program in ProgInfoIter::with_query_opts(options) {
        for map in program.map_ids {
            let bindings = constants.entry(map).or_insert_with(|| bindings(map));
            users.extend(bindings.iter().filter_map(|binding| {
                let what = Use::Program {
                    name: program.name.to_string_lossy().into_owned(),
                    id: program.id,
                };
                Some(Bound {
                    registry: binding.is_current().then_some(binding.registry),
                    user: User {
                        number: binding.number()?,
                        what,
                    },
                })
            }));
        }
    }
    Ok(users)
}

/// Asks for program 0, which does not exist: a process that may not look gets `EPERM` instead.
fn may_look() -> Result<(), Error> {
    match sys::program_by_id(0) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let tried = "look for programs that use fields";
            Err(Error::new(ErrorKind::NotPermitted, tried, error)
                .with_remedy("run it as root, or give it CAP_SYS_ADMIN"))
        }
        _ => Ok(()),
    }
}

/// The registry's fields that loaded programs are bound to.
pub(crate) fn fields_of(programs: &[u32], registry: &Registry) -> Result<Vec<FieldInfo>, Error> {
    let mut bound = bound_programs()?;
    bound.retain(|bound| {
        let Use::Program { id, .. } = bound.user.what else {
            return false;
        };
        bound.registry == Some(registry.id()) && programs.contains(&id)
    });
    let fields = registry.fields().iter();
    let is_bound = |field: &&FieldInfo| bound.iter().any(|bound| bound.user.number == field.tlv);
    Ok(fields.filter(is_bound).copied().collect())
}

/// Bytes that a program of this registry reserves in front of packets; `None` if it cannot be seen,
/// or the program is of another registry.
pub(crate) fn area_of(program: u32, registry: u32) -> Result<Option<usize>, Error> {
    may_look()?;
    let options = ProgInfoQueryOptions::default().include_map_ids(true);
    let mut programs = ProgInfoIter::with_query_opts(options);
    let Some(program) = programs.find(|info| info.id == program) else {
        return Ok(None);
    };
    let constants = program.map_ids.into_iter().filter_map(constants);
    // The first members of `struct pktmeta_layout`.
    let areas = constants.filter_map(|bytes| {
        let mut layouts = bytes.chunks_exact(size_of::<u64>());
        layouts.find_map(|start| match start {
            &[area, Binding::VERSION, 0, 0, ref id @ ..] if *id == registry.to_ne_bytes() => {
                (area > 0).then_some(usize::from(area))
            }
            _ => None,
        })
    });
    Ok(areas.max())
}

/// The fields that programs with these constants name; none if the map is something else.
fn bindings(map: u32) -> Vec<Binding> {
    let bytes = constants(map).unwrap_or_default();
    let places = bytes.windows(Binding::SIZE).step_by(align_of::<u32>());
    places.filter_map(Binding::from_bytes).collect()
}

/// The constants of an object, if the map has such.
fn constants(map: u32) -> Option<Vec<u8>> {
    let map = MapHandle::from_map_id(map).ok()?; // else it is gone by now
    let constant = map.map_type() == MapType::Array && map.max_entries() == 1;
    if !constant || !map.name().to_string_lossy().ends_with(".rodata") {
        return None;
    }
    map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).ok()?
}

fn labelled_fields(pins: &Dir) -> Result<Vec<TlvType>, Error> {
    let map = pins.open_map(stores::LABELS.pin)?;
    let values = map
        .keys()
        .filter_map(|key| map.lookup(&key, MapFlags::ANY).ok()?);
    let mut fields: Vec<_> = values.flat_map(|value| labels::fields_of(&value)).collect();
    fields.sort();
    fields.dedup();
    Ok(fields)
}
