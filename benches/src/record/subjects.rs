//! What is compared: operations, and for each the alternatives.

use super::objects::{Anatomy, Family, MIXED_SIZES, Objects, record, value};
use anyhow::Context;

/// Where programs run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hook {
    Xdp,
    Tc,
}

impl Hook {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tc => "tc",
        }
    }
}

/// One alternative of one operation, or a base.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) hook: Hook,
    pub(super) operation: &'static str,
    pub(super) alternative: &'static str,
    pub(super) family: Family,
    /// Its programs are called `<hook>_loop_<program>`, `<hook>_once_<program>` and so on.
    pub(super) program: &'static str,
    /// What its loop is compared with.
    pub(super) base: Base,
    /// In front of the packet before.
    pub(super) metadata: Vec<u8>,
    /// Must be somewhere in the metadata behind a run, and must not before.
    pub(super) leaves: &'static [u8],
    /// Operations in a run.
    pub(super) operations: f64,
    pub(super) anatomy: Anatomy,
}

impl Subject {
    /// Whether there is a program that does its operations apart.
    pub(super) fn has_apart(&self) -> bool {
        self.hook == Hook::Xdp && self.operations > 1.0
    }

    /// What a nanosecond is to one operation: the kernel counts whole ones for a run.
    pub(super) fn tick(&self) -> f64 {
        1.0 / self.operations
    }
}

/// A loop that does everything but the operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Base {
    pub(super) family: Family,
    pub(super) program: &'static str,
}

impl Base {
    pub(super) fn name(self) -> &'static str {
        match self.family {
            Family::Traits => "reset traits",
            Family::Pktmeta => "reset pktmeta",
            _ => self.program,
        }
    }
}

/// `OPERATIONS` in `measure.h`.
const OPERATIONS: f64 = 256.0;

/// Bytes in front of packets, whatever is in them: enough for each.
const AREA: usize = 104;

/// What programs set: `SET_4` and `SET_8`.
const SET: &[u8] = &[0x5e; 4];

const EMPTY: Base = Base {
    family: Family::Empty,
    program: "empty",
};
const EMPTY_CREATE: Base = Base {
    family: Family::Empty,
    program: "empty_create",
};
/// Undo what `set_hot_anew` did, so that it can again.
const FORGET_TRAIT: Base = Base {
    family: Family::Traits,
    program: "forget_hot",
};
const FORGET_FIELD: Base = Base {
    family: Family::Pktmeta,
    program: "forget_hot",
};

pub(super) const RAW: &str = "raw struct";
pub(super) const TRAITS: &str = "traits";
pub(super) const PKTMETA: &str = "pktmeta";

/// Everything that is measured, bases too, operation by operation.
pub(super) fn subjects(objects: &Objects) -> anyhow::Result<Vec<Subject>> {
    let metadata = Contents::new(objects)?;
    let mut subjects = bases(&metadata);
    subjects.extend(xdp(&metadata));
    subjects.extend(tc(&metadata));
    for subject in &mut subjects {
        subject.anatomy = anatomy(objects, subject).with_context(|| {
            format!(
                "look at program {} of {:?}",
                subject.program, subject.family
            )
        })?;
    }
    Ok(subjects)
}

/// Metadata to start with.
struct Contents {
    raw: Vec<u8>,
    traits_hot: Vec<u8>,
    traits_cold: Vec<u8>,
    traits_hot_cold: Vec<u8>,
    traits_mixed: Vec<u8>,
    /// All keys but the first.
    traits_move: Vec<u8>,
    hot: Vec<u8>,
    cold: Vec<u8>,
    hot_cold: Vec<u8>,
    mixed: Vec<u8>,
}

impl Contents {
    fn new(objects: &Objects) -> anyhow::Result<Self> {
        let hot = [4; 4].as_slice();
        let cold = [8; 8].as_slice();
        let area = |prefixes: &[&str]| {
            let record = record(objects, prefixes)?;
            Ok::<_, anyhow::Error>(objects.enclose(&record))
        };
        Ok(Self {
            raw: padded([values(hot), values(cold)].concat()),
            traits_hot: padded(traits(0, &[hot])),
            traits_cold: padded(traits(0, &[cold])),
            traits_hot_cold: padded(traits(0, &[hot, cold])),
            traits_mixed: padded(traits(0, &[&MIXED_SIZES])),
            traits_move: padded(traits(1, &[cold])),
            hot: area(&["hot_"])?,
            cold: area(&["cold_"])?,
            hot_cold: area(&["hot_", "cold_"])?,
            mixed: area(&["mixed_"])?,
        })
    }
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(AREA.max(bytes.len()), 0);
    bytes
}

