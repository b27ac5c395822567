//! `axum::serve` over `lastbyte::tokio::Listener`.
