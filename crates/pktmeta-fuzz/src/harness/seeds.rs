//! Inputs to start from.

/// Input of [`crate::input::Input::carrier`] for these bytes.
pub(super) fn carrier_seed(bytes: &[u8]) -> Vec<u8> {
    [&[0x01, bytes.len() as u8], bytes].concat()
}

/// The golden vectors of `docs/abi.md`.
pub(super) const GOLDEN: [&[u8]; 5] = [
    b"PM\x10\x04",
    b"PM\x10\x10\x86\x07\0\0\0\x07\x01\x01\x08\x02\xaa\xbb",
    b"PM\x10\x10\x80\0\0\0\0\x07\x01\x01\x08\x02\xaa\xbb",
    b"PM\x10\x0b\x07\x01\x01\x08\x02\xaa\xbb",
    b"PM\x10\x26\x01\0\x42\x02\x01\xc3\xfe\xff\xff\xff\xff\xff\xff\xff\
      \x3f\x12\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01\0\x35",
];
