//! The committed header is the one that cbindgen writes.

use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config =
        cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("a configuration");
    let mut written = Vec::new();
    // Not `with_crate`, which asks cargo for the metadata of every package of every
    // platform: a machine without network does not have them.
    cbindgen::Builder::new()
        .with_src(folder.join("src/lib.rs"))
        .with_config(config)
        .generate()
        .expect("the crate parses")
        .write(&mut written);
    let written = String::from_utf8(written).expect("text");
    let path = folder.join("include/lastbyte.h");
    if std::env::var_os("LASTBYTE_WRITE_HEADER").is_some() {
        std::fs::write(&path, &written).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == written,
        "include/lastbyte.h is not what cbindgen writes; \
         LASTBYTE_WRITE_HEADER=1 cargo test -p lastbyte-capi --test header writes it"
    );
}
