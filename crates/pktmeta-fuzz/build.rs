//! Compiles the C codec for the host. What is undefined in C traps: the trap needs no runtime
//! library, which the Rust linker would have to be taught.

fn main() {
    const HEADERS: &str = "../pktmeta-headers/include";
    println!("cargo::rerun-if-changed=src/codec.c");
    println!("cargo::rerun-if-changed={HEADERS}/pktmeta");
    cc::Build::new()
        .file("src/codec.c")
        .include(HEADERS)
        .flag("-std=gnu11")
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true)
        .opt_level(2)
        .flag("-fsanitize=undefined")
        .flag("-fsanitize-undefined-trap-on-error")
        .compile("pktmeta_codec");
}
