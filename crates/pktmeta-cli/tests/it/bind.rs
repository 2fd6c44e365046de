//! `pktmeta bind`: objects that other loaders load.

use crate::{
    bpf::open_pin,
    command::{Ran, Run, Scratch, pktmeta, text},
};
use pktmeta_bpf::HostRegistry;
use pktmeta_core::{
    Record, Tag, TlvType,
    linux::{SO_RCVMARK, SO_RCVPRIORITY},
};
use pktmeta_testkit::{
    link::TwoHosts,
    netns::Netns,
    packet,
    prog_run::{XdpRun, XdpVerdict},
    sandbox::in_sandbox,
};
use serde_json::Value;
use std::{
    fs, io,
    net::UdpSocket,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
    process::Command,
    time::Duration,
};

/// What the owners of `examples/bpf/two_owners` wrote.
pub(crate) const OWNERS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bpf/two_owners");

/// Programs that say in their verdict how it went: this less the error, or more the value.
const ZERO: u32 = 1000;

/// They set and get a field, each from TC too.
pub(crate) const PROBE: &str = r#"
#include <pktmeta/pktmeta.bpf.h>
PKTMETA_FIELD(probe, __u32);

SEC("xdp") int probe_set(struct xdp_md *ctx)
{
	return 1000 - pktmeta_set(ctx, probe, 9);
}

SEC("xdp") int probe_get(struct xdp_md *ctx)
{
	__u32 value;
	long err = pktmeta_get(ctx, probe, &value);

	return 1000 + (err ? -err : value);
}

SEC("tc") int probe_tc(struct __sk_buff *skb)
{
	__u32 value;

	skb->mark = 1000 - pktmeta_get(skb, probe, &value);
	skb->priority = 1000 - pktmeta_set(skb, probe, 9);
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
"#;

/// Its owner's schema; `kind` is the type.
pub(crate) fn probe_schema(kind: &str) -> String {
    format!("owner = \"lab\"\n[[field]]\nname = \"probe\"\ntype = \"{kind}\"\n")
}

/// Compiles a program as its author does, who has the headers and nothing else.
pub(crate) fn compile(source: &str, object: &Path) -> String {
    let mut clang = Command::new(env!("PKTMETA_CLANG"));
    clang.args(["-g", "-O2", "-target", "bpf", "-mcpu=v3"]);
    for headers in [
        env!("PKTMETA_INCLUDE"),
        env!("PKTMETA_UAPI"),
        env!("PKTMETA_LIBBPF"),
    ] {
        clang.args(["-isystem", headers]);
    }
    clang.args(["-Wall", "-Werror", "-c", source, "-o"]);
    clang.arg(object).ran().succeeds();
    text(object)
}

/// [`PROBE`], compiled.
pub(crate) fn probe(scratch: &Scratch) -> String {
    let source = scratch.file("probe.bpf.c", PROBE);
    compile(&source, &scratch.path().join("probe.bpf.o"))
}

/// The command, without a network of its own.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    pktmeta(&Netns::current().unwrap(), arguments).ran()
}

/// Any tool; all that it says is shown if it fails.
#[track_caller]
pub(crate) fn tool(netns: &Netns, command: &str) -> String {
    let mut words = command.split(' ');
    let mut tool = netns.command(words.next().unwrap());
    tool.args(words).ran().succeeds()
}

/// Loads with bpftool and pins in the sandbox's bpffs, below `name`.
#[track_caller]
pub(crate) fn bpftool_load(object: &str, name: &str) {
    let here = Netns::current().unwrap();
    tool(
        &here,
        &format!("bpftool prog loadall {object} /sys/fs/bpf/{name}"),
    );
}

