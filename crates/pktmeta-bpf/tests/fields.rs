//! The header library in the kernel: each accessor at each hook, against what
//! `pktmeta_core::Record` makes of the same bytes.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "fields/harness.rs"]
mod harness;
#[path = "fields/model.rs"]
mod model;

use harness::{FALLBACK, Field, Hook, Programs, area, area_of, compile, load, open, registry, tag};
use pktmeta_bpf::ProgramStats;
use pktmeta_build::clangs;
use pktmeta_core::{
    Record, Tag,
    seal::{self, Secret},
};
use pktmeta_testkit::sandbox::{in_sandbox, in_sandbox_for};
use std::{os::fd::AsFd, time::Duration};

#[test]
fn every_field_reads_back_what_was_set_and_is_gone_once_it_is_deleted() {
    in_sandbox(|_| {
        let programs = Programs::new();
        for hook in Hook::BOTH {
            for field in writable() {
                let mut metadata = empty();
                assert_eq!(programs.get(hook, field, &metadata), Err(libc::ENOENT));
                for byte in [1, 2] {
                    let value = vec![byte; field.size()];
                    let set = programs.set(hook, field, &value, &mut metadata);
                    assert_eq!(set, Ok(()), "{hook:?} {field:?}");
                    let record = open(&metadata);
                    assert_eq!(record.get(tag(field)), Some(&*value));
                    assert_eq!(programs.get(hook, field, &metadata), Ok(value));
                }
                assert_eq!(programs.delete(hook, field, &mut metadata), Ok(()));
                let record = open(&metadata);
                assert!(record.is_empty(), "{hook:?} {field:?}: {record:?}");
                let gone = programs.get(hook, field, &metadata);
                assert_eq!(gone, Err(libc::ENOENT), "{hook:?} {field:?}");
                let again = programs.delete(hook, field, &mut metadata);
                assert_eq!(again, Err(libc::ENOENT));
            }
        }
    });
}

#[test]
fn xdp_makes_a_record_where_there_is_none_and_tc_does_not() {
    in_sandbox(|_| {
        let programs = Programs::new();
        for field in writable() {
            let mut metadata = Vec::new();
            let value = vec![3; field.size()];
            assert_eq!(programs.get(Hook::Xdp, field, &[]), Err(libc::ENODATA));
            assert_eq!(
                programs.compact(Hook::Xdp, &mut metadata),
                Err(libc::ENODATA)
            );
            assert_eq!(
                programs.set(Hook::Xdp, field, &value, &mut metadata),
                Ok(())
            );
            let record = open(&metadata);
            assert_eq!(metadata.len(), registry().layout().area);
            assert_eq!(record.get(tag(field)), Some(&*value));
            assert_eq!(metadata, area(&record, metadata.len()));

            let mut none = Vec::new();
            assert_eq!(programs.get(Hook::Tc, field, &none), Err(libc::ENODATA));
            let set = programs.set(Hook::Tc, field, &value, &mut none);
            assert_eq!(set, Err(libc::ENODATA));
            assert_eq!(
                programs.delete(Hook::Tc, field, &mut none),
                Err(libc::ENOENT)
            );
            assert_eq!(programs.compact(Hook::Tc, &mut none), Err(libc::ENODATA));
        }
        for hook in Hook::BOTH {
            assert!(!programs.has_record(hook, &[]));
            assert!(programs.has_record(hook, &empty()));
        }
    });
}

#[test]
fn a_hot_field_stands_at_its_place_and_leaves_its_void_there() {
    in_sandbox(|_| {
        let programs = Programs::new();
        for hook in Hook::BOTH {
            let mut metadata = empty();
            for name in ["hot_flag", "hot_u8", "hot_u32"] {
                let field = Field::named(name);
                let value = vec![9; field.size()];
                assert_eq!(programs.set(hook, field, &value, &mut metadata), Ok(()));
                let (info, length) = (field.info.unwrap(), metadata[3]);
                let place = usize::from(info.place.unwrap());
                assert_eq!(metadata[place], info.tag().byte());
                assert_eq!(length, empty()[3], "{hook:?}: it grew");
                assert_eq!(programs.get(hook, field, &metadata), Ok(value));
                let mut deleted = metadata.clone();
                assert_eq!(programs.delete(hook, field, &mut deleted), Ok(()));
                assert_eq!(deleted[place], info.tag().byte() & 0xc0);
                assert_eq!(deleted[..4], metadata[..4]);
                assert_eq!(
                    programs.set(hook, field, &vec![9; field.size()], &mut deleted),
                    Ok(())
                );
                assert_eq!(deleted, metadata);
            }
        }
    });
}

