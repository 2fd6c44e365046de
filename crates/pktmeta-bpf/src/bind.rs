//! Binding: a program's source names its fields, the registry numbers them, and this module writes
//! the numbers into the compiled object. Any loader can load the result.

use crate::{
    error::{Error, ErrorKind},
    secret::new_secret,
    skb_access::SkbAccess,
};
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, elf, read::elf::ElfFile64,
};
use pktmeta_core::{
    FieldInfo, FieldName, Registry, Tag, TlvType,
    schema::nearest,
    seal::{self, Secret},
};

/// A BPF object whose constants can be set: an ELF file before it is loaded.
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    bytes: Vec<u8>,
    constants: Vec<Constant>,
    skb_access: SkbAccess,
}

impl Image {
    /// Reads an ELF file; `name` is what messages call it.
    ///
    /// # Errors
    /// It is not a BPF object for this machine's byte order, or was compiled with headers of
    /// another version.
    pub fn parse(name: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        let no_object = |why| {
            Error::new(ErrorKind::Invalid, format!("read {name}"), why)
                .with_remedy("compile it with clang -target bpf -g -O2 -c")
        };
        let file = elf(&bytes).map_err(no_object)?;
        let constants = constants(&file);
        let skb_access = SkbAccess::of(name, &file)?;
        let unknown = |constant: &&Constant| {
            let bytes = bytes.get(constant.range()).unwrap_or_default();
            match constant {
                constant if constant.is_field() => {
                    !Binding::from_bytes(bytes).is_some_and(|binding| binding.is_current())
                }
                constant if constant.name == LAYOUT => !Layout::is_current(bytes),
                constant if constant.name == SECRET => bytes.len() != size_of::<Secret>(),
                constant if constant.name == SKB_ACCESS => bytes.len() != size_of::<u32>(),
                _ => false,
            }
        };
        if let Some(unknown) = constants.iter().find(unknown) {
            let why = format!("{} has another form than this command knows", unknown.name);
            return Err(Error::new(ErrorKind::Unusable, format!("read {name}"), why)
                .with_remedy("compile it with the headers of this version of pktmeta"));
        }
        Ok(Self {
            name: name.into(),
            bytes,
            constants,
            skb_access,
        })
    }

    /// The file as it is now.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The fields that the programs name, bound or not, by name.
    #[must_use]
    pub fn fields(&self) -> Vec<Binding> {
        let fields = self.constants.iter().filter(|constant| constant.is_field());
        let mut fields: Vec<_> = fields
            .filter_map(|constant| Binding::from_bytes(self.bytes.get(constant.range())?))
            .collect();
        fields.sort_by_key(|field| field.name);
        fields
    }

    /// [`Registry::id`] of the registry that it is bound to; `None` until it is bound.
    #[must_use]
    pub fn registry(&self) -> Option<u32> {
        let mut layouts = self
            .constants
            .iter()
            .filter(|constant| constant.name == LAYOUT);
        let bytes = self.bytes.get(layouts.next()?.range())?;
        Layout::registry(bytes).filter(|&id| id != 0)
    }

    /// Gives each field that is in the registry its number there, and the programs the layout and
    /// the secret of the host's records. Other fields, and those of `unbound`, stay unbound: the
    /// programs neither read nor write them. For a registry without an id, which no host has, a
    /// missing secret is made up.
    ///
    /// # Errors
    /// The registry has another size for a field than the programs; the message shows both. Or the
    /// host's secret is not known.
    pub fn bind(&mut self, registry: &Registry, unbound: &[String]) -> Result<(), Error> {
        let fail = |name: &str, why: String| {
            Err(Error::new(
                ErrorKind::Invalid,
                format!("bind the fields of {name}"),
                why,
            )
            .with_remedy("give the field the same type in the program and in its schema"))
        };
        let secret = match registry.secret() {
            Some(secret) => secret,
            None if registry.id() == 0 => new_secret()?,
            None => {
                let tried = format!("bind {} to this host's registry", self.name);
                let why = "its secret cannot be read, or another version of pktmeta made it";
                return Err(Error::new(ErrorKind::NotPermitted, tried, why).with_remedy(
                    "run it as root; if that does not help, make the registry anew: `pktmeta \
                     down`, `pktmeta registry remove --all`, then register and `up` again",
                ));
            }
        };
        for constant in &self.constants {
            let Some(place) = self.bytes.get_mut(constant.range()) else {
                continue;
            };
            if constant.name == LAYOUT {
                Layout::write(place, registry, secret);
            } else if constant.name == SECRET {
                place.copy_from_slice(&secret.bits().to_le_bytes());
            } else if constant.name == SKB_ACCESS {
                place.copy_from_slice(&self.skb_access.to_bytes());
            } else if constant.is_field()
                && let Some(mut binding) = Binding::from_bytes(place)
            {
                let name = binding.name.as_str();
                let info = registry
                    .by_name(name)
                    .filter(|_| !unbound.iter().any(|other| other == name));
                if let Some(info) = info
                    && (info.kind.size(), info.kind.is_variable())
                        != (binding.size, binding.is_variable())
                {
                    return fail(&self.name, binding.differs(info));
                }
                binding.set(registry, info);
                place.copy_from_slice(&binding.to_bytes());
            }
        }
        Ok(())
    }

