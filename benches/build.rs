//! Compiles the BPF programs that `record` compares and `sockets` observes with, each to
//! `OUT_DIR/NAME.bpf.o`.

const SOURCES: [&str; 7] = [
    "src/record/bpf/empty.bpf.c",
    "src/record/bpf/raw.bpf.c",
    "src/record/bpf/traits.bpf.c",
    "src/record/bpf/hash.bpf.c",
    "src/record/bpf/pktmeta.bpf.c",
    "src/sockets/bpf/observe.bpf.c",
    // Of the tests of sockets, which count what is left behind too.
    "../crates/pktmeta-bpf/tests/sockets/storage/count.bpf.c",
];

fn main() {
    let compiler = pktmeta_build::of_pktmeta();
    for source in SOURCES {
        pktmeta_build::build(&compiler, source);
    }
}