/// A record that was not made with this host's places may have anything there, also what looks like
/// the field.
#[test]
fn what_looks_like_a_hot_field_inside_another_value_is_not_one() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let blob = Field::named("blob");
        for name in ["hot_u32", "hot_u8", "hot_flag", "hot_u128"] {
            let field = Field::named(name);
            for disguise in [tag(field).byte(), tag(field).byte() & 0xc0] {
                // The field's TLV, or its void, over and over.
                let size = field.size();
                let mut tlv = vec![disguise];
                if disguise >> 6 == 0 {
                    tlv.push(size as u8);
                }
                tlv.resize(tlv.len() + size, 7);
                for shift in 0..tlv.len() {
                    let value: Vec<u8> = tlv.iter().cycle().skip(shift).take(64).copied().collect();
                    let mut record = Record::new();
                    record.set(tag(blob), &value).unwrap();
                    for hook in Hook::BOTH {
                        let mut metadata = area(&record, 200);
                        let get = programs.get(hook, field, &metadata);
                        assert_eq!(get, Err(libc::ENOENT), "{hook:?} {name}");
                        let set = programs.set(hook, field, &vec![1; size], &mut metadata);
                        assert_eq!(set, Ok(()));
                        let after = open(&metadata);
                        assert_eq!(after.get(tag(blob)), Some(&*value), "{hook:?} {name}");
                        assert_eq!(after.get(tag(field)), Some(&*vec![1; size]));
                    }
                }
            }
        }
    });
}

#[test]
fn places_are_not_trusted_once_fields_have_moved() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let named = ["hot_u8", "hot_flag", "hot_u128", "blob"].map(Field::named);
        let [small, flag, last, blob] = named;
        let template = empty();
        for (hook, shift) in Hook::BOTH
            .into_iter()
            .flat_map(|hook| [(hook, 0), (hook, 1)])
        {
            // The places' voids are closed, and a value comes to stand where they were.
            let mut metadata = template.clone();
            let value = [&[0; 2][..shift], &[tag(small).byte(), 1].repeat(31)].concat();
            programs.set(hook, blob, &value, &mut metadata).unwrap();
            programs.compact(hook, &mut metadata).unwrap();
            let get = programs.get(hook, small, &metadata);
            assert_eq!(get, Err(libc::ENOENT), "{hook:?}");
            // The last two places are cut off, and a value comes to stand there.
            let mut metadata = template.clone();
            for (field, value) in [(last, &[1; 16][..]), (flag, &[])] {
                programs.set(hook, field, value, &mut metadata).unwrap();
            }
            for field in [last, flag] {
                programs.delete(hook, field, &mut metadata).unwrap();
            }
            let value = [&[0; 2][..shift], &[tag(last).byte(), 16].repeat(31)].concat();
            programs.set(hook, blob, &value, &mut metadata).unwrap();
            let get = programs.get(hook, last, &metadata);
            assert_eq!(get, Err(libc::ENOENT), "{hook:?}");
            programs.set(hook, last, &[4; 16], &mut metadata).unwrap();
            assert_eq!(programs.get(hook, last, &metadata), Ok(vec![4; 16]));
            assert_eq!(programs.get(hook, blob, &metadata), Ok(value));
        }
    });
}

#[test]
fn a_record_too_short_for_a_place_gets_the_field_at_its_end() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let field = Field::named("hot_u128");
        for hook in Hook::BOTH {
            let mut metadata = area(&Record::new(), 40);
            assert_eq!(programs.get(hook, field, &metadata), Err(libc::ENOENT));
            assert_eq!(programs.set(hook, field, &[5; 16], &mut metadata), Ok(()));
            let mut record = Record::new();
            record.set(tag(field), &[5; 16]).unwrap();
            assert_eq!(metadata, area(&record, 40));
            assert_eq!(programs.get(hook, field, &metadata), Ok(vec![5; 16]));
        }
    });
}