/// Runs a pinned XDP program on a packet with this metadata: how it went, and the metadata then.
pub(crate) fn run_pinned(pin: &str, metadata: &[u8]) -> (u32, Vec<u8>) {
    let program = open_pin(&Path::new("/sys/fs/bpf").join(pin));
    let frame = packet::udp(
        (TwoHosts::CLIENT_V4, 4000).into(),
        (TwoHosts::SERVER_V4, 53).into(),
        b"hello",
    );
    let ran = XdpRun::new(program.as_fd())
        .packet(&frame)
        .metadata(metadata)
        .run()
        .unwrap();
    let XdpVerdict::Unknown(verdict) = ran.verdict else {
        panic!("{ran:?}");
    };
    assert_eq!(ran.packet, frame);
    (verdict, ran.metadata)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Two hosts, and the objects of two owners who know nothing but the names of each other's fields.
struct Owners {
    hosts: TwoHosts,
    scratch: Scratch,
    socket: UdpSocket,
}

impl Owners {
    const TENANT: u32 = 7;
    const ZONE: u32 = 507;

    fn new() -> Self {
        let scratch = Scratch::new();
        for owner in ["edge", "dns"] {
            let source = format!("{OWNERS}/{owner}.bpf.c");
            compile(&source, &scratch.path().join(format!("{owner}.bpf.o")));
        }
        let hosts = TwoHosts::new().unwrap();
        let address = (TwoHosts::SERVER_V4, 53);
        let socket = hosts.server().run(|| UdpSocket::bind(address)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        receive(&socket, SO_RCVMARK);
        receive(&socket, SO_RCVPRIORITY);
        Self {
            hosts,
            scratch,
            socket,
        }
    }

    fn register(&self) {
        let [edge, dns] = ["edge", "dns"].map(|owner| format!("{OWNERS}/{owner}.toml"));
        run(&["registry", "register", &edge, &dns]).succeeds();
    }

    fn object(&self, name: &str) -> String {
        text(self.scratch.path().join(name))
    }

    fn bind(&self) {
        for owner in ["edge", "dns"] {
            let object = self.object(&format!("{owner}.bpf.o"));
            let bound = self.object(&format!("{owner}.bound.o"));
            run(&["bind", &object, "-o", &bound]).succeeds();
        }
    }

    #[track_caller]
    fn on_server(&self, command: &str) {
        tool(self.hosts.server(), command);
    }

    /// A program at TC, behind those that are there; `what` is where iproute2 finds it.
    #[track_caller]
    fn add_filter(&self, preference: u32, what: &str) {
        self.on_server(&format!(
            "tc filter add dev veth-server ingress pref {preference} bpf da {what}"
        ));
    }

    /// Mark and priority of a datagram.
    fn datagram(&self) -> (u32, u32) {
        let client = (TwoHosts::CLIENT_V4, 0);
        let client = self.hosts.client().run(|| UdpSocket::bind(client)).unwrap();
        client.send_to(b"hello", (TwoHosts::SERVER_V4, 53)).unwrap();
        mark_and_priority(&self.socket)
    }
}

#[test]
fn programs_of_two_owners_that_bpftool_loaded_read_each_others_fields_on_one_interface() {
    in_sandbox(|_| {
        let owners = Owners::new();
        owners.register();
        owners.bind();
        bpftool_load(&owners.object("edge.bound.o"), "edge");
        let dns = owners.object("dns.bound.o");
        owners.on_server(&format!(
            "bpftool prog load {dns} /sys/fs/bpf/dns type classifier"
        ));
        owners.on_server("ip link set dev veth-server xdp pinned /sys/fs/bpf/edge/edge_label");
        owners.on_server("tc qdisc add dev veth-server clsact");
        owners.add_filter(1, "object-pinned /sys/fs/bpf/dns");
        owners.add_filter(2, "object-pinned /sys/fs/bpf/edge/edge_route");
        assert_eq!(owners.datagram(), (Owners::TENANT, Owners::ZONE));
    });
}

#[test]
fn programs_of_two_owners_that_iproute2_loaded_read_each_others_fields_on_one_interface() {
    in_sandbox(|_| {
        let owners = Owners::new();
        owners.register();
        owners.bind();
        let [edge, dns] = ["edge.bound.o", "dns.bound.o"].map(|name| owners.object(name));
        owners.on_server(&format!(
            "ip link set dev veth-server xdp obj {edge} sec xdp"
        ));
        owners.on_server("tc qdisc add dev veth-server clsact");
        owners.add_filter(1, &format!("obj {dns} sec tc"));
        owners.add_filter(2, &format!("obj {edge} sec tc"));
        assert_eq!(owners.datagram(), (Owners::TENANT, Owners::ZONE));
    });
}

#[test]
fn programs_that_were_not_bound_leave_the_packets_of_others_alone() {
    in_sandbox(|_| {
        let owners = Owners::new();
        owners.register();
        owners.bind();
        let probe = probe(&owners.scratch);
        let [edge, dns] = ["edge", "dns"].map(|name| owners.object(name));
        let on_server = |command: &str| owners.on_server(command);
        on_server(&format!(
            "ip link set dev veth-server xdp obj {edge}.bpf.o sec xdp"
        ));
        on_server("tc qdisc add dev veth-server clsact");
        owners.add_filter(1, &format!("obj {dns}.bpf.o sec tc"));
        owners.add_filter(3, &format!("obj {edge}.bound.o sec tc"));
        assert_eq!(owners.datagram(), (0, 0), "nobody labelled it");

        on_server("ip link set dev veth-server xdp off");
        on_server(&format!(
            "ip link set dev veth-server xdp obj {edge}.bound.o sec xdp"
        ));
        assert_eq!(owners.datagram(), (0, 0), "only the label is bound");
        owners.add_filter(2, &format!("obj {dns}.bound.o sec tc"));
        let (tenant, zone) = owners.datagram();
        assert_eq!((tenant, zone), (Owners::TENANT, Owners::ZONE));
        owners.add_filter(4, &format!("obj {probe} sec tc"));
        let enoent = ZERO + libc::ENOENT as u32;
        assert_eq!(owners.datagram(), (enoent, enoent));
    });
}

#[test]
fn a_bound_object_that_bpftool_loaded_reads_and_writes_its_field() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let object = probe(&scratch);
        let schema = scratch.file("lab.toml", probe_schema("u32"));
        // Others came first, so that the number is not the one that anybody would guess.
        run(&["registry", "register", &format!("{OWNERS}/edge.toml")]).succeeds();
        let said = run(&["bind", &object, "-o", &object, "--schema", &schema]).succeeds();
        assert!(said.contains("probe  lab    u32        2"), "{said}");
        bpftool_load(&object, "probe");

        let (went, metadata) = run_pinned("probe/probe_set", &[]);
        assert_eq!(went, ZERO);
        let secret = HostRegistry::default().read().unwrap().secret().unwrap();
        let record = secret.open(&metadata).unwrap();
        let values: Vec<_> = record.iter().collect();
        assert_eq!(values.len(), 1, "{record:?}");
        let (tag, value) = values[0];
        assert_eq!(
            (tag.tlv().unwrap().get(), value),
            (2, &9u32.to_le_bytes()[..])
        );
        let (went, after) = run_pinned("probe/probe_get", &metadata);
        assert_eq!((went, after), (ZERO + 9, metadata));
    });
}

