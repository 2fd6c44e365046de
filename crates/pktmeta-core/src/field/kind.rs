//! The types that fields can have: one table of them, and the functions that read it.

use super::misspelt::Misspelt;
use crate::record::{Tag, TlvType};
use alloc::{format, string::String, vec::Vec};
use core::{fmt, str::FromStr};

/// A row: documentation, variant, number in the ABI, the number's name in the ABI, and spelling.
/// [`Value`](super::Value) and [`FieldType`](super::FieldType) have the values of such kinds.
macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $kind:ident $({ $(#[$size_doc:meta])* $size:ident })? = $code:literal $constant:literal,
        $spelling:expr;
    )*) => {
        /// The type of a field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $kind $({ $(#[$size_doc])* $size: u8 })?,)*
        }

        impl Kind {
            const FAMILIES: &[Family] =
                &[$(Family { code: $code, constant: $constant, spelling: $spelling }),*];

            /// Bytes of a value, at most.
            #[must_use]
            #[inline]
            pub const fn size(self) -> u8 {
                match self {
                    $(Self::$kind $({ $size })? => kinds!(@size $($size)? $spelling),)*
                }
            }

            /// The kind's number in a [`crate::FieldInfo`].
            #[must_use]
            #[inline]
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$kind { .. } => $code,)*
                }
            }

            /// The kind with this number and size.
            #[must_use]
            pub const fn from_code(code: u8, bytes: u8) -> Option<Self> {
                match code {
                    $($code if $spelling.admits(bytes) => {
                        Some(Self::$kind $({ $size: bytes })?)
                    })*
                    _ => None,
                }
            }
        }
    };
    (@size $size:ident $spelling:expr) => { $size };
    (@size $spelling:expr) => { const { $spelling.only_size() } };
}

kinds! {
    /// `flag`: no bytes; a record has it or not.
    Flag = 13 "PKTMETA_KIND_FLAG", Spelling::Word("flag", 0);

    /// `bool`: one byte, 0 or 1.
    Bool = 2 "PKTMETA_KIND_BOOL", Spelling::Word("bool", 1);

    /// `u8` to `u128`: unsigned integer.
    Unsigned {
        /// Bytes: 1, 2, 4, 8 or 16.
        size
    } = 1 "PKTMETA_KIND_UNSIGNED", Spelling::Bits("u", 16);

    /// `i8` to `i128`: signed integer, two's complement.
    Signed {
        /// Bytes: 1, 2, 4, 8 or 16.
        size
    } = 7 "PKTMETA_KIND_SIGNED", Spelling::Bits("i", 16);

    /// `enum8` to `enum32`: a number that its schema gives names to.
    Enum {
        /// Bytes: 1, 2 or 4.
        size
    } = 8 "PKTMETA_KIND_ENUM", Spelling::Bits("enum", 4);

    /// `bits8` to `bits64`: a set of bits that its schema gives names to.
    Bits {
        /// Bytes: 1, 2, 4 or 8.
        size
    } = 9 "PKTMETA_KIND_BITS", Spelling::Bits("bits", 8);

    /// `timestamp`: nanoseconds, 8 bytes; the field's documentation names the clock.
    Timestamp = 10 "PKTMETA_KIND_TIMESTAMP", Spelling::Word("timestamp", 8);

    /// `ipv4`: IPv4 address, 4 bytes.
    Ipv4 = 3 "PKTMETA_KIND_IPV4", Spelling::Word("ipv4", 4);

    /// `ipv6`: IPv6 address, 16 bytes.
    Ipv6 = 4 "PKTMETA_KIND_IPV6", Spelling::Word("ipv6", 16);

    /// `socket`: IPv6 address, 16 bytes, and port, 2 bytes; an IPv4 address as `::ffff:a.b.c.d`.
    Socket = 11 "PKTMETA_KIND_SOCKET", Spelling::Word("socket", 18);

    /// `mac`: MAC address, 6 bytes.
    Mac = 5 "PKTMETA_KIND_MAC", Spelling::Word("mac", 6);

    /// `bytes[N]`: a fixed number of bytes.
    Bytes {
        /// Bytes: 1 to 64.
        size
    } = 6 "PKTMETA_KIND_BYTES", Spelling::Bytes("bytes[");

    /// `bytes[..N]`: up to a number of bytes.
    Variable {
        /// Most bytes: 1 to 64.
        max
    } = 12 "PKTMETA_KIND_VARIABLE", Spelling::Bytes("bytes[..");
}

impl Kind {
    /// Most bytes of a value.
    pub const BYTES_MAX: u8 = 64;