#[test]
fn a_cold_field_is_found_wherever_it_stands() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let fields = ["cold_u8", "cold_u64", "cookie"].map(Field::named);
        for hook in Hook::BOTH {
            for first in 0..3 {
                let mut record = Record::new();
                for n in 0..3 {
                    let field = fields[(first + n) % 3];
                    record
                        .set(tag(field), &vec![n as u8; field.size()])
                        .unwrap();
                }
                let metadata = area(&record, 0);
                for n in 0..3 {
                    let field = fields[(first + n) % 3];
                    let value = vec![n as u8; field.size()];
                    assert_eq!(programs.get(hook, field, &metadata), Ok(value));
                    let mut deleted = (metadata.clone(), record);
                    programs.delete(hook, field, &mut deleted.0).unwrap();
                    assert!(deleted.1.delete(tag(field)));
                    assert_eq!(deleted.0, area(&deleted.1, metadata.len()));
                }
                let absent = programs.get(hook, Field::named("cold_u16"), &metadata);
                assert_eq!(absent, Err(libc::ENOENT));
            }
        }
    });
}

#[test]
fn a_field_that_is_there_twice_counts_once_and_goes_at_once() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let cookie = Field::named("cookie");
        let number = tag(cookie).byte();
        let twice = [b'P', 0, 0x10, 13, number, 1, 1, number, 1, 2, 0, 1, 0];
        let twice = area_of(&twice, 24);
        for hook in Hook::BOTH {
            assert_eq!(programs.get(hook, cookie, &twice), Ok(vec![1]));
            let mut set = twice.clone();
            assert_eq!(programs.set(hook, cookie, &[], &mut set), Ok(()));
            assert_eq!(programs.get(hook, cookie, &set), Ok(vec![]), "{set:?}");
            let mut deleted = twice.clone();
            assert_eq!(programs.delete(hook, cookie, &mut deleted), Ok(()));
            assert_eq!(programs.get(hook, cookie, &deleted), Err(libc::ENOENT));
        }
    });
}

#[test]
fn a_full_area_refuses_a_field_until_it_is_compacted() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let (first, second, third) = (
            Field::named("cold_u64"),
            Field::named("cookie"),
            Field::named("cold_u32"),
        );
        for hook in Hook::BOTH {
            for size in [24, seal::RECORD_MAX] {
                let mut record = Record::new();
                let filler = Tag::sized(pktmeta_core::TlvType::new(63).unwrap());
                record.set(tag(first), &[1; 8]).unwrap();
                if size > 24 {
                    record.set(filler, &vec![0; size - 24 - 2]).unwrap();
                }
                record.set(tag(second), &[2; 9]).unwrap();
                let mut metadata = area(&record, size);
                let full = (size + seal::SIZE, size as u8);
                assert_eq!((metadata.len(), metadata[3]), full);
                for (field, value) in [(third, &[3; 4][..]), (second, &[3; 12])] {
                    let before = metadata.clone();
                    let set = programs.set(hook, field, value, &mut metadata);
                    assert_eq!(set, Err(libc::ENOSPC), "{hook:?}");
                    assert_eq!(metadata, before);
                }
                programs.delete(hook, first, &mut metadata).unwrap();
                let set = programs.set(hook, third, &[3; 4], &mut metadata);
                assert_eq!(set, Err(libc::ENOSPC));
                assert_eq!(programs.compact(hook, &mut metadata), Ok(()));
                assert_eq!(programs.set(hook, third, &[3; 4], &mut metadata), Ok(()));
                record.delete(tag(first));
                record.compact();
                record.set(tag(third), &[3; 4]).unwrap();
                assert_eq!(metadata, area(&record, size));
            }
        }
    });
}

