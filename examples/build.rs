//! Compiles the BPF examples, as the build of any crate with BPF programs of its own would.

fn main() {
    let compiler = pktmeta_build::of_pktmeta().with_machine_headers();
    for program in [
        "bpf/bill.bpf.c",
        "bpf/steer.bpf.c",
        "bpf/two_owners/edge.bpf.c",
        "bpf/two_owners/dns.bpf.c",
    ] {
        pktmeta_build::build(&compiler, program);
    }
}
