//! What tells one build of the shim from another before it is loaded.

/// What a shim's version stands after in its file.
pub const MARK: &str = "lastbyte shim, version ";

/// What the shim has in its file: [`MARK`], the version, and a zero.
pub const MARKED: &str = concat!("lastbyte shim, version ", env!("CARGO_PKG_VERSION"), "\0");

/// The version of the shim that is supposed to work with this supervisor.
pub const SHIM_VERSION: &str = env!("CARGO_PKG_VERSION");