#[test]
fn a_field_is_set_up_to_the_last_byte_of_the_areas_room_and_no_further() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let blob = Field::named("blob");
        for hook in Hook::BOTH {
            for size in [24, 32, 64, 72] {
                let before = area(&Record::new(), size);
                let fits = size - seal::SIZE - Record::HEADER - 2;
                let mut metadata = before.clone();
                let longer = vec![7; fits + 1];
                let set = programs.set(hook, blob, &longer, &mut metadata);
                assert_eq!((set, &metadata), (Err(libc::ENOSPC), &before), "{hook:?}");
                let value = vec![7; fits];
                let set = programs.set(hook, blob, &value, &mut metadata);
                assert_eq!(set, Ok(()), "{hook:?} {size}");
                assert_eq!(open(&metadata).get(tag(blob)), Some(&value[..]));
                assert_eq!(programs.get(hook, blob, &metadata), Ok(value));
            }
        }
    });
}

#[test]
fn metadata_that_is_not_a_record_is_left_alone() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let (with, places) = (area_of, empty()[2]);
        let mut record = Record::new();
        record.set(tag(Field::named("cold_u32")), &[7; 4]).unwrap();
        let template = registry().layout().template;
        let plain = [record.as_bytes(), &[0; 64]].concat()[..64].to_vec();
        let mut foreign = vec![
            vec![1, 2, 3, 4],
            vec![0; 64],
            plain,
            // An area's size that is no area's, or not this one's.
            with(record.as_bytes(), 64)[..60].to_vec(),
            with(record.as_bytes(), 72)[..64].to_vec(),
            with(record.as_bytes(), 60),
            with(&[b'P', 0, 0x20, 4], 64),
            with(&[b'P', 0, 0x90, 4], 64),
            with(&[b'p', 0, 0x10, 4], 64),
            with(&[b'P', 0, 0x10, 3], 64),
            with(&[b'P', 0, places, 57], 64),
            with(&[b'P', 0, places, 209], 216),
            with(&[b'P', 0, places, 255], 216),
        ];
        for record in [record, template] {
            let other = Secret::new(0x1234_5678_9abd).unwrap();
            foreign.push(other.enclose(&record, empty().len()));
            // Whatever of the area was moved, a byte of the check or of the header was written.
            let own = area(&record, empty().len());
            for by in [1, 2, 4, 20, 22] {
                let size = own.len() - own.len() % 4;
                foreign.push([&own[by..], &own[..by]].concat()[..size].to_vec());
                foreign.push([&own[..by], &own].concat()[..size].to_vec());
            }
            for at in (0..2).chain(own.len() - seal::SIZE..own.len() - 2) {
                for bit in [1, 0x80] {
                    let mut written = own.clone();
                    written[at] ^= bit;
                    foreign.push(written);
                }
            }
            foreign.push(own[..own.len() - 4].to_vec());
            foreign.push([&own[..], &[0; 4]].concat());
            foreign.push([&[0; 4], &own[..]].concat());
        }
        for hook in Hook::BOTH {
            for bytes in &foreign {
                let mut metadata = bytes.clone();
                assert!(!programs.has_record(hook, bytes));
                for field in writable() {
                    let value = vec![1; field.size()];
                    assert_eq!(programs.get(hook, field, bytes), Err(libc::ENODATA));
                    let set = programs.set(hook, field, &value, &mut metadata);
                    assert_eq!(set, Err(libc::EBADMSG), "{hook:?} {field:?} {bytes:?}");
                    let delete = programs.delete(hook, field, &mut metadata);
                    assert_eq!(delete, Err(libc::ENOENT));
                    assert_eq!(metadata, *bytes);
                }
                assert_eq!(programs.compact(hook, &mut metadata), Err(libc::EBADMSG));
                assert_eq!(metadata, *bytes);
            }
        }
    });
}

