//! Meters: trip rules that need more memory than the word that decides has room for.
//!
//! A meter keeps its own words, tagged with the generation that wrote them. A word of another generation reads as empty, so a state
//! change empties every meter at once and writes nothing. Each outcome is recorded by every meter; the first that is met trips.
//!
//! * [`score`]: a level, where the word that decides already holds another
//! * [`calls`]: hits among the last N calls, exact
//! * [`buckets`]: hits among the calls of the last while, in ten buckets
//!
//! All words of a breaker's meters lie in one slice, found by offsets: like the block, they could lie in a mapping.
//!
//! # Memory orders
//!
//! A meter's word is tagged by somebody who has read the breaker's generation; so every read that leads to a decision is an
//! `Acquire`, every write a `Release`, and the question whether one's own generation is the current one, asked after that read,
//! is answered from a word at least as new. It is the same bargain as that of the [leases](super::lease).

pub(super) mod buckets;
mod calls;
mod score;

use super::rules::Score;
use super::word::Generation;
use crate::sync::AtomicU64;
use buckets::Buckets;
use calls::Calls;

/// What a [`Rate`] looks back on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last so many calls, 2 to [`MAX_CALLS`].
    Calls(u32),
    /// Ten buckets of so many nanoseconds, the present one included.
    Buckets(u64),
}

/// The longest window of calls.
pub const MAX_CALLS: u32 = 1_000_000;

/// Trips when too large a part of the calls in a window are hits: failures, or slow calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// What is looked at.
    pub window: Window,
    /// The part that trips, above 0 and at most 1.
    pub rate: f64,
    /// Calls that the window must hold before it says anything.
    pub minimum_calls: u64,
    /// What takes longer is a hit; 0: failures are the hits.
    pub slower_than_ns: u64,
}

impl Rate {
    #[allow(clippy::cast_precision_loss)] // a window has fewer calls than a double has exact integers
    fn met_by(&self, seen: Seen) -> Option<Seen> {
        let is_met = seen.hits > 0 && seen.calls >= self.minimum_calls && seen.hits as f64 / seen.calls as f64 >= self.rate;
        is_met.then_some(seen)
    }
}

/// A rule that keeps a meter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MeterRule {
    /// A level.
    Score(Score),
    /// A rate.
    Rate(Rate),
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    hits: u64,
    calls: u64,
}

/// A meter that was met: which rule, and what met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// The rule's place among all rules of the breaker.
    pub rule: u32,
    /// Hits in the window, or the level reached.
    pub hits: u64,
    /// Calls in the window; 0 for a level.
    pub calls: u64,
}

/// The duration of a call of which nobody knows when it began. It is neither slow nor fast: rules about slow calls leave it out.
pub(super) const UNKNOWN_NS: u64 = u64::MAX;

/// One call, as a meter sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) generation: Generation,
    pub(super) failed: bool,
    pub(super) duration_ns: u64,
    /// 0 where nobody asks for the time.
    pub(super) now_ns: u64,
}

/// The breaker has left the call's generation: nothing of it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Late;

#[derive(Debug)]
struct Meter {
    /// The rule's place among all rules of the breaker.
    rule: u32,
    /// Where its words begin.
    offset: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Score(Score),
    Calls(Calls, Rate),
    Buckets(Buckets, Rate),
}

/// The meters of a breaker.
#[derive(Debug)]
pub struct Meters {
    plan: Box<[Meter]>,
    words: Box<[AtomicU64]>,
    /// The least that some rule calls slow; `u64::MAX`: nobody measures how long calls take.
    slower_than_ns: u64,
    needs_time: bool,
}

impl Default for Meters {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Meters {
    /// Meters for `rules`, each with its place among all rules of the breaker.
    #[must_use]
    pub fn new(rules: &[(u32, MeterRule)]) -> Self {
        let mut offset = 0;
        let mut plan = Vec::with_capacity(rules.len());
        for (rule, what) in rules {
            let kind = match what {
                MeterRule::Score(score) => Kind::Score(*score),
                MeterRule::Rate(rate) => match rate.window {
                    Window::Calls(calls) => Kind::Calls(Calls::new(calls), *rate),
                    Window::Buckets(length_ns) => Kind::Buckets(Buckets::new(length_ns), *rate),
                },
            };
            let words = match &kind {
                Kind::Score(_) => 1,
                Kind::Calls(calls, _) => calls.words(),
                Kind::Buckets(..) => buckets::WORDS,
            };
            plan.push(Meter { rule: *rule, offset, kind });
            offset += words;
        }
        let slower_than_ns = rules.iter().filter_map(|(_, what)| match what {
            MeterRule::Rate(rate) if rate.slower_than_ns > 0 => Some(rate.slower_than_ns),
            _ => None,
        });
        let slower_than_ns = slower_than_ns.min().unwrap_or(u64::MAX);
        let needs_time = slower_than_ns != u64::MAX || plan.iter().any(|meter| matches!(meter.kind, Kind::Buckets(..)));
        Self { plan: plan.into(), words: (0..offset).map(|_| AtomicU64::new(0)).collect(), slower_than_ns, needs_time }
    }

    /// Whether a call has to say when it began.
    #[inline(always)]
    pub(super) fn measures(&self) -> bool {
        self.slower_than_ns != u64::MAX
    }

    /// Whether a call has to say when it ended.
    #[inline(always)]
    pub(super) fn needs_time(&self) -> bool {
        self.needs_time
    }

    /// Whether some rule calls this slow.
    pub(super) fn is_slow(&self, duration_ns: u64) -> bool {
        duration_ns > self.slower_than_ns && duration_ns != UNKNOWN_NS
    }

    /// Record a call that ended in CLOSED; `is_current` says whether the breaker is still in its generation. Returns the first rule met.
    #[inline(always)]
    pub(super) fn record(&self, call: Call, is_current: impl Fn() -> bool) -> Option<Met> {
        if let [only] = &*self.plan {
            return only.record(&self.words, call, &is_current).ok()?;
        }
        self.record_all(call, is_current)
    }

    #[inline(never)]
    fn record_all(&self, call: Call, is_current: impl Fn() -> bool) -> Option<Met> {
        let mut first = None;
        for meter in &self.plan {
            let Ok(met) = meter.record(&self.words[meter.offset..], call, &is_current) else { return None };
            first = first.or(met);
        }
        first
    }
}

impl Meter {
    /// What met the rule, if this call did.
    #[inline(always)]
    fn record(&self, words: &[AtomicU64], call: Call, is_current: impl Fn() -> bool) -> Result<Option<Met>, Late> {
        let seen = match &self.kind {
            Kind::Calls(_, rate) | Kind::Buckets(_, rate) if rate.slower_than_ns > 0 && call.duration_ns == UNKNOWN_NS => None,
            Kind::Score(score) => score::record(*score, &words[0], call, is_current)?,
            Kind::Calls(calls, rate) => rate.met_by(calls.record(words, call.generation, is_hit(rate, call), is_current)?),
            Kind::Buckets(buckets, rate) => rate.met_by(buckets.record(words, call, is_hit(rate, call), is_current)?),
        };
        Ok(seen.map(|seen| Met { rule: self.rule, hits: seen.hits, calls: seen.calls }))
    }
}

#[inline(always)]
fn is_hit(rate: &Rate, call: Call) -> bool {
    if rate.slower_than_ns > 0 { call.duration_ns > rate.slower_than_ns } else { call.failed }
}
