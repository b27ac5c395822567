//! A reactor that shows no FIN's acknowledgement: nothing is registered
//! with it: an alarm looks.

use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};

use super::super::Look;
use super::edges::Edges;

pub(crate) struct Nested(Infallible);

impl Nested {
    pub(crate) fn new(_edges: Edges) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn poll(&self, _cx: &mut Context<'_>) -> Poll<io::Result<Look>> {
        match self.0 {}
    }
}
