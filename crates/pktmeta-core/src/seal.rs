//! The seal: the last bytes of the area in front of a packet, which prove that the record there was
//! made by a program of this host's registry, and that nothing has moved or overwritten it.
//! `include/pktmeta/seal.h` is the same in C.

use crate::record::Record;
use alloc::vec::Vec;
use core::fmt;

/// Most bytes of an area: 256 bytes of headroom, of which 40 are `struct xdp_frame`'s.
pub const AREA_MAX: usize = Record::CAPACITY;

/// Bytes of the seal, the area's last: 6 of check, and 2 spare ones that routing zeroes.
pub const SIZE: usize = 8;

/// Most bytes of a record in front of a packet.
pub const RECORD_MAX: usize = AREA_MAX - SIZE;

/// Bytes of the area that a record of this length needs.
#[must_use]
pub const fn area(record: usize) -> usize {
    record.next_multiple_of(8) + SIZE
}

/// A number that senders cannot guess, by which a registry's programs know each other's records.
/// Only programs and root know it, so it does not print.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(u64);

impl Secret {
    const CHECK: usize = 6;
    const BITS: u32 = 48;
    /// Odd, so that areas of different sizes have different checks.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// A secret of 48 random bits. `None` for one number in four: one of its checks would look like
    /// bytes that the kernel leaves in front of packets. Draw again.
    #[must_use]
    pub const fn new(random: u64) -> Option<Self> {
        let secret = Self(random & ((1 << Self::BITS) - 1));
        let mut fit = secret.0 != 0;
        let mut size = area(Record::HEADER);
        while size <= AREA_MAX {
            fit &= is_fit(secret.check(size));
            size += 8;
        }
        if fit { Some(secret) } else { None }
    }

    /// The bits, for the constants of programs and for the map that keeps the secret.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The last bytes of an area of this size, as programs write them.
    #[must_use]
    pub const fn seal(self, area: usize) -> [u8; SIZE] {
        let product = Self::STEP.wrapping_mul(area as u64);
        let check = self.0.wrapping_sub(product) & ((1 << Self::BITS) - 1);
        check.to_le_bytes()
    }

    /// An area with this record, as it stands in front of a packet. It has `size` bytes, or as many
    /// as the record needs if that is more.
    #[must_use]
    pub fn enclose(self, record: &Record, size: usize) -> Vec<u8> {
        let size = area(record.as_bytes().len()).max(size.next_multiple_of(8));
        let mut bytes = record.as_bytes().to_vec();
        bytes[1] = size as u8; // at most 224, of a record that is too long for areas
        bytes.resize(size - SIZE, 0);
        bytes.extend(self.seal(size));
        bytes
    }

    /// The record in an area, if its seal is right. Other bytes may not be believed.
    #[must_use]
    pub fn open(self, area: &[u8]) -> Option<Record> {
        let (bytes, seal) = area.split_last_chunk::<SIZE>()?;
        let sized = area.len() <= AREA_MAX && area.len().is_multiple_of(8);
        let sealed = self.check(area.len()) == seal[..Self::CHECK];
        if !sized || !sealed || usize::from(*bytes.get(1)?) != area.len() {
            return None;
        }
        let mut bytes = bytes.to_vec();
        bytes[1] = Record::MAGIC[1];
        Record::parse(&bytes).ok()
    }

    const fn check(self, area: usize) -> [u8; Self::CHECK] {
        let [check @ .., _, _] = self.seal(area);
        check
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// False of zeros, which the kernel leaves in front of a packet that grows
/// (`bpf_skb_generic_push`), and of bytes that start like a VXLAN header (RFC 7348, and its
/// extensions GBP and GPE), whose sender chooses the rest.
const fn is_fit(check: [u8; Secret::CHECK]) -> bool {
    !matches!(check, [0, 0, 0, 0, ..] | [0x08 | 0x0c | 0x88, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Tag, TlvType};
    use proptest::prelude::*;

    const TENANT: Tag = Tag::fixed(TlvType::new(6).unwrap(), 4);

    fn secret() -> Secret {
        Secret::new(0x1234_5678_9abc).unwrap()
    }

    fn tenant(value: u32) -> Record {
        let mut record = Record::new();
        record.set(TENANT, &value.to_le_bytes()).unwrap();
        record
    }

    #[test]
    fn an_area_is_the_bytes_that_the_abi_prints() {
        assert_eq!(
            secret().enclose(&tenant(7), 0),
            [
                b'P', 24, 0x10, 9, 0x86, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc4, 0xf8, 0x7c, 0x67,
                0xd0, 0xa8, 0, 0
            ]
        );
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(alloc::format!("{:?}", secret()), "Secret(..)");
    }

    #[test]
    fn no_secret_has_a_check_that_looks_like_what_the_kernel_writes() {
        for looks in [
            [0; 6],
            [0, 0, 0, 0, 1, 2],
            [8, 0, 0, 0, 1, 2],
            [0x88, 1, 2, 3, 4, 5],
        ] {
            for size in (16..=AREA_MAX).step_by(8) {
                let mut bytes = [0; 8];
                bytes[..6].copy_from_slice(&looks);
                let product = Secret::STEP.wrapping_mul(size as u64);
                let random = u64::from_le_bytes(bytes).wrapping_add(product);
                assert_eq!(Secret::new(random), None, "{looks:?} {size}");
            }
        }
        assert_eq!(Secret::new(0xffff_0000_0000_0000), None);
    }

    proptest! {
        #[test]
        fn an_area_opens_with_its_secret_alone(
            value: u32, size in 0..=AREA_MAX, one: u64, other: u64,
        ) {
            let [Some(one), Some(other)] = [one, other].map(Secret::new) else {
                return Ok(());
            };
            let area = one.enclose(&tenant(value), size);
            prop_assert_eq!(one.open(&area), Some(tenant(value)));
            if one != other {
                prop_assert_eq!(other.open(&area), None);
            }
        }

        #[test]
        fn an_area_that_was_moved_cut_or_grown_does_not_open(
            value: u32, by in 1..AREA_MAX, up: bool, random: u64,
        ) {
            let Some(secret) = Secret::new(random) else {
                return Ok(());
            };
            let area = secret.enclose(&tenant(value), 32);
            let mut moved = area.clone();
            let by = by.min(area.len());
            if up {
                moved.rotate_left(by % area.len());
                prop_assert!(by % area.len() == 0 || secret.open(&moved).is_none());
            }
            prop_assert_eq!(secret.open(&area[..area.len() - by]), None);
            prop_assert_eq!(secret.open(&area[by..]), None);
            prop_assert_eq!(secret.open(&[&area[..], &vec![0; by]].concat()), None);
            prop_assert_eq!(secret.open(&[&vec![0; by], &area[..]].concat()), None);
        }

        #[test]
        fn a_byte_of_the_seal_counts_unless_it_is_spare(at in 0..SIZE, bit in 0..8u32) {
            let mut area = secret().enclose(&tenant(7), 0);
            let last = area.len() - SIZE;
            area[last + at] ^= 1 << bit;
            prop_assert_eq!(secret().open(&area).is_some(), at >= Secret::CHECK);
        }
    }
}