/// Values of these sizes, one after another.
fn values(sizes: &[u8]) -> Vec<u8> {
    let numbered = (0..).zip(sizes);
    numbered.flat_map(|(n, &size)| value(n, size)).collect()
}

/// `struct traits` and its values, of these sizes, from a key on.
fn traits(first_key: u32, groups: &[&[u8]]) -> Vec<u8> {
    let (mut high, mut low) = (0u64, 0u64);
    for (&size, key) in groups.concat().iter().zip(first_key..) {
        high |= u64::from(size >= 4) << key;
        low |= u64::from(size != 4) << key;
    }
    let mut bytes = [high, low].map(u64::to_ne_bytes).concat();
    bytes.extend(groups.iter().flat_map(|sizes| values(sizes)));
    bytes
}

fn bases(contents: &Contents) -> Vec<Subject> {
    let base = |hook, base: Base, metadata: &Vec<u8>, operations| Subject {
        hook,
        operation: "(base)",
        alternative: "",
        family: base.family,
        program: base.program,
        base,
        metadata: metadata.clone(),
        leaves: &[],
        operations,
        anatomy: Anatomy::default(),
    };
    vec![
        base(Hook::Xdp, EMPTY, &contents.raw, OPERATIONS),
        base(Hook::Xdp, EMPTY_CREATE, &contents.raw, 1.0),
        base(Hook::Xdp, FORGET_TRAIT, &contents.traits_hot, OPERATIONS),
        base(Hook::Xdp, FORGET_FIELD, &contents.hot, OPERATIONS),
        base(Hook::Tc, EMPTY, &contents.raw, OPERATIONS),
    ]
}

/// Alternatives of one operation: who, program, metadata.
type Alternatives<'a> = Vec<(&'static str, Family, &'static str, &'a Vec<u8>)>;

fn xdp(contents: &Contents) -> Vec<Subject> {
    use Family::{Hash, Pktmeta, PktmetaHot, Raw, Traits};
    let Contents {
        raw,
        traits_hot,
        traits_cold,
        traits_hot_cold,
        traits_mixed,
        traits_move,
        hot,
        cold,
        hot_cold,
        mixed,
    } = contents;
    let operations: Vec<(&str, &'static [u8], Alternatives<'_>)> = vec![
        (
            "get hot, 3rd of 4 u32",
            &[],
            vec![
                (RAW, Raw, "get_hot", raw),
                (TRAITS, Traits, "get_hot", traits_hot),
                (PKTMETA, Pktmeta, "get_hot", hot),
            ],
        ),
        (
            "set hot, overwrites",
            SET,
            vec![
                (RAW, Raw, "set_hot", raw),
                (TRAITS, Traits, "set_hot", traits_hot),
                (PKTMETA, Pktmeta, "set_hot", hot),
            ],
        ),
        (
            "set hot, adds it",
            SET,
            vec![
                (RAW, Raw, "set_hot", raw),
                (TRAITS, Traits, "set_hot_anew", traits_hot),
                (PKTMETA, Pktmeta, "set_hot_anew", hot),
            ],
        ),
        (
            "get first of 8 cold u64",
            &[],
            vec![
                (RAW, Raw, "get_first", raw),
                (TRAITS, Traits, "get_first", traits_cold),
                (PKTMETA, Pktmeta, "get_first", cold),
            ],
        ),
        (
            "get last of 8 cold u64",
            &[],
            vec![
                (RAW, Raw, "get_last", raw),
                (TRAITS, Traits, "get_last", traits_cold),
                ("hash map of 1", Hash, "get_one", raw),
                ("hash map of 1, parses", Hash, "get_one_parsed", raw),
                ("hash map of 64k", Hash, "get_many", raw),
                ("hash map of 64k, parses", Hash, "get_many_parsed", raw),
                (PKTMETA, Pktmeta, "get_last", cold),
            ],
        ),
        (
            "... and 4 hot before it",
            &[],
            vec![
                (RAW, Raw, "get_last", raw),
                (TRAITS, Traits, "get_last_behind_hot", traits_hot_cold),
                (PKTMETA, Pktmeta, "get_last", hot_cold),
            ],
        ),
        (
            "get last of 8 cold, mixed",
            &[],
            vec![
                (RAW, Raw, "get_last", raw),
                (TRAITS, Traits, "get_last", traits_mixed),
                (PKTMETA, Pktmeta, "get_mixed", mixed),
            ],
        ),
        (
            "get absent, 8 cold",
            &[],
            vec![
                (TRAITS, Traits, "get_absent", traits_cold),
                (PKTMETA, Pktmeta, "get_absent", cold),
            ],
        ),
        (
            "set last of 8 cold u64",
            SET,
            vec![
                (RAW, Raw, "set_last", raw),
                (TRAITS, Traits, "set_last", traits_cold),
                (PKTMETA, Pktmeta, "set_last", cold),
            ],
        ),
        (
            MOVE,
            &[],
            vec![
                (TRAITS, Traits, "move", traits_move),
                (PKTMETA, Pktmeta, "move", cold),
                ("pktmeta, hot of 4", Pktmeta, "move_hot", hot),
            ],
        ),
        (
            CREATE,
            SET,
            vec![
                (RAW, Raw, "create", raw),
                (TRAITS, Traits, "create", raw),
                (PKTMETA, PktmetaHot, "create", raw),
                ("pktmeta, area for 21", Pktmeta, "create", raw),
            ],
        ),
    ];
    flatten(Hook::Xdp, operations)
}