#[test]
fn an_object_that_was_not_bound_and_that_bpftool_loaded_touches_no_byte() {
    in_sandbox(|_| {
        bpftool_load(&probe(&Scratch::new()), "probe");
        let enoent = ZERO + libc::ENOENT as u32;
        assert_eq!(run_pinned("probe/probe_set", &[]), (enoent, vec![]));
        // Records with every number, and bytes that are no record.
        let mut record = Record::new();
        let empty = record.as_bytes().to_vec();
        for number in (1..=TlvType::MAX).filter_map(TlvType::new) {
            record.set(Tag::fixed(number, 1), &[0xff]).unwrap();
        }
        let mut full = record.as_bytes().to_vec();
        full.resize(full.len().next_multiple_of(4), 0);
        for metadata in [&full[..], &empty, &[0xaa; 16]] {
            let (went, after) = run_pinned("probe/probe_set", metadata);
            assert_eq!((went, &after[..]), (enoent, metadata));
            let (went, after) = run_pinned("probe/probe_get", metadata);
            assert!(went > ZERO, "{went}");
            assert_eq!(after, metadata);
        }
    });
}

#[test]
fn an_object_that_is_bound_again_gets_the_numbers_of_now() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let (object, bound) = (probe(&scratch), text(scratch.path().join("bound.o")));
        let schema = scratch.file("lab.toml", probe_schema("u32"));
        let edge = format!("{OWNERS}/edge.toml");
        let number = |input: &str| {
            let bind = ["bind", input, "-o", &bound, "--schema", &schema, "--json"];
            let said = json(&run(&bind).succeeds());
            assert_eq!(said["object"], bound);
            assert_eq!(said["fields"][0]["name"], "probe");
            said["fields"][0]["number"].as_u64().unwrap()
        };
        assert_eq!(number(&object), 1);
        let first = fs::read(&bound).unwrap();
        assert_eq!(number(&bound), 1);
        assert!(fs::read(&bound).unwrap() == first);
        run(&["registry", "remove", "--all"]).succeeds();
        run(&["registry", "register", &edge]).succeeds();
        assert_eq!(number(&bound), 2);
        let again = fs::read(&bound).unwrap();
        assert_eq!(number(&object), 2);
        assert!(fs::read(&bound).unwrap() == again);
    });
}

