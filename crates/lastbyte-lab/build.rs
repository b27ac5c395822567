//! Compiles what the feature `lwip` needs of lwIP's C headers.

fn main() {
    println!("cargo::rerun-if-changed=src/lwip/stack.c");
    #[cfg(feature = "lwip")]
    lwip();
}

#[cfg(feature = "lwip")]
fn lwip() {
    const HEADERS: &str = "/usr/include/lwip";
    if !std::path::Path::new(HEADERS).exists() {
        println!(
            "cargo::error=the feature lwip needs lwIP's headers in {HEADERS}: install liblwip-dev"
        );
        return;
    }
    cc::Build::new()
        .file("src/lwip/stack.c")
        .include(HEADERS)
        .compile("lastbyte_lwip_stack");
    println!("cargo::rustc-link-lib=lwip");
}