/// Set and delete: two operations in one.
const MOVE: &str = "move: set and delete, halved";
/// Needs metadata to be taken away before.
const CREATE: &str = "make 4 hot from nothing";

fn tc(contents: &Contents) -> Vec<Subject> {
    use Family::{Hash, Pktmeta, Raw, Traits};
    let Contents {
        raw,
        traits_hot,
        traits_cold,
        hot,
        cold,
        ..
    } = contents;
    let operations: Vec<(&str, &'static [u8], Alternatives<'_>)> = vec![
        (
            "get hot, 3rd of 4 u32",
            &[],
            vec![
                (RAW, Raw, "get_hot", raw),
                (TRAITS, Traits, "get_hot", traits_hot),
                (PKTMETA, Pktmeta, "get_hot", hot),
            ],
        ),
        (
            "get last of 8 cold u64",
            &[],
            vec![
                (RAW, Raw, "get_last", raw),
                (TRAITS, Traits, "get_last", traits_cold),
                ("hash map of 64k", Hash, "get_many", raw),
                ("hash map of 64k, parses", Hash, "get_many_parsed", raw),
                (PKTMETA, Pktmeta, "get_last", cold),
            ],
        ),
        (
            "set hot, overwrites",
            &[],
            vec![
                (RAW, Raw, "set_hot", raw),
                ("raw struct, dynptr", Raw, "set_hot_dynptr", raw),
                (PKTMETA, Pktmeta, "set_hot", hot),
            ],
        ),
    ];
    flatten(Hook::Tc, operations)
}

fn flatten(
    hook: Hook,
    operations: Vec<(&'static str, &'static [u8], Alternatives<'_>)>,
) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for (operation, leaves, alternatives) in operations {
        for (alternative, family, program, metadata) in alternatives {
            subjects.push(Subject {
                hook,
                operation,
                alternative,
                family,
                program,
                base: match (program, family) {
                    ("create", _) => EMPTY_CREATE,
                    ("set_hot_anew", Family::Traits) => FORGET_TRAIT,
                    ("set_hot_anew", _) => FORGET_FIELD,
                    _ => EMPTY,
                },
                metadata: metadata.clone(),
                leaves,
                operations: match operation {
                    MOVE => 2.0 * OPERATIONS,
                    CREATE => 1.0,
                    _ => OPERATIONS,
                },
                anatomy: Anatomy::default(),
            });
        }
    }
    subjects
}

/// What one operation consists of: a program that does it once, without an empty one.
fn anatomy(objects: &Objects, subject: &Subject) -> anyhow::Result<Anatomy> {
    let once = |base: Base| {
        let name = format!("{}_once_{}", subject.hook.name(), base.program);
        Ok::<_, anyhow::Error>(Anatomy::of(objects.program(base.family, &name)?)?)
    };
    let own = Base {
        family: subject.family,
        program: subject.program,
    };
    Ok(once(own)?.beyond(once(subject.base)?))
}
