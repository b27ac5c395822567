//! The shim of `lastbyte run`, as bytes in the command.
//!
//! `cargo install` leaves nothing but a program, so the shared library has to travel in
//! it. Cargo cannot say where it built a dependency's shared library (that is what the
//! unstable artifact dependencies are for), and a build script runs before the
//! dependencies are built. A macro runs after that, and inside rustc, whose arguments
//! name the dependency's rlib; cargo has one rustc write both, into one folder.

use std::env::args_os;
use std::ffi::OsString;
use std::path::PathBuf;

use proc_macro::TokenStream;

const CRATE: &str = "lastbyte_run_shim";

/// `Option<&'static [u8]>`: the shared library that was built of the crate
/// `lastbyte-run-shim`; `None` where none was built, as with `cargo check`.
#[proc_macro]
pub fn shim(_input: TokenStream) -> TokenStream {
    let source = match library(args_os()) {
        Some(path) => {
            format!("::core::option::Option::Some(&::core::include_bytes!({path:?})[..])")
        }
        None => "::core::option::Option::None".to_owned(),
    };
    source.parse().expect("an expression")
}

/// The shared library beside the rlib of `--extern lastbyte_run_shim=PATH`.
fn library(arguments: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let arguments: Vec<String> = arguments
        .filter_map(|argument| argument.into_string().ok())
        .collect();
    let rlib = arguments.windows(2).find_map(|pair| {
        let (name, path) = pair[1].split_once('=')?;
        // Cargo may put options before the name, as in `noprelude:name`.
        let is_it = pair[0] == "--extern" && name.rsplit(':').next() == Some(CRATE);
        (is_it && path.ends_with(".rlib")).then(|| PathBuf::from(path))
    })?;
    let library = rlib.with_file_name(format!("lib{CRATE}.so"));
    library.canonicalize().ok()
}
