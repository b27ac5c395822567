//! The contract's rows on Windows. They run under Wine, by `.ci/long/windows`; what Wine cannot show of
//! Windows itself is in docs/systems.md. The oracle is Winsock, called directly, and the peer's bytes.

#![cfg(windows)]

mod windows {
    mod net;

    mod blocking;
    mod closer;
    mod handle;
    mod off;
    mod option;
    mod refusal;
    #[cfg(feature = "axum")]
    mod tokio;
}