    /// Checks that every field has its number in the registry that it was bound to.
    ///
    /// # Errors
    /// Some have none: the message names them, with the nearest registered names.
    pub fn check_bound(&self, registry: &Registry) -> Result<(), Error> {
        let known: Vec<_> = registry
            .fields()
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        let fields = self.fields();
        let unbound = fields.iter().filter(|field| field.number().is_none());
        let unbound: Vec<_> = unbound
            .map(|field| {
                let near = nearest(field.name.as_str(), &known)
                    .map_or_else(String::new, |near| format!("; did you mean {near}?"));
                format!("{} ({}{near})", field.name, field.shape())
            })
            .collect();
        match unbound.is_empty() {
            true => Ok(()),
            false => {
                let tried = format!("bind the fields of {}", self.name);
                let why = format!("nobody registered {} on this host", unbound.join(", "));
                Err(Error::new(ErrorKind::NotFound, tried, why).with_remedy(
                    "name the schemas that define them with --schema, or leave them unread and \
                     unwritten with --allow-unbound",
                ))
            }
        }
    }

    /// Sets a `const volatile` global.
    ///
    /// # Errors
    /// It has another size. A global that the object lacks is no error: the compiler leaves out
    /// what nothing uses.
    pub fn set(&mut self, global: &str, value: &[u8]) -> Result<(), Error> {
        let constant = self
            .constants
            .iter()
            .find(|constant| constant.name == global);
        let place = constant.and_then(|constant| self.bytes.get_mut(constant.range()));
        match place {
            None => Ok(()),
            Some(place) if place.len() == value.len() => {
                place.copy_from_slice(value);
                Ok(())
            }
            Some(place) => Err(Error::new(
                ErrorKind::Invalid,
                format!("set {global} of {}", self.name),
                format!("it has {} bytes, not {}", place.len(), value.len()),
            )),
        }
    }
}

#[cfg(test)]
impl Image {
    /// The names of its maps.
    pub(crate) fn maps(&self) -> Result<Vec<String>, object::Error> {
        let file = ElfFile64::<Endianness>::parse(&self.bytes[..])?;
        let symbols = file.symbols().filter_map(|symbol| {
            let section = file.section_by_index(symbol.section_index()?).ok()?;
            (section.name() == Ok(".maps")).then(|| symbol.name().unwrap_or_default().to_owned())
        });
        Ok(symbols.filter(|name| !name.is_empty()).collect())
    }

    /// The globals that are neither fields nor the host's records.
    pub(crate) fn globals(&self) -> impl Iterator<Item = String> {
        let own = self.constants.iter().filter(|it| !it.name.is_empty());
        let own = own.filter(|it| !it.name.starts_with("pktmeta_"));
        own.map(|it| it.name.clone())
    }
}

/// A field as a program declares it, with the number that a loader gave it: `struct
/// pktmeta_binding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The field's name.
    pub name: FieldName,
    /// Its tag on this host; 0 if it is not bound.
    pub tag: u8,
    /// Bytes of its values, at most.
    pub size: u8,
    /// [`Registry::id`] of the registry that gave it the tag.
    pub registry: u32,
    version: u8,
    until: u8,
    flags: u8,
}

impl Binding {
    /// Bytes of one.
    pub const SIZE: usize = 12 + FieldName::CAPACITY;

    /// Its first bytes, by which bindings are found in loaded programs.
    pub const MAGIC: [u8; 3] = *b"PMf";

    /// The byte that follows them: `PKTMETA_BINDING_VERSION`. Programs of different versions do not
    /// believe each other's records.
    pub const VERSION: u8 = 2;

    const VARIABLE: u8 = 1 << 7;

    /// Reads one, bound or not.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (header, name) = bytes.split_at_checked(12)?;
        let (magic, &[version, tag, size, until, flags, r0, r1, r2, r3]) = header.split_at(3)
        else {
            return None;
        };
        let known = magic == Self::MAGIC && bytes.len() == Self::SIZE;
        known.then_some(())?;
        Some(Self {
            name: FieldName::from_padded(name)?,
            tag,
            size,
            registry: u32::from_le_bytes([r0, r1, r2, r3]),
            version,
            until,
            flags,
        })
    }

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..3].copy_from_slice(&Self::MAGIC);
        bytes[3] = self.version;
        bytes[4..8].copy_from_slice(&[self.tag, self.size, self.until, self.flags]);
        bytes[8..12].copy_from_slice(&self.registry.to_le_bytes());
        bytes[12..].copy_from_slice(self.name.as_padded());
        bytes
    }

    /// True if its program was compiled with headers of this version.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.version == Self::VERSION
    }

    /// Its number in the registry that it is bound to.
    #[must_use]
    pub fn number(&self) -> Option<TlvType> {
        Tag::from_byte(self.tag)?.tlv()
    }

    /// The form of its values in the program, as a phrase.
    #[must_use]
    pub fn shape(&self) -> String {
        let up_to = if self.is_variable() { "up to " } else { "" };
        let s = if self.size == 1 { "" } else { "s" };
        format!("{up_to}{} byte{s}", self.size)
    }

    fn is_variable(&self) -> bool {
        self.flags & Self::VARIABLE != 0
    }

    fn set(&mut self, registry: &Registry, info: Option<&FieldInfo>) {
        self.tag = info.map_or(0, |info| info.tag().byte());
        self.registry = info.map_or(0, |_| registry.id());
        // A place ends within the record.
        self.until = info.map_or(0, |info| {
            info.place
                .map_or(0, |place| place + info.kind.tlv_size() as u8)
        });
        self.flags &= Self::VARIABLE;
        self.flags |= info.map_or(0, |info| info.policy.writers.bits());
    }

    fn differs(&self, info: &FieldInfo) -> String {
        format!(
            "field {} has {} in the program, but owner {} registered it as {} with {}",
            info.name,
            self.shape(),
            info.owner,
            info.kind,
            info.kind.size()
        )
    }
}