#[test]
fn only_its_owner_can_read_what_was_bound_and_nothing_that_is_printed_has_the_secret() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let (object, bound) = (probe(&scratch), text(scratch.path().join("bound.o")));
        let schema = scratch.file("lab.toml", probe_schema("u32"));
        fs::write(&bound, "for everybody").unwrap();
        for file in [&object, &bound] {
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let bind = ["bind", &object, "-o", &bound, "--schema", &schema];
        let mut said = run(&bind).succeeds();
        let mode = |file: &str| fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!([&bound, "/sys/fs/bpf/pktmeta-secret"].map(mode), [0o600; 2]);
        let secret = HostRegistry::default().read().unwrap().secret().unwrap();
        let bits = secret.bits().to_le_bytes();
        let has = |bytes: &[u8]| bytes.windows(6).any(|window| window == &bits[..6]);
        assert!(has(&fs::read(&bound).unwrap()) && !has(&fs::read(&object).unwrap()));
        for command in [&["registry", "list"][..], &["status"], &bind] {
            let json = run(&[command, &["--json"]].concat());
            let table = run(command);
            said += &[json.stdout, json.stderr, table.stdout, table.stderr].concat();
        }
        let mut words = said.split(|other: char| !other.is_ascii_alphanumeric());
        let hex =
            |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
        let shown = [
            secret.bits().to_string(),
            format!("{:x}", secret.bits()),
            hex(&bits[..6]),
        ];
        assert!(
            !words.any(|word| shown.iter().any(|shown| word.contains(shown))),
            "{said}"
        );
    });
}

#[test]
fn an_object_that_was_bound_to_another_registry_is_said_to_be_so() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let (object, bound) = (probe(&scratch), text(scratch.path().join("bound.o")));
        let schema = scratch.file("lab.toml", probe_schema("u32"));
        let bind = |input: &str| {
            let ran = run(&["bind", input, "-o", &bound, "--schema", &schema]);
            let said = ran.stderr.contains("another registry");
            ran.succeeds();
            said
        };
        assert!(!bind(&object) && !bind(&bound));
        run(&["registry", "remove", "--all"]).succeeds();
        assert!(bind(&bound));
        assert!(!bind(&bound));
    });
}

