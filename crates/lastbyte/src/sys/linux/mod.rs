//! Linux.

mod option;

pub(crate) use option::{linger, set_linger};
