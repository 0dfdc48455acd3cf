//! Trip rules as the core takes them, from those of a configuration.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::breaker::{MeterRule, Meters, Rate, Score, Window};

/// The score for the word that decides, with its place among the rules, and the meters for all other rules, if there are any.
type Split = ((u8, Score), Option<Meters>);

/// Split the rules, a tuple of those of `switchgear.rules`: the first score goes into the word.
pub fn of(rules: &Bound<'_, PyAny>) -> PyResult<Split> {
    let plain = rules.py().import("switchgear.rules")?.call_method1("meters", (rules,))?;
    let mut word = None;
    let mut meters = Vec::new();
    for (place, rule) in (0_u8..).zip(plain.try_iter()?) {
        match meter(rule?.cast::<PyTuple>()?)? {
            MeterRule::Score(score) if word.is_none() => word = Some((place, score)),
            rule => meters.push((place.into(), rule)),
        }
    }
    let meters = (!meters.is_empty()).then(|| Meters::new(&meters));
    Ok((word.unwrap_or((0, Score::NONE)), meters))
}

/// `switchgear.rules.Score` or `Rate`, which are tuples of plain numbers.
fn meter(rule: &Bound<'_, PyTuple>) -> PyResult<MeterRule> {
    match rule.len() {
        3 => {
            let (up, down, limit) = rule.extract::<(u32, u64, u32)>()?;
            Ok(MeterRule::Score(Score { up, down: u32::try_from(down).unwrap_or(u32::MAX), limit }))
        }
        5 => {
            let (calls, bucket_ns, rate, minimum_calls, slower_than_ns) = rule.extract::<(u32, u64, f64, u64, u64)>()?;
            let window = if calls > 0 { Window::Calls(calls) } else { Window::Buckets(bucket_ns) };
            Ok(MeterRule::Rate(Rate { window, rate, minimum_calls, slower_than_ns }))
        }
        length => Err(PyTypeError::new_err(format!("a meter is a Score or a Rate, not a tuple of {length}"))),
    }
}