#[test]
fn nothing_is_added_to_a_record_with_a_torn_field() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let (cookie, blob) = (Field::named("cookie"), Field::named("blob"));
        let torn = [b'P', 0, 0x10, 10, tag(cookie).byte(), 1, 7, 0, 9, 0];
        // With and without room for what is set.
        for (hook, size) in Hook::BOTH
            .into_iter()
            .flat_map(|hook| [(hook, 104), (hook, 24)])
        {
            let mut metadata = area_of(&torn, size);
            let before = metadata.clone();
            assert_eq!(programs.get(hook, cookie, &metadata), Ok(vec![7]));
            assert_eq!(programs.get(hook, blob, &metadata), Err(libc::ENOENT));
            for (field, value) in [(blob, &[1; 20][..]), (cookie, &[1; 2])] {
                let set = programs.set(hook, field, value, &mut metadata);
                assert_eq!(set, Err(libc::EBADMSG), "{hook:?}");
            }
            let delete = programs.delete(hook, blob, &mut metadata);
            assert_eq!(delete, Err(libc::ENOENT));
            assert_eq!(programs.compact(hook, &mut metadata), Err(libc::EBADMSG));
            assert_eq!(metadata, before);
        }
    });
}

#[test]
fn a_program_without_a_fields_number_has_no_such_field() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let unbound = Field::named("unbound");
        for hook in Hook::BOTH {
            let mut metadata = empty();
            assert_eq!(programs.get(hook, unbound, &metadata), Err(libc::ENOENT));
            let set = programs.set(hook, unbound, &[1; 4], &mut metadata);
            assert_eq!(set, Err(libc::ENOENT));
            let delete = programs.delete(hook, unbound, &mut metadata);
            assert_eq!(delete, Err(libc::ENOENT));
            assert_eq!(metadata, empty());
        }
        let mut none = Vec::new();
        let set = programs.set(Hook::Xdp, unbound, &[1; 4], &mut none);
        assert_eq!((set, none), (Err(libc::ENOENT), vec![]));
    });
}

#[test]
fn who_may_not_write_a_field_can_read_it() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let field = Field::named("read_only");
        let mut record = Record::new();
        record.set(tag(field), &[8; 4]).unwrap();
        for hook in Hook::BOTH {
            let mut metadata = area(&record, 0);
            assert_eq!(programs.get(hook, field, &metadata), Ok(vec![8; 4]));
            let set = programs.set(hook, field, &[1; 4], &mut metadata);
            assert_eq!(set, Err(libc::EPERM), "{hook:?}");
            let delete = programs.delete(hook, field, &mut metadata);
            assert_eq!(delete, Err(libc::EPERM), "{hook:?}");
            assert_eq!(metadata, area(&record, 0));
        }
    });
}

#[test]
fn a_value_of_another_size_than_the_fields_is_neither_read_nor_written() {
    in_sandbox(|_| {
        let programs = Programs::new();
        let (cookie, number) = (Field::named("cookie"), Field::named("cold_u128"));
        let mut record = Record::new();
        record.set(tag(cookie), &[1; 13]).unwrap();
        record.set(tag(number), &[1; 15]).unwrap();
        for hook in Hook::BOTH {
            let mut metadata = area(&record, 100);
            for field in [cookie, number] {
                assert_eq!(programs.get(hook, field, &metadata), Err(libc::ENOENT));
            }
            let set = programs.set(hook, cookie, &[2; 13], &mut metadata);
            assert_eq!(set, Err(libc::EINVAL));
            assert_eq!(metadata, area(&record, 100));
            for (field, value) in [(cookie, &[2; 12][..]), (number, &[2; 16])] {
                assert_eq!(programs.set(hook, field, value, &mut metadata), Ok(()));
                assert_eq!(programs.get(hook, field, &metadata), Ok(value.into()));
            }
        }
    });
}

#[test]
fn at_a_place_with_a_value_of_another_size_there_is_none() {
    in_sandbox(|_| {
        let programs = Programs::new();
        for field in ["hot_u8", "hot_u128"].map(Field::named) {
            for hook in Hook::BOTH {
                let mut metadata = empty();
                let value = vec![9; field.size()];
                programs.set(hook, field, &value, &mut metadata).unwrap();
                let header = [tag(field).byte(), field.size() as u8];
                let at = metadata.windows(2).position(|it| it == header).unwrap();
                metadata[at + 1] -= 1;
                let read = programs.get(hook, field, &metadata);
                assert_eq!(read, Err(libc::ENOENT), "{hook:?} {field:?}");
            }
        }
    });
}

#[test]
fn random_operations_leave_the_bytes_that_the_rust_codec_leaves() {
    in_sandbox(|_| {
        let programs = Programs::new();
        model::compare(&programs, Hook::Xdp, 4000);
        model::compare(&programs, Hook::Tc, 3000);
    });
}