    /// Every kind, in each of its sizes.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::FAMILIES.iter().flat_map(|family| {
            (0..=Self::BYTES_MAX).filter_map(|size| Self::from_code(family.code, size))
        })
    }

    /// Each number of a kind, with its name in the ABI.
    pub fn constants() -> impl Iterator<Item = (&'static str, u8)> {
        let families = Self::FAMILIES.iter();
        families.map(|family| (family.constant, family.code))
    }

    /// The name of [`Kind::code`] in the ABI: `PKTMETA_KIND_BOOL`.
    #[must_use]
    pub fn constant(self) -> &'static str {
        self.family().constant
    }

    /// True if values differ in size.
    #[must_use]
    pub const fn is_variable(self) -> bool {
        matches!(self, Self::Variable { .. })
    }

    /// The tag of a field that has this kind and the number `tlv`.
    #[must_use]
    #[inline]
    pub const fn tag(self, tlv: TlvType) -> Tag {
        match self {
            Self::Variable { .. } => Tag::sized(tlv),
            _ => Tag::fixed(tlv, self.size()),
        }
    }

    /// Bytes of a record that a field of this kind takes, at most.
    #[must_use]
    pub const fn tlv_size(self) -> usize {
        let header = match self {
            Self::Variable { .. } => 2,
            _ => Tag::header_size(self.size()),
        };
        header + self.size() as usize
    }

    /// The names that schemas can use, as a phrase.
    #[must_use]
    pub fn names() -> String {
        let names = Kind::FAMILIES.iter().map(|family| match family.spelling {
            Spelling::Word(word, _) => word.into(),
            Spelling::Bits(word, max) => format!("{word}8 to {word}{}", u16::from(max) * 8),
            Spelling::Bytes(word) => format!("{word}N]"),
        });
        let names: Vec<String> = names.collect();
        let (last, others) = names
            .split_last()
            .map_or(("", &[][..]), |(last, others)| (last, others));
        let max = Kind::BYTES_MAX;
        format!("{} or {last} with N from 1 to {max}", others.join(", "))
    }

    fn family(self) -> &'static Family {
        let mut families = Self::FAMILIES.iter();
        let family = families.find(|family| family.code == self.code());
        family.unwrap_or(&Self::FAMILIES[0]) // never: all are there
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size();
        match self.family().spelling {
            Spelling::Word(word, _) => f.pad(word),
            Spelling::Bits(word, _) => write!(f, "{word}{}", u16::from(size) * 8),
            Spelling::Bytes(word) => write!(f, "{word}{size}]"),
        }
    }
}

impl FromStr for Kind {
    type Err = Misspelt;

    fn from_str(name: &str) -> Result<Self, Misspelt> {
        let mut families = Self::FAMILIES.iter();
        let kind = families
            .find_map(|family| Self::from_code(family.code, family.spelling.size_of(name)?));
        kind.ok_or_else(|| Misspelt::new(format!("one of {}", Self::names())))
    }
}

/// The kinds that share one number.
struct Family {
    code: u8,
    constant: &'static str,
    spelling: Spelling,
}

/// The spelling of a family's kinds in schemas, which implies their sizes.
#[derive(Clone, Copy)]
enum Spelling {
    /// A word; values have this size.
    Word(&'static str, u8),
    /// A word with the number of bits behind it. Sizes are 1, 2, 4 and so on, up to this one.
    Bits(&'static str, u8),
    /// A word with the number of bytes and `]` behind it. Sizes are 1 to [`Kind::BYTES_MAX`].
    Bytes(&'static str),
}

impl Spelling {
    const fn admits(self, size: u8) -> bool {
        match self {
            Self::Word(_, only) => size == only,
            Self::Bits(_, max) => size.is_power_of_two() && size <= max,
            Self::Bytes(_) => 1 <= size && size <= Kind::BYTES_MAX,
        }
    }

    /// The size of a family that has but one.
    const fn only_size(self) -> u8 {
        match self {
            Self::Word(_, size) => size,
            Self::Bits(..) | Self::Bytes(_) => panic!("a kind of several sizes has a field for it"),
        }
    }

    /// The size of the kind with this name, which need not be a size that the family has.
    fn size_of(self, name: &str) -> Option<u8> {
        match self {
            Self::Word(word, size) => (name == word).then_some(size),
            Self::Bits(word, _) => {
                let bits = decimal(name.strip_prefix(word)?)?;
                (bits % 8 == 0).then_some(bits / 8)
            }
            Self::Bytes(word) => decimal(name.strip_prefix(word)?.strip_suffix(']')?),
        }
    }
}

/// A number as [`Kind`]'s `Display` writes it, so that each kind has one name.
fn decimal(digits: &str) -> Option<u8> {
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    canonical.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_code_has_the_name_that_the_abi_gives_it() {
        let names: Vec<_> = Kind::constants().collect();
        for kind in Kind::all() {
            assert!(names.contains(&(kind.constant(), kind.code())), "{kind}");
        }
    }

    #[test]
    fn every_kind_has_one_name_and_one_code() {
        let names = "flag bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 enum8 enum16 enum32 bits8 \
                     bits16 bits32 bits64 timestamp ipv4 ipv6 socket mac bytes[1] bytes[64] \
                     bytes[..1] bytes[..64]";
        for name in names.split_whitespace() {
            let kind = name.parse::<Kind>().unwrap();
            assert_eq!(kind.to_string(), name);
            assert_eq!(Kind::from_code(kind.code(), kind.size()), Some(kind));
        }
        for name in [
            "",
            "u",
            "u7",
            "u24",
            "u256",
            "u08",
            "enum64",
            "bits128",
            "bytes[0]",
            "bytes[65]",
            "bytes[..0]",
            "bytes[..65]",
            "bytes[+8]",
            "bytes[08]",
            "bytes",
            "f32",
            "Bool",
            "é8",
        ] {
            assert!(name.parse::<Kind>().is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_code_and_no_name_make_it_panic(code: u8, size: u8, name: String) {
            if let Some(kind) = Kind::from_code(code, size) {
                prop_assert_eq!((kind.code(), kind.size()), (code, size));
                prop_assert_eq!(kind.to_string().parse(), Ok(kind));
            }
            let _ = name.parse::<Kind>();
        }
    }
}
