//! The whole breaker, as Rust uses it: a plan and the block that it decides about.

use super::block::Block;
use super::meter::Meters;
use super::permit::{Change, Outcome, Permit, Rejected};
use super::plan::{More, Plan};
use super::rules::Rules;
use super::time::Time;
use super::transition::Event;

/// A circuit breaker. What each method does is said at that of [`Plan`].
#[derive(Debug)]
pub struct Breaker {
    plan: Plan,
    block: Block,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self::of(Plan::new(rules))
    }

    /// A closed breaker that its meters trip, too.
    #[must_use]
    pub fn with_meters(rules: Rules, meters: Meters) -> Self {
        Self::of(Plan::with(rules, More { meters, ..More::default() }))
    }

    /// A closed breaker that plays by this plan.
    #[must_use]
    pub fn of(plan: Plan) -> Self {
        Self { plan, block: Block::default() }
    }

    /// Ask to make a call.
    ///
    /// # Errors
    /// [`Rejected`], with the state that rejected and the time until it makes sense to ask again.
    #[inline(always)]
    pub fn acquire(&self, time: impl Time) -> (Result<Permit, Rejected>, Option<Change>) {
        self.plan.acquire(&self.block, time)
    }

    /// Say how a call ended.
    #[inline(always)]
    pub fn settle(&self, permit: Permit, outcome: Outcome, time: impl Time) -> Option<Change> {
        self.plan.settle(&self.block, permit, outcome, time)
    }

    /// Move the state by hand.
    pub fn command(&self, event: Event, now_ns: u64) -> Option<Change> {
        self.plan.command(&self.block, event, now_ns)
    }

    /// The rules.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The mutable part, for reading.
    #[must_use]
    pub fn block(&self) -> &Block {
        &self.block
    }
}
