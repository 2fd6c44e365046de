//! What the authors of BPF programs have: the system's headers and tools, and those of the headers
//! that `pktmeta headers` writes.

use crate::{
    bind::{PROBE, probe_schema, run_pinned},
    command::{PKTMETA, Ran, Run, Scratch, text},
};
use aya::{
    Ebpf,
    programs::{SchedClassifier, Xdp},
};
use pktmeta_testkit::sandbox::in_sandbox;
use std::{env, fs, path::Path, process::Command};

pub(crate) const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A command as an author types it, in a folder.
pub(crate) fn shell(folder: &Path, command: &str) -> Ran {
    let own = Path::new(PKTMETA).parent().unwrap().to_owned();
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths([own].into_iter().chain(env::split_paths(&path))).unwrap();
    let clang = concat!("clang() { ", env!("PKTMETA_CLANG"), r#" "$@"; }"#);
    let mut bash = Command::new("bash");
    bash.args(["-ec", &format!("{clang}\n{command}")]);
    bash.current_dir(folder).env("PATH", path);
    bash.env("PKG_CONFIG_PATH", folder.join("share/pkgconfig"));
    bash.ran()
}

/// How the documents say that programs are compiled.
pub(crate) const COMPILE: &str = "clang -g -O2 -target bpf -mcpu=v3 $(pkg-config --cflags pktmeta)";

/// The headers, as the command writes them.
pub(crate) fn headers() -> Scratch {
    let scratch = Scratch::new();
    shell(scratch.path(), "pktmeta headers .").succeeds();
    scratch
}

#[test]
fn every_example_compiles_with_the_written_headers_and_those_of_the_system() {
    let scratch = headers();
    for example in ["steer", "bill", "two_owners/edge", "two_owners/dns"] {
        let source = format!("{REPOSITORY}/examples/bpf/{example}.bpf.c");
        let compile = format!("{COMPILE} -Wall -Wextra -Werror -c {source} -o it.o");
        shell(scratch.path(), &compile).succeeds();
    }
}

#[test]
fn headers_of_the_system_for_packets_of_all_kinds_compile_with_the_written_ones() {
    let scratch = headers();
    let headers = [
        "if_ether",
        "if_vlan",
        "if_packet",
        "ip",
        "ipv6",
        "in",
        "in6",
        "tcp",
        "udp",
        "icmpv6",
        "mpls",
        "pkt_cls",
        "errno",
        "stddef",
    ];
    let includes = headers.map(|name| format!("#include <linux/{name}.h>\n"));
    let source = format!(
        "#include <pktmeta/pktmeta.bpf.h>\n{}PKTMETA_FIELD(tenant, __u32);\n\
         SEC(\"xdp\") int f(struct xdp_md *ctx) {{ pktmeta_set(ctx, tenant, 7); return XDP_PASS; \
         }}\n",
        includes.concat()
    );
    scratch.file("it.bpf.c", source);
    let machine = "-I /usr/include/$(uname -m)-linux-gnu";
    for more in ["", machine] {
        let compile = format!("{COMPILE} {more} -Wall -Werror -c it.bpf.c -o it.o");
        shell(scratch.path(), &compile).succeeds();
    }
}

#[test]
fn a_processor_without_32_bit_jumps_is_refused_by_the_compiler_that_can_tell() {
    let scratch = headers();
    let source = format!("{REPOSITORY}/examples/bpf/steer.bpf.c");
    let compile = COMPILE.replace("v3", "v2");
    let refused = shell(scratch.path(), &format!("{compile} -c {source} -o it.o"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("compile with -mcpu=v3"),
        "{refused:?}"
    );
}

#[test]
fn a_skeleton_has_complete_types_of_what_is_bound() {
    let scratch = headers();
    scratch.file(
        "loader.c",
        "#include <pktmeta/binding.h>\n#include \"steer.skel.h\"\n\
         int main(void)\n{\n\tstruct steer *steer = steer__open();\n\n\
         \treturn !steer || steer->rodata->pktmeta_field_tenant.size != 4 ||\n\
         \t       steer->rodata->pktmeta_layout.area;\n}\n",
    );
    let script = format!(
        "{COMPILE} -c {REPOSITORY}/examples/bpf/steer.bpf.c -o steer.o\n\
         bpftool gen skeleton steer.o name steer > steer.skel.h\n\
         cc $(pkg-config --cflags pktmeta) -o loader loader.c -lbpf\n./loader"
    );
    shell(scratch.path(), &script).succeeds();
}

#[test]
fn a_bound_object_loads_with_xdp_loader_and_iproute2_as_it_is() {
    in_sandbox(|_| {
        let scratch = headers();
        let script = format!(
            "{COMPILE} -c {REPOSITORY}/examples/bpf/steer.bpf.c -o steer.o\n\
             pktmeta bind steer.o -o bound.o --schema {REPOSITORY}/examples/edge.toml\n\
             ip link add v0 type veth peer name v1\nip link set v0 up\nip link set v1 up\n\
             runs() {{ ip -d link show v1 | grep -q 'prog/xdp.* name label '; }}\n\
             xdp-loader load -m skb -n label v1 bound.o\nruns\nxdp-loader unload --all v1\n\
             ip link set v1 xdpgeneric obj bound.o sec xdp\nruns\n\
             tc qdisc add dev v1 clsact\n\
             tc filter add dev v1 ingress bpf da obj bound.o sec tc\n\
             tc filter show dev v1 ingress | grep -q 'name steer '\n"
        );
        shell(scratch.path(), &script).succeeds();
    });
}

/// [`PROBE`] as an author compiles it with these options, bound: its path.
fn bound_probe(scratch: &Scratch, source: &str, options: &str) -> String {
    scratch.file("probe.bpf.c", source);
    scratch.file("probe.toml", probe_schema("u32"));
    let script = format!(
        "{COMPILE} {options} -c probe.bpf.c -o probe.o\n\
         pktmeta bind probe.o -o bound.o --schema probe.toml"
    );
    shell(scratch.path(), &script).succeeds();
    text(scratch.path().join("bound.o"))
}

/// The XDP programs of [`PROBE`], which a loader pinned in a folder of bpffs, set a field and get
/// it.
#[track_caller]
fn assert_sets_and_gets(folder: &str) {
    let (set, metadata) = run_pinned(&format!("{folder}/probe_set"), &[]);
    assert_eq!(set, 1000);
    let (got, _) = run_pinned(&format!("{folder}/probe_get"), &metadata);
    assert_eq!(got, 1009);
}

#[test]
fn a_bound_object_without_kernel_functions_loads_with_aya_and_works() {
    in_sandbox(|_| {
        let scratch = headers();
        let source = PROBE.replace("SEC(\"tc\")", "SEC(\"classifier\")");
        let object = bound_probe(&scratch, &source, "-DPKTMETA_NO_KFUNCS");
        let mut object = Ebpf::load_file(object).unwrap();
        fs::create_dir("/sys/fs/bpf/aya").unwrap();
        for name in ["probe_set", "probe_get"] {
            let program: &mut Xdp = object.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
            program.pin(format!("/sys/fs/bpf/aya/{name}")).unwrap();
        }
        let tc = object.program_mut("probe_tc").unwrap();
        let tc: &mut SchedClassifier = tc.try_into().unwrap();
        tc.load().unwrap();
        assert_sets_and_gets("aya");
    });
}

/// Debian 12's is a library of Go without modules.
#[test]
fn debians_cilium_ebpf_loads_no_object_and_opens_what_bpftool_loaded() {
    const PROGRAM: &str = include_str!("loaders/cilium.go");
    in_sandbox(|_| {
        let scratch = headers();
        scratch.file("cilium.go", PROGRAM);
        let go = "GO111MODULE=off GOPATH=/usr/share/gocode go build -o cilium cilium.go";
        shell(scratch.path(), go).succeeds();
        for (options, why) in [
            ("", "reference to .ksyms: not supported"),
            (
                "-DPKTMETA_NO_KFUNCS",
                "unsupported object relocation STB_WEAK",
            ),
        ] {
            bound_probe(&scratch, PROBE, options);
            let refused = shell(scratch.path(), "./cilium load bound.o");
            assert_eq!(refused.code, Some(1), "{refused:?}");
            assert!(refused.stderr.contains(why), "{refused:?}");
        }
        shell(
            scratch.path(),
            "bpftool prog loadall bound.o /sys/fs/bpf/cilium\n\
             test \"$(./cilium open /sys/fs/bpf/cilium/probe_set)\" = XDP",
        )
        .succeeds();
        assert_sets_and_gets("cilium");
    });
}

/// Without what bpftool 7.1 does not link: the documents say so.
#[test]
fn objects_with_one_field_of_two_sizes_do_not_link_and_those_that_agree_do() {
    let scratch = headers();
    let program = |name: &str, field: &str| {
        let source = format!(
            "#include <pktmeta/pktmeta.bpf.h>\n{field}\n\
             SEC(\"xdp\") int {name}(struct xdp_md *ctx)\n\
             {{\n\treturn pktmeta_delete(ctx, tenant) ? XDP_PASS : XDP_DROP;\n}}\n\
             char LICENSE[] SEC(\"license\") = \"GPL\";\n"
        );
        scratch.file(&format!("{name}.bpf.c"), source);
        let compile = format!("{COMPILE} -DPKTMETA_NO_KFUNCS -c {name}.bpf.c -o {name}.o");
        shell(scratch.path(), &compile).succeeds();
    };
    program("u32", "PKTMETA_FIELD(tenant, __u32);");
    program("too", "PKTMETA_FIELD(tenant, __u32);");
    program("u64", "PKTMETA_FIELD(tenant, __u64);");
    program("bytes", "PKTMETA_FIELD_BYTES(tenant, 4);");
    let link = |other: &str| {
        let command = format!("bpftool gen object linked.o u32.o {other}.o");
        shell(scratch.path(), &command)
    };
    link("too").succeeds();
    for other in ["u64", "bytes"] {
        let refused = link(other);
        assert_ne!(refused.code, Some(0), "{refused:?}");
        let name = "'pktmeta_size_of_tenant'";
        assert!(refused.stderr.contains(name), "{refused:?}");
    }
}
