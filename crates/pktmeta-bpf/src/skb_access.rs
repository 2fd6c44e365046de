//! How the programs of an object reach a packet: `struct __sk_buff` is the context of hooks at and
//! above TC alike, and only the names of the programs' sections say which.

use crate::error::{Error, ErrorKind};
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind,
    read::elf::ElfFile64,
};

/// `PKTMETA_SKB_*`. An object has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SkbAccess {
    /// By `data_meta`, which only TC programs have.
    Direct = 1,
    /// By the kernel's own `struct sk_buff`, which programs at TC and at hooks above may read.
    Cast = 2,
    /// By the context of a flow dissector.
    Dissector = 3,
}

impl SkbAccess {
    /// The access of an object's programs; `name` is the object's name in messages.
    ///
    /// # Errors
    /// No one way is right for all of its programs, or one would change a packet's record where it
    /// can only be read.
    pub(crate) fn of(name: &str, file: &ElfFile64<'_, Endianness>) -> Result<Self, Error> {
        let mut hooks = [None, None, None];
        for section in file.sections() {
            let Ok(section_name) = section.name() else {
                continue;
            };
            let Some(access) = Self::of_section(section_name) else {
                continue;
            };
            if section.kind() != SectionKind::Text {
                continue;
            }
            hooks[access as usize - 1] = Some(section_name);
            if access == Self::Direct {
                continue;
            }
            let writes = section.relocations().any(|(_, relocation)| {
                let RelocationTarget::Symbol(symbol) = relocation.target() else {
                    return false;
                };
                let symbol = file.symbol_by_index(symbol);
                symbol.is_ok_and(|symbol| symbol.name().is_ok_and(|name| WRITERS.contains(&name)))
            });
            if writes {
                let why = format!(
                    "a program in section {section_name} changes the packet's record, which can \
                     only be read there"
                );
                return Err(Error::new(ErrorKind::Invalid, format!("read {name}"), why)
                    .with_remedy(
                        "call pktmeta_set(), pktmeta_delete() and pktmeta_compact() at XDP or TC",
                    ));
            }
        }
        match hooks {
            [_, None, None] if hooks[0].is_some() => Ok(Self::Direct),
            [None, None, Some(_)] => Ok(Self::Dissector),
            [_, _, None] => Ok(Self::Cast),
            [one, other, Some(dissector)] => {
                let other = other.or(one).unwrap_or_default();
                let why = format!("it has programs in the sections {dissector} and {other}");
                Err(Error::new(ErrorKind::Invalid, format!("read {name}"), why)
                    .with_remedy("compile the flow dissector to an object of its own"))
            }
        }
    }

    /// The access of programs in a section, if it is one of libbpf's for programs with a `struct
    /// __sk_buff` (`section_defs` of libbpf.c).
    fn of_section(name: &str) -> Option<Self> {
        let name = name.strip_prefix('?').unwrap_or(name);
        let (first, rest) = name.split_once('/').unwrap_or((name, ""));
        match first {
            "tc" | "tcx" | "classifier" | "action" | "netkit" => Some(Self::Direct),
            "socket" | "cgroup_skb" | "lwt_in" | "lwt_out" | "lwt_xmit" | "lwt_seg6local" => {
                Some(Self::Cast)
            }
            "sk_skb" => Some(Self::Cast),
            "cgroup" if rest == "skb" => Some(Self::Cast),
            "flow_dissector" => Some(Self::Dissector),
            _ => None,
        }
    }

    /// The value of the programs' constant.
    pub(crate) fn to_bytes(self) -> [u8; 4] {
        (self as u32).to_le_bytes()
    }
}

/// The functions of the header library that write to the record of a `struct __sk_buff`.
const WRITERS: [&str; 3] = [
    "pktmeta_skb_make",
    "pktmeta_skb_remove",
    "pktmeta_skb_compact",
];
