//! What is known of one connection: its steps, as the tracepoints reported them, and
//! the last sample of its socket.

pub mod history;
pub mod last_sample;
pub mod payload;
