//! What is known of one connection: its steps, as the tracepoints reported them, and
//! the last sample of its socket.

pub(crate) mod history;
pub(crate) mod last_sample;
pub(crate) mod payload;