#[test]
fn programs_that_have_no_room_for_a_field_that_is_registered_late_are_named() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let (object, bound) = (probe(&scratch), text(scratch.path().join("bound.o")));
        let early = scratch.file("lab.toml", probe_schema("u32"));
        let late = scratch.file("late.toml", probe_schema("u64").replace("probe", "late"));
        let bind = |more: &[&str]| {
            let bind = ["bind", &object, "-o", &bound, "--schema", &early];
            let ran = run(&[&bind, more].concat());
            let said = ran.stderr.clone();
            ran.succeeds();
            said
        };
        assert_eq!(bind(&[]), "");
        bpftool_load(&bound, "early");
        assert_eq!(bind(&[]), "");
        let said = bind(&["--schema", &late]);
        let named = said.contains("BPF program") && said.contains("reserve 24 bytes");
        assert!(named && said.contains("take 32"), "{said}");
        assert_eq!(bind(&["--schema", &late]), "");
    });
}

#[test]
fn fields_that_nobody_registered_are_named_all_or_left_unbound_if_that_is_wanted() {
    in_sandbox(|_| {
        let owners = Owners::new();
        let (object, bound) = (owners.object("dns.bpf.o"), owners.object("bound.o"));
        let bind =
            |arguments: &[&str]| run(&[&["bind", &object, "-o", &bound], arguments].concat());
        bind(&[]).fails(&["tenant (4 bytes), zone (2 bytes)", "--schema"]);
        let dns = format!("{OWNERS}/dns.toml");
        let of_edge = bind(&["--schema", &dns]);
        of_edge.fails(&[&object, "tenant (4 bytes)", "--allow-unbound"]);
        assert!(!of_edge.stderr.contains("zone"), "{of_edge:#?}");
        assert!(!Path::new(&bound).exists());
        let said = run(&["registry", "list"]).succeeds();
        assert!(said.contains("no field is registered"), "{said}");

        let near = fs::read_to_string(format!("{OWNERS}/edge.toml"))
            .unwrap()
            .replace("tenant", "tenent");
        let near = owners.scratch.file("near.toml", near);
        let misspelt = bind(&["--schema", &dns, "--schema", &near]);
        misspelt.fails(&["tenant (4 bytes; did you mean tenent?)"]);

        let said = bind(&["--schema", &dns, "--allow-unbound"]).succeeds();
        for line in [
            "tenant         4 bytes  unbound",
            "zone    dns    u16            1",
        ] {
            assert!(said.contains(line), "{said}");
        }
        let said = json(&bind(&["--allow-unbound", "--json"]).succeeds());
        assert_eq!(said["fields"][0]["number"], Value::Null);
        assert_eq!(said["fields"][1]["number"], 1);
    });
}

#[test]
fn a_field_with_another_type_than_its_schema_gives_it_is_refused_and_both_are_shown() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let object = probe(&scratch);
        let bound = text(scratch.path().join("bound.o"));
        fs::write(&bound, "what was there").unwrap();
        for (kind, size) in [("u64", "8"), ("u16", "2"), ("bytes[..4]", "4")] {
            let schema = scratch.file("lab.toml", probe_schema(kind));
            run(&["bind", &object, "-o", &bound, "--schema", &schema]).fails(&[
                &object,
                "field probe has 4 bytes in the program",
                &format!("owner lab registered it as {kind} with {size}"),
                "the same type",
            ]);
        }
        assert_eq!(fs::read(&bound).unwrap(), b"what was there");
        let said = run(&["registry", "list"]).succeeds();
        assert!(said.contains("no field is registered"), "{said}");
    });
}

