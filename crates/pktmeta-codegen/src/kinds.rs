//! The one table of how each language writes the values of kinds. The kinds themselves, with their
//! names, numbers and sizes, are those of `pktmeta_core::Kind`.

use pktmeta_core::Kind;

/// The words of each language for values of a kind. They contain placeholders in braces: `bits`,
/// the number of a value's bits; `own`, the type that the field itself declares; and those that a
/// column names.
pub(crate) struct Words {
    pub(crate) c: C,
    /// A type. `krate`: the path of the crate that generated modules use.
    pub(crate) rust: &'static str,
    /// A call of the function in `runtime.go` that makes a field. `name`: the field's; `field`: its
    /// name, kind and size.
    pub(crate) go: &'static str,
    /// The field's class, in `runtime.py`.
    pub(crate) python: &'static str,
    /// A row of `KINDS`, in `dissector.lua`.
    pub(crate) wireshark: &'static str,
}

/// The C type of a kind's values, and how they are read and written.
#[derive(Clone, Copy)]
pub(crate) enum C {
    /// No type: a field is set or not.
    Nothing,
    /// 0 or 1.
    Bool,
    /// A type for integers.
    Integer(&'static str),
    /// Two halves, of which the upper is of this type.
    Halves(&'static str),
    /// A type with the bytes of the record.
    Copied(&'static str),
    /// As many bytes as are set, and their number.
    Counted,
}

/// The type of octets in their order.
const OCTETS: C = C::Copied("struct {\n\t__u8 octets[{size}];\n}");
const BYTES: C = C::Copied("struct {\n\t__u8 bytes[{size}];\n}");
const ENDPOINT: C = C::Copied(
    "struct {\n\t__u8 address[16]; /* IPv4 as ::ffff:a.b.c.d */\n\t__be16 port;\n} \
     __attribute__((packed))",
);

/// The row of a kind. A kind without a row, which [`Input`](crate::Input) refuses, may still be
/// that of a host's field: it is shown as bytes.
pub(crate) fn words(kind: Kind) -> Words {
    row(kind).unwrap_or(Words {
        c: BYTES,
        rust: "[u8; {size}]",
        go: "octets[[]byte]({field})",
        python: "Octets",
        wireshark: "bytes",
    })
}

/// `None` if the table lacks the kind.
#[rustfmt::skip]
pub(crate) fn row(kind: Kind) -> Option<Words> {
    let row = |c, rust, go, python, wireshark| Some(Words { c, rust, go, python, wireshark });
    match kind {
        Kind::Flag =>
            row(C::Nothing, "()", "flag({name})", "Boolean", "flag"),
        Kind::Bool =>
            row(C::Bool, "bool", "boolean({name})", "Boolean", "bool"),
        Kind::Unsigned { size: 16 } =>
            row(C::Halves("__u64"), "u{bits}", "uint128({name})", "Number", "uint{bits}"),
        Kind::Signed { size: 16 } =>
            row(C::Halves("__s64"), "i{bits}", "int128({name})", "Number", "int{bits}"),
        Kind::Unsigned { .. } => row(
            C::Integer("__u{bits}"), "u{bits}",
            "numbers[uint{bits}]({field})", "Number", "uint{bits}",
        ),
        Kind::Signed { .. } => row(
            C::Integer("__s{bits}"), "i{bits}",
            "numbers[int{bits}]({field})", "Number", "int{bits}",
        ),
        Kind::Enum { .. } =>
            row(C::Integer("__u{bits}"), "{own}", "numbers[{own}]({field})", "Named", "uint{bits}"),
        Kind::Bits { .. } =>
            row(C::Integer("__u{bits}"), "{own}", "numbers[{own}]({field})", "Named", "bits"),
        Kind::Timestamp => row(
            C::Integer("__u64"), "{krate}::Timestamp",
            "numbers[uint64]({field})", "Number", "timestamp",
        ),
        Kind::Ipv4 =>
            row(C::Copied("__be32"), "core::net::Ipv4Addr", "address({field})", "Ipv4", "ipv4"),
        Kind::Ipv6 =>
            row(OCTETS, "core::net::Ipv6Addr", "address({field})", "Ipv6", "ipv6"),
        Kind::Socket =>
            row(ENDPOINT, "core::net::SocketAddr", "endpoint({name})", "SocketAddress", "socket"),
        Kind::Mac =>
            row(OCTETS, "{krate}::MacAddr", "octets[net.HardwareAddr]({field})", "Octets", "mac"),
        Kind::Bytes { .. } =>
            row(BYTES, "[u8; {size}]", "octets[[]byte]({field})", "Octets", "bytes"),
        Kind::Variable { .. } => row(
            C::Counted, "{krate}::VarBytes<{size}>",
            "octets[[]byte]({field})", "Octets", "variable",
        ),
        _ => None,
    }
}

/// The text of a column for a kind, with `bits`, `size` and `more` filled in.
pub(crate) fn filled(column: &str, kind: Kind, more: &[(&str, &str)]) -> String {
    let size = kind.size().to_string();
    let bits = (u32::from(kind.size()) * 8).to_string();
    let all = [("{size}", &*size), ("{bits}", &*bits)];
    let each = all.iter().chain(more);
    each.fold(column.to_owned(), |text, (word, meaning)| {
        text.replace(word, meaning)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_row() {
        for kind in Kind::all() {
            assert!(row(kind).is_some(), "{kind}");
        }
    }
}