/// Prefix of the globals by which the header library names fields.
const FIELD_PREFIX: &str = "pktmeta_field_";

/// The global with the layout of this host's records: `struct pktmeta_layout`.
const LAYOUT: &str = "pktmeta_layout";

/// The global with the secret by which programs above TC know the host's records.
const SECRET: &str = "pktmeta_secret";

/// The global with the way in which programs reach the packet of a `struct __sk_buff`.
const SKB_ACCESS: &str = "pktmeta_skb_access";

/// `struct pktmeta_layout`: area, version, two reserved bytes, registry, secret, seal, template.
struct Layout;

impl Layout {
    const TEMPLATE_AT: usize = 24;
    const SIZE: usize = Self::TEMPLATE_AT + seal::AREA_MAX;

    fn is_current(bytes: &[u8]) -> bool {
        bytes.len() == Self::SIZE && bytes[1] == Binding::VERSION
    }

    fn registry(bytes: &[u8]) -> Option<u32> {
        bytes[4..].first_chunk().copied().map(u32::from_le_bytes)
    }

    /// Writes one, whose size is known to be right.
    fn write(place: &mut [u8], registry: &Registry, secret: Secret) {
        let layout = registry.layout();
        let template = secret.enclose(&layout.template, layout.area.min(seal::AREA_MAX));
        let (numbers, rest) = place.split_at_mut(Self::TEMPLATE_AT);
        numbers[..4].copy_from_slice(&[template.len() as u8, Binding::VERSION, 0, 0]);
        numbers[4..8].copy_from_slice(&registry.id().to_le_bytes());
        numbers[8..16].copy_from_slice(&secret.bits().to_le_bytes());
        numbers[16..].copy_from_slice(&secret.seal(template.len()));
        rest.fill(0);
        // A template has at most as many bytes as an area.
        rest[..template.len()].copy_from_slice(&template);
    }
}

/// A `const volatile` global: its name and where the file has its value.
#[derive(Clone, Debug)]
struct Constant {
    name: String,
    start: usize,
    size: usize,
}

impl Constant {
    fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start.saturating_add(self.size)
    }

    fn is_field(&self) -> bool {
        self.name.starts_with(FIELD_PREFIX)
    }
}

fn elf(bytes: &[u8]) -> Result<ElfFile64<'_, Endianness>, String> {
    let file =
        ElfFile64::<Endianness>::parse(bytes).map_err(|error| format!("no ELF object: {error}"))?;
    if file.elf_header().e_machine.get(file.endian()) != elf::EM_BPF {
        return Err("an ELF file, but not for BPF".into());
    }
    if file.is_little_endian() != cfg!(target_endian = "little") {
        return Err("compiled for a machine with the other byte order".into());
    }
    Ok(file)
}

fn constants(file: &ElfFile64<'_, Endianness>) -> Vec<Constant> {
    let symbols = file.symbols().filter_map(|symbol| {
        let section = file.section_by_index(symbol.section_index()?).ok()?;
        section.name().ok()?.starts_with(".rodata").then_some(())?;
        let (offset, _) = section.file_range()?;
        Some(Constant {
            name: symbol.name().ok()?.to_owned(),
            start: usize::try_from(offset.checked_add(symbol.address())?).ok()?,
            size: usize::try_from(symbol.size()).ok()?,
        })
    });
    symbols.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures;

    #[test]
    fn what_is_written_into_an_object_is_where_its_programs_look_for_it() {
        let binding = [
            ("magic", 0),
            ("version", 3),
            ("tag", 4),
            ("size", 5),
            ("until", 6),
            ("flags", 7),
            ("registry", 8),
            ("name", 12),
        ];
        let header = "pktmeta/pktmeta.bpf.h";
        structures::check(header, "pktmeta_binding", Binding::SIZE, &binding);
        let layout = [
            ("area", 0),
            ("version", 1),
            ("registry", 4),
            ("secret", 8),
            ("seal", 16),
            ("template", Layout::TEMPLATE_AT),
        ];
        structures::check(header, "pktmeta_layout", Layout::SIZE, &layout);
    }
}