#[test]
fn every_compiler_makes_the_same_programs_also_for_kernels_without_writable_metadata() {
    in_sandbox_for(LONG, |_| {
        for clang in clangs() {
            for arguments in [&[][..], &[FALLBACK]] {
                println!("{} {arguments:?}", clang.display());
                let programs = Programs::compiled(&clang, arguments);
                model::compare(&programs, Hook::Tc, 1000);
                if arguments.is_empty() {
                    model::compare(&programs, Hook::Xdp, 1000);
                }
            }
        }
    });
}

/// For tests that compile often, on a slow machine.
const LONG: Duration = Duration::from_secs(600);

/// Most instructions that the verifier may look at in a program of one accessor, a good third above
/// what it does today with the clang that needs the most.
const BUDGETS: [(&str, &str, &str, u32); 22] = [
    ("xdp", "GET", "hot_u32", 20_000),
    ("xdp", "GET", "cold_u32", 20_000),
    ("xdp", "GET", "blob", 22_000),
    ("xdp", "SET", "hot_u32", 120_000),
    ("xdp", "SET", "cold_u32", 120_000),
    ("xdp", "SET", "blob", 120_000),
    ("xdp", "DELETE", "hot_u32", 75_000),
    ("xdp", "DELETE", "cold_u32", 75_000),
    ("xdp", "DELETE", "blob", 75_000),
    ("xdp", "COMPACT", "cold_u32", 70_000),
    ("tc", "GET", "hot_u32", 20_000),
    ("tc", "GET", "cold_u32", 20_000),
    ("tc", "GET", "blob", 22_000),
    ("tc", "SET", "hot_u32", 30_000),
    ("tc", "SET", "cold_u32", 30_000),
    ("tc", "SET", "blob", 32_000),
    ("tc", "DELETE", "hot_u32", 29_000),
    ("tc", "DELETE", "cold_u32", 29_000),
    ("tc", "DELETE", "blob", 29_000),
    ("tc", "COMPACT", "cold_u32", 90_000),
    ("tcx/egress", "GET", "cold_u32", 22_000),
    ("tcx/egress", "GET", "blob", 22_000),
];

#[test]
fn every_accessor_stays_within_its_instruction_budget() {
    in_sandbox_for(LONG, |_| {
        let mut wrong = Vec::new();
        for (section, operation, field, budget) in BUDGETS {
            let (context, variants) = match section {
                "xdp" => ("xdp_md", &[None][..]),
                "tc" => ("__sk_buff", &[None, Some(FALLBACK)][..]),
                _ => ("__sk_buff", &[Some("-DEGRESS")][..]),
            };
            let arguments = [
                &format!("-DSECTION=\"{section}\""),
                &format!("-DCONTEXT=struct {context}"),
                &format!("-DOPERATION={operation}"),
                &format!("-DFIELD={field}"),
            ];
            let mut most = 0;
            for clang in clangs() {
                for variant in variants {
                    let arguments = arguments.iter().map(|argument| argument.as_str());
                    let arguments: Vec<_> = arguments.chain(*variant).collect();
                    let object = load(&compile(&clang, "accessor.bpf.c", &arguments));
                    let program = object.program("accessor").unwrap();
                    let stats = ProgramStats::of(program.as_fd()).unwrap();
                    print!(" {:>6}", stats.verified_instructions);
                    most = most.max(stats.verified_instructions);
                }
            }
            println!("  of {budget}: {section} {operation} {field}");
            if most > budget || most * 3 < budget {
                wrong.push((section, operation, field, most));
            }
        }
        assert!(
            wrong.is_empty(),
            "over their budgets, or far below: {wrong:?}"
        );
    });
}

/// The fields that both hooks may write.
fn writable() -> impl Iterator<Item = Field> {
    let fields = Field::all().into_iter();
    fields.filter(|field| field.info.is_some_and(|info| info.policy.writers.tc))
}

/// The area of a record without fields.
fn empty() -> Vec<u8> {
    let layout = registry().layout();
    area(&layout.template, layout.area)
}
