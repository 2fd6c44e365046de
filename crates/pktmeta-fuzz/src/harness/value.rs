//! Any bytes as the value of any kind of field.

use super::target::Harness;
use crate::input::Input;
use pktmeta_core::{FieldType, Kind, MacAddr, Record, Timestamp, TlvType, Value, VarBytes};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const HARNESS: Harness = Harness {
    name: "value",
    about: "a value that was read is written with the same bytes, and as text that reads back",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let kinds = Kind::all().map(|kind| (kind.code(), kind.size()));
    kinds
        .map(|(code, size)| [&[code, size, 6], &vec![1; size.into()][..]].concat())
        .collect()
}

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = Kind::from_code(input.byte() & 0x0f, input.byte() % 80);
    let (number, bytes) = (input.byte(), input.rest());
    // As text, whatever it is.
    if let (Some(kind), Ok(text)) = (kind, str::from_utf8(bytes)) {
        if let Ok(value) = Value::parse(kind, text) {
            assert!(value.encode(kind).is_some(), "{kind}: {text}");
        }
        let _ = text.parse::<Kind>();
    }
    let Some((kind, value)) = kind.and_then(|kind| Some((kind, Value::decode(kind, bytes)?)))
    else {
        return;
    };
    assert_eq!(kind.to_string().parse(), Ok(kind));
    assert_eq!(
        value.encode(kind).as_deref(),
        Some(bytes),
        "{kind}: {value:?}"
    );
    let text = value.to_string();
    assert_eq!(
        Value::parse(kind, &text).as_ref(),
        Ok(&value),
        "{kind}: {text}"
    );
    if let Some(tlv) = TlvType::new(number) {
        let mut record = Record::new();
        let set = record.set(kind.tag(tlv), bytes);
        assert_eq!(set, Ok(()), "{kind}");
        assert_eq!(
            record.as_bytes().len(),
            Record::HEADER + kind.tlv_size() - usize::from(kind.size()) + bytes.len()
        );
        assert_eq!(record.get(kind.tag(tlv)), Some(bytes));
    }
    typed(kind, bytes);
}

/// The type of the program says the same as the value that has none.
fn typed(kind: Kind, bytes: &[u8]) {
    fn same<T: FieldType>(kind: Kind, bytes: &[u8]) {
        if T::KIND == kind {
            let value = T::decode(bytes).unwrap_or_else(|| panic!("{kind}: {bytes:x?}"));
            assert!(value.encode(|again| again == bytes), "{kind}: {bytes:x?}");
        }
    }
    macro_rules! every {
        ($($type:ty),*) => {$( same::<$type>(kind, bytes); )*};
    }
    every!(
        u8,
        u16,
        u32,
        u64,
        u128,
        i8,
        i16,
        i32,
        i64,
        i128,
        (),
        bool,
        Timestamp
    );
    every!(Ipv4Addr, Ipv6Addr, SocketAddr, MacAddr);
    every!(
        [u8; 1],
        [u8; 3],
        [u8; 64],
        VarBytes<1>,
        VarBytes<16>,
        VarBytes<64>
    );
}
