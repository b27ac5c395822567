//! Whether more sockets can be taken, and what the shims know of that.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lastbyte_run_protocol::Control;

use crate::descriptor_budget::{DescriptorBudget, Held};
use crate::messages;

/// How long there may be no descriptors to read with before all programs are told.
const STUCK: Duration = Duration::from_millis(200);

pub(super) struct Capacity {
    budget: DescriptorBudget,
    full_users: HashSet<u32>,
    is_full: bool,
    is_warned: bool,
    /// Since when there have been no descriptors to read with.
    exhausted_since: Option<Instant>,
}

impl Capacity {
    pub(super) fn new(budget: DescriptorBudget) -> Self {
        Self {
            budget,
            full_users: HashSet::new(),
            is_full: false,
            is_warned: false,
            exhausted_since: None,
        }
    }

    /// Whether something was refused or not read, so that only looking again tells when
    /// there is room.
    pub(super) fn is_short(&self) -> bool {
        self.is_full || self.is_exhausted() || !self.full_users.is_empty()
    }

    /// Whether not even what is refused would find a descriptor.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted_since.is_some()
    }

    pub(super) fn must_refuse(&self, user: u32, held: &Held) -> bool {
        self.budget.must_refuse(user, held)
    }

    /// Publishes to the shims who can be taken more from.
    pub(super) fn update(&mut self, held: &Held, control: &Control, now: Instant) {
        let is_exhausted = self.budget.is_exhausted(held);
        // Soon over, unless who should close what was refused is blocked.
        self.exhausted_since = is_exhausted.then(|| self.exhausted_since.unwrap_or(now));
        let is_stuck = self
            .exhausted_since
            .is_some_and(|since| now.saturating_duration_since(since) > STUCK);
        let is_full = self.budget.is_full(held) || is_stuck;
        if is_full != self.is_full {
            self.is_full = is_full;
            control.set_full(is_full);
        }
        for user in held.keys().chain(&self.full_users.clone()) {
            self.update_user(*user, held, control);
        }
        if !self.full_users.is_empty() && !self.is_warned {
            self.is_warned = true;
            messages::print(format_args!(
                "{} connections are being ended, and there are descriptors for no more; \
                 until some are done, closes are the kernel's own (raise ulimit -Hn)",
                held.values().sum::<usize>()
            ));
        }
    }

    fn update_user(&mut self, user: u32, held: &Held, control: &Control) {
        let is_full = self.budget.is_full_for(user, held);
        if is_full == self.full_users.contains(&user) {
            return;
        }
        control.set_full_for(user, is_full);
        if is_full {
            self.full_users.insert(user);
        } else {
            self.full_users.remove(&user);
        }
    }
}
