//! Packet traits in the kernel: `pktmeta/traits.bpf.h`.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[expect(dead_code, reason = "shared with the tests of fields")]
#[path = "fields/harness.rs"]
mod harness;

use harness::compile;
use libbpf_rs::{MapCore, MapFlags};
use pktmeta_bpf::{Object, ObjectOptions};
use pktmeta_build::clangs;
use pktmeta_core::{Registry, schema::Schema, seal::Secret, traits::Traits};
use pktmeta_testkit::{
    packet,
    prog_run::{SkbRun, XdpRun},
    sandbox::in_sandbox,
};

#[test]
fn traits_answer_as_their_proposal_says_at_xdp_and_tc() {
    in_sandbox(|_| {
        for clang in clangs() {
            let registry = registry();
            let options = ObjectOptions {
                registry: Some(&registry),
                ..Default::default()
            };
            let object = Object::load("traits", &compile(&clang, "traits.bpf.c", &[]), &options);
            let object = object.unwrap_or_else(|error| panic!("{}: {error}", clang.display()));
            let client = "192.0.2.1:1".parse().unwrap();
            let frame = packet::udp(client, "192.0.2.2:2".parse().unwrap(), b"payload");

            let ran = XdpRun::new(object.program("traits_xdp").unwrap())
                .packet(&frame)
                .run()
                .unwrap();
            let [einval, enoent] = [libc::EINVAL, libc::ENOENT].map(|errno| -i64::from(errno));
            let [ebusy, enospc] = [libc::EBUSY, libc::ENOSPC].map(|errno| -i64::from(errno));
            assert_eq!(
                answers::<17>(&object),
                [
                    enoent, einval, einval, 0, ebusy, 4, 42, 0, enospc, 1, 0, enoent, 0, 0, 1,
                    enoent, enoent
                ]
            );
            let mut record = registry.secret().unwrap().open(&ran.metadata).unwrap();
            let traits = Traits::new(&registry, &mut record);
            assert_eq!(traits.get(0), Ok(&42u32.to_le_bytes()[..]));
            assert_eq!(traits.get(63), Ok(&[][..]));

            let tc = object.program("traits_tc").unwrap();
            SkbRun::new(tc).packet(&frame).run().unwrap();
            let unsupported = -i64::from(libc::EOPNOTSUPP);
            assert_eq!(answers::<4>(&object), [unsupported, enoent, enoent, 0]);
        }
    });
}

fn registry() -> Registry {
    let schema = "owner = \"traits\"\n\
        [[field]]\nname = \"trait_0\"\ntype = \"bytes[..16]\"\n\
        [[field]]\nname = \"trait_63\"\ntype = \"bytes[..16]\"\n";
    let registry = Schema::registry([&Schema::parse("traits.toml", schema).unwrap()]).unwrap();
    registry.with_secret(Secret::new(0x1234_5678_9abc).unwrap())
}

/// The answers of the last run, in the order of its calls.
fn answers<const N: usize>(object: &Object) -> [i64; N] {
    let map = object.map("answers").unwrap();
    std::array::from_fn(|at| {
        let answer = map.lookup(&(at as u32).to_ne_bytes(), MapFlags::ANY);
        i64::from_ne_bytes(answer.unwrap().unwrap().try_into().unwrap())
    })
}