#[test]
fn what_is_no_object_for_this_host_is_refused_and_nothing_is_written() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let path = |name: &str| text(scratch.path().join(name));
        let other_endian = path("other_endian.o");
        let source = scratch.file("other.c", "int nothing;\n");
        let mut clang = Command::new(env!("PKTMETA_CLANG"));
        clang.args(["-target", "bpfeb", "-c", &source, "-o", &other_endian]);
        clang.ran().succeeds();
        let other_version = "const volatile char pktmeta_field_x[36] = \"PMfd\";\n";
        let source = scratch.file("old.c", other_version);
        let other_version = compile(&source, &scratch.path().join("old.o"));
        let text_file = scratch.file("text.o", "no object\n");
        let truncated = fs::read(probe(&scratch)).unwrap();
        let truncated = scratch.file("truncated.o", &truncated[..truncated.len() / 2]);
        let directory = text(scratch.path());
        let before = names(scratch.path());
        for (input, part) in [
            (&text_file[..], "no ELF object"),
            ("/bin/ls", "not for BPF"),
            (&other_endian, "other byte order"),
            (&other_version, "pktmeta_field_x"),
            (&truncated, "no ELF object"),
            ("/nonexistent/edge.o", "No such file"),
            (&directory, "directory"),
        ] {
            run(&["bind", input, "-o", &path("bound.o")]).fails(&[input, part]);
        }
        assert_eq!(names(scratch.path()), before);
    });
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_nothing_is_registered() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let object = probe(&scratch);
        let schema = scratch.file("lab.toml", probe_schema("u32"));
        for output in [
            "/nonexistent/bound.o",
            "/proc/bound.o",
            &text(scratch.path()),
        ] {
            let ran = run(&["bind", &object, "-o", output, "--schema", &schema]);
            ran.fails(&[&format!("write {output}: ")]);
        }
        let said = run(&["registry", "list"]).succeeds();
        assert!(said.contains("no field is registered"), "{said}");
    });
}

#[test]
fn an_object_without_fields_is_copied() {
    in_sandbox(|_| {
        let scratch = Scratch::new();
        let source = "__attribute__((section(\"xdp\"))) int pass(void *ctx) { return 2; }\n";
        let source = scratch.file("pass.c", source);
        let object = compile(&source, &scratch.path().join("pass.o"));
        let bound = text(scratch.path().join("bound.o"));
        let said = run(&["bind", &object, "-o", &bound]).succeeds();
        assert_eq!(said, "the object names no field\n");
        assert!(fs::read(object).unwrap() == fs::read(bound).unwrap());
    });
}

/// Every file in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| text(entry.unwrap().path())).collect();
    names.sort();
    names
}

fn receive(socket: &UdpSocket, what: i32) {
    let on = 1i32;
    // SAFETY: the option's value is an int, of the size that is passed.
    let result = unsafe {
        let on = (&raw const on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, what, on, 4)
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Of the next datagram; 0 for what it does not say.
fn mark_and_priority(socket: &UdpSocket) -> (u32, u32) {
    let mut payload = [0u8; 16];
    let mut control = [0u64; 16];
    let mut part = libc::iovec {
        iov_base: payload.as_mut_ptr().cast(),
        iov_len: size_of_val(&payload),
    };
    // SAFETY: zeros are a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: message points to buffers of the lengths it says, which outlive the call.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, 0) };
    assert!(received >= 0, "{}", io::Error::last_os_error());
    let (mut mark, mut priority) = (0, 0);
    // SAFETY: the kernel filled in the header, whose control messages are in `control`.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    // SAFETY: it is null, or points to a whole header in `control`.
    while let Some(found) = unsafe { header.as_ref() } {
        // SAFETY: mark and priority are a u32 behind the header of their message.
        let value = unsafe { libc::CMSG_DATA(found).cast::<u32>().read_unaligned() };
        match (found.cmsg_level, found.cmsg_type) {
            (libc::SOL_SOCKET, libc::SO_MARK) => mark = value,
            (libc::SOL_SOCKET, libc::SO_PRIORITY) => priority = value,
            other => panic!("{other:?}"),
        }
        // SAFETY: header is one of this message's.
        header = unsafe { libc::CMSG_NXTHDR(&message, header) };
    }
    (mark, priority)
}
