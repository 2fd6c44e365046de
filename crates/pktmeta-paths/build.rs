//! Compiles the BPF programs to `OUT_DIR/paths.bpf.o`, so that who runs them needs no compiler.

fn main() {
    pktmeta_build::build(&pktmeta_build::of_pktmeta(), "bpf/paths.bpf.c");
}
