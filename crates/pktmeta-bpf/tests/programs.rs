//! The programs one by one, by BPF_PROG_TEST_RUN where the kernel has it for their type.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use libbpf_rs::{MapCore, MapFlags};
use pktmeta_bpf::{Object, ObjectOptions, hook::Hook, hooks};
use pktmeta_core::{
    FieldInfo, Record, Registry, builtin,
    schema::Schema,
    seal::{self, Secret},
};
use pktmeta_testkit::{
    packet::{self, Frame},
    prog_run::{SkbRun, XdpOutcome, XdpRun, XdpVerdict},
    sandbox::in_sandbox,
};

#[test]
fn xdp_writes_the_built_in_fields_and_leaves_the_packet_as_it_was() {
    in_sandbox(|_| {
        let registry = registry();
        let xdp = Xdp::load(&registry);
        let frame = udp("192.0.2.1:1", "192.0.2.2:2");
        let first = xdp.run(&frame, &[]);
        let record = open(&first.metadata);
        assert_eq!(first.metadata.len(), registry.layout().area);
        // The rest of the area is the same for all records: GRO compares it.
        assert_eq!(
            first.metadata,
            secret().enclose(&record, first.metadata.len())
        );
        assert_eq!(registry.get(&record, builtin::PACKET_NUMBER), Some(1));
        assert_eq!(registry.get(&record, builtin::RX_QUEUE), Some(0));
        assert!(
            registry
                .get(&record, builtin::RX_TIMESTAMP)
                .unwrap()
                .nanoseconds
                > 0
        );
        assert!(registry.get(&record, builtin::RX_IFINDEX).is_some());

        let second = open(&xdp.run(&frame, &[]).metadata);
        assert_eq!(registry.get(&second, builtin::PACKET_NUMBER), Some(2));
        assert_eq!(xdp.counters(), [2, 2, 0, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn xdp_adds_to_a_record_that_another_program_began() {
    in_sandbox(|_| {
        let registry = registry();
        let xdp = Xdp::load(&registry);
        let tenant = registry.by_name("tenant").unwrap().tag();
        let mut theirs = Record::new();
        theirs.set(tenant, &9u32.to_le_bytes()).unwrap();
        let area = secret().enclose(&theirs, 64);
        let ran = xdp.run(&udp("192.0.2.1:1", "192.0.2.2:2"), &area);
        let record = open(&ran.metadata);
        assert_eq!(record.get(tenant), Some(&9u32.to_le_bytes()[..]));
        assert_eq!(registry.get(&record, builtin::PACKET_NUMBER), Some(1));
        assert_eq!(xdp.counters(), [1, 1, 0, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn xdp_takes_the_place_of_metadata_that_does_not_prove_itself_and_counts_it() {
    in_sandbox(|_| {
        let registry = registry();
        let xdp = Xdp::load(&registry);
        let frame = udp("192.0.2.1:1", "192.0.2.2:2");
        let tenant = registry.by_name("tenant").unwrap().tag();
        let mut record = registry.layout().template;
        record.set(tenant, &9u32.to_le_bytes()).unwrap();
        let own = secret().enclose(&record, registry.layout().area);
        let other = Secret::new(0x1234_5678_9abd).unwrap();
        let mut theirs = vec![
            own[..own.len() - 4].to_vec(),
            [&own[..], &[0; 4]].concat(),
            [&own[..4], &own[..own.len() - 4]].concat(),
            other.enclose(&record, own.len()),
            record.as_bytes()[..record.as_bytes().len() & !3].to_vec(),
        ];
        // The most that test runs allow, and all less.
        theirs.extend((4..=216).step_by(4).map(|size| vec![0xff; size]));
        for theirs in &theirs {
            let ran = xdp.run(&frame, theirs);
            assert_eq!(ran.metadata.len(), own.len(), "{theirs:x?}");
            assert_eq!(open(&ran.metadata).get(tenant), None);
        }
        let count = theirs.len() as u64;
        assert_eq!(xdp.counters(), [count, count, 0, 0, 0, count, 0, 0]);
    });
}

#[test]
fn a_program_that_was_not_bound_believes_no_seal() {
    in_sandbox(|_| {
        let hook = &hooks::xdp::HOOK;
        let object = Object::load(hook.name, hook.object, &ObjectOptions::default());
        let xdp = Xdp {
            object: object.unwrap(),
        };
        for size in [16, 64, 216] {
            let mut area = vec![0; usize::from(size) - seal::SIZE];
            area[..4].copy_from_slice(&[b'P', size, 0x10, 4]);
            // What a secret of 0 would make.
            let product = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(size.into());
            let check = product.wrapping_neg() << 16 >> 16;
            area.extend(check.to_le_bytes());
            let ran = xdp.run(&udp("192.0.2.1:1", "192.0.2.2:2"), &area);
            assert_eq!(ran.metadata, area);
        }
        assert_eq!(xdp.counters(), [3, 0, 0, 0, 0, 3, 3, 0]);
    });
}

#[test]
fn xdp_looks_for_the_source_behind_up_to_two_tags() {
    in_sandbox(|_| {
        let plain = udp("192.0.2.1:1", "192.0.2.2:2");
        let (of_customer, of_provider) = ([0x81, 0, 0, 5], [0x88, 0xa8, 0, 5]);
        for (tags, is_found) in [
            (vec![of_customer], true),
            (vec![of_provider], true),
            (vec![of_provider, of_customer], true),
            (vec![of_customer, of_customer], true),
            (vec![of_provider, of_customer, of_customer], false),
        ] {
            let xdp = Xdp::load_with_labels(&registry());
            let frame = [&plain[..12], &tags.concat(), &plain[12..]].concat();
            xdp.run(&frame, &[]);
            let wanted = [is_found, !is_found].map(u64::from);
            assert_eq!(xdp.counters()[3..5], wanted, "{tags:x?}");
        }
    });
}

#[test]
fn a_label_goes_to_its_place_in_records_that_have_places_and_else_behind_the_rest() {
    in_sandbox(|_| {
        let schema = "owner = \"edge\"\n\
            [[field]]\nname = \"tenant\"\ntype = \"u32\"\nhot = true\n\
            [[field]]\nname = \"other\"\ntype = \"u128\"\nhot = true\n";
        let schema = Schema::parse("test.toml", schema).unwrap();
        let registry = Schema::registry([&schema]).unwrap().with_secret(secret());
        let (layout, tenant) = (registry.layout(), registry.by_name("tenant").unwrap());
        let place = usize::from(tenant.place.unwrap());
        let xdp = Xdp::load_with_labels(&registry);
        label(&xdp, tenant, 7);
        let frame = udp("192.0.2.1:1", "192.0.2.2:2");

        let placed = xdp.run(&frame, &[]).metadata;
        assert_eq!(placed[place], tenant.tag().byte());
        assert_eq!(open(&placed).get(tenant.tag()), Some(&[7, 0, 0, 0][..]));

        // What stands at the place looks like a void for it, and is in the middle of another.
        let mut theirs = vec![b'P', 0, 0x10, 0, 0, (place + 5 - 6) as u8];
        theirs.resize(place, 0);
        theirs.extend([tenant.tag().byte() & 0xc0, 0, 0, 0, 0]);
        let length = theirs.len();
        theirs.resize(layout.area - seal::SIZE, 0);
        theirs[1] = layout.area as u8;
        theirs[3] = length as u8;
        theirs.extend(secret().seal(layout.area));
        let behind = open(&xdp.run(&frame, &theirs).metadata);
        assert_eq!(behind.get(tenant.tag()), Some(&[7, 0, 0, 0][..]));
        assert_eq!(behind.as_bytes().len(), length + 5);
        assert_eq!(xdp.counters(), [2, 2, 2, 0, 0, 0, 0, 0]);
    });
}

/// Gives all IPv4 sources a label, as the loader writes it.
fn label(xdp: &Xdp, field: &FieldInfo, value: u8) {
    let version = 4u32.to_be_bytes();
    let key = [&32u32.to_ne_bytes()[..], &version, &[0; 16]].concat();
    let place = field.place.unwrap_or(0);
    let mut labels = vec![field.tag().byte(), 4, place, 0, 0, 0, 0, 0, value];
    labels.resize(4 * 24 + 8, 0);
    let map = xdp.object.map("pktmeta_labels").unwrap();
    map.update(&key, &labels, MapFlags::ANY).unwrap();
}

#[test]
fn xdp_counts_a_record_that_a_field_does_not_fit() {
    in_sandbox(|_| {
        let registry = cold_registry();
        // Room for the header and rx_timestamp, but not for rx_ifindex.
        let xdp = Xdp::load_with_area(&registry, 24);
        let ran = xdp.run(&udp("192.0.2.1:1", "192.0.2.2:2"), &[]);
        let record = open(&ran.metadata);
        assert!(registry.get(&record, builtin::RX_TIMESTAMP).is_some());
        assert_eq!(registry.get(&record, builtin::RX_IFINDEX), None);
        assert_eq!(xdp.counters(), [1, 0, 0, 0, 0, 0, 0, 1]);
    });
}

#[test]
fn xdp_counts_packets_in_front_of_which_there_is_no_room() {
    in_sandbox(|_| {
        // No area that the kernel reserves.
        let xdp = Xdp::load_with_area(&registry(), 255);
        let ran = xdp.run(&udp("192.0.2.1:1", "192.0.2.2:2"), &[]);
        assert_eq!(ran.metadata, []);
        assert_eq!(xdp.counters(), [1, 0, 0, 0, 0, 0, 1, 0]);
    });
}

#[test]
fn xdp_passes_every_malformed_packet() {
    in_sandbox(|_| {
        let xdp = Xdp::load_with_labels(&registry());
        let vlan = Frame::new(
            "192.0.2.1:1".parse().unwrap(),
            "192.0.2.2:2".parse().unwrap(),
        )
        .vlan(5)
        .udp(b"payload");
        let ipv6 = udp("[2001:db8::1]:1", "[2001:db8::2]:2");
        let (mut frames, mut cut) = (0, 0);
        // Where the source address ends.
        for (frame, end) in [
            (vlan, 34),
            (ipv6, 38),
            (udp("192.0.2.1:1", "192.0.2.2:2"), 30),
        ] {
            // Shorter than an Ethernet header the kernel refuses to run.
            for length in 14..frame.len() {
                xdp.run(&frame[..length], &[]);
                frames += 1;
                cut += u64::from(length < end);
            }
        }
        let unmatched = frames - cut;
        assert_eq!(xdp.counters(), [frames, frames, 0, unmatched, cut, 0, 0, 0]);
    });
}

#[test]
fn tc_passes_packets_without_a_record_and_counts_them() {
    in_sandbox(|_| {
        let object = load(&hooks::tc_ingress::HOOK, &registry(), None, false);
        let frame = udp("192.0.2.1:1", "192.0.2.2:2");
        let program = object
            .program(hooks::tc_ingress::HOOK.programs[0].name)
            .unwrap();
        let ran = SkbRun::new(program).packet(&frame).run().unwrap();
        assert_eq!(ran.retval, u32::MAX, "TCX_NEXT");
        assert_eq!(ran.packet, frame);
        assert_eq!(
            counters(&object, &hooks::tc_ingress::HOOK)[..4],
            [1, 0, 0, 1]
        );
    });
}

#[test]
fn cgroup_skb_lets_every_packet_pass() {
    in_sandbox(|_| {
        let object = load(&hooks::cgroup_skb_ingress::HOOK, &registry(), None, false);
        let program = object
            .program(hooks::cgroup_skb_ingress::HOOK.programs[0].name)
            .unwrap();
        for frame in [
            udp("192.0.2.1:1", "192.0.2.2:2"),
            udp("[2001:db8::1]:1", "[2001:db8::2]:2"),
        ] {
            let ran = SkbRun::new(program)
                .packet(&frame)
                .mark(0x1234)
                .run()
                .unwrap();
            assert_eq!((ran.retval, ran.mark), (1, 0x1234));
        }
    });
}

/// The built-in fields and a `tenant`.
fn registry() -> Registry {
    let mut registry = Registry::new();
    let tenant = "owner = \"edge\"\n[[field]]\nname = \"tenant\"\ntype = \"u32\"\n";
    for schema in [builtin::SCHEMA, tenant] {
        for field in Schema::parse("test.toml", schema).unwrap().fields() {
            registry.register(&field.wanted).unwrap();
        }
    }
    registry.with_secret(secret())
}

/// What proves its records.
fn secret() -> Secret {
    Secret::new(0x1234_5678_9abc).unwrap()
}

/// The record in an area, which must prove itself.
#[track_caller]
fn open(area: &[u8]) -> Record {
    secret().open(area).unwrap()
}

/// The same fields without places.
fn cold_registry() -> Registry {
    let mut registry = Registry::new();
    let schema = builtin::SCHEMA.replace("hot = true", "");
    for field in Schema::parse("test.toml", &schema).unwrap().fields() {
        registry.register(&field.wanted).unwrap();
    }
    registry.with_secret(secret())
}

fn udp(from: &str, to: &str) -> Vec<u8> {
    packet::udp(from.parse().unwrap(), to.parse().unwrap(), b"payload")
}

/// Loads a hook's programs, with another area than the registry's if one is given.
fn load(hook: &'static Hook, registry: &Registry, area: Option<u8>, labels_used: bool) -> Object {
    let layout = registry.layout();
    let area = area.unwrap_or(layout.area as u8);
    let mut template = layout.template.as_bytes().to_vec();
    template[1] = area;
    let seal = secret().seal(area.into());
    if let Some(room) = usize::from(area)
        .checked_sub(seal::SIZE)
        .filter(|&room| room <= seal::RECORD_MAX)
    {
        template.resize(room, 0);
        template.extend(seal);
    }
    template.resize(seal::AREA_MAX, 0);
    let secret = secret().bits().to_le_bytes();
    let bytes = [&[area, 2, 0, 0, 0, 0, 0, 0], &secret, &seal, &template[..]].concat();
    let options = ObjectOptions {
        registry: Some(registry),
        globals: vec![
            ("pktmeta_layout", bytes),
            ("labels_used", vec![labels_used.into()]),
            ("ring_slots", 1024u32.to_ne_bytes().into()),
            ("ring_bits", 10u32.to_ne_bytes().into()),
            ("ring_cpu_bits", 9u32.to_ne_bytes().into()),
        ],
        ..Default::default()
    };
    Object::load(hook.name, hook.object, &options).unwrap_or_else(|error| panic!("{error:?}"))
}

fn counters(object: &Object, hook: &Hook) -> Vec<u64> {
    object.counters(hook).unwrap()
}

/// The XDP program.
struct Xdp {
    object: Object,
}

impl Xdp {
    fn load(registry: &Registry) -> Self {
        Self {
            object: load(&hooks::xdp::HOOK, registry, None, false),
        }
    }

    fn load_with_area(registry: &Registry, area: u8) -> Self {
        Self {
            object: load(&hooks::xdp::HOOK, registry, Some(area), false),
        }
    }

    fn load_with_labels(registry: &Registry) -> Self {
        Self {
            object: load(&hooks::xdp::HOOK, registry, None, true),
        }
    }

    fn run(&self, frame: &[u8], metadata: &[u8]) -> XdpOutcome {
        let program = self
            .object
            .program(hooks::xdp::HOOK.programs[0].name)
            .unwrap();
        let ran = XdpRun::new(program)
            .packet(frame)
            .metadata(metadata)
            .run()
            .unwrap();
        assert_eq!(ran.verdict, XdpVerdict::Pass);
        assert_eq!(ran.packet, frame);
        ran
    }

    fn counters(&self) -> Vec<u64> {
        counters(&self.object, &hooks::xdp::HOOK)
    }
}
