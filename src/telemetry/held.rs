//! Gauges that live as long as the owner of their value.

use metrics::{Label, gauge};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The value of a gauge, present on `/metrics` as long as this handle lives.
#[derive(Debug)]
pub struct Held(Arc<Series>);

#[derive(Debug)]
struct Series {
    name: &'static str,
    labels: Vec<Label>,
    bits: AtomicU64,
}

static HELD: Mutex<Vec<Weak<Series>>> = Mutex::new(Vec::new());

impl Held {
    pub(super) fn new(name: &'static str, labels: Vec<Label>, value: f64) -> Self {
        let series = Arc::new(Series { name, labels, bits: AtomicU64::new(value.to_bits()) });
        series.publish();
        HELD.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&series));
        Self(series)
    }

    /// Sets and publishes the value.
    pub fn set(&self, value: f64) {
        self.0.bits.store(value.to_bits(), Ordering::Relaxed);
        self.0.publish();
    }
}

impl Series {
    fn publish(&self) {
        // Looked up each time: a handle kept by us would outlive the recorder's idle series and write into nothing.
        gauge!(self.name, self.labels.clone())
            .set(f64::from_bits(self.bits.load(Ordering::Relaxed)));
    }
}

/// Publishes every held value again.
pub(super) fn repeat_held() {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).retain(|series| match series.upgrade() {
        Some(series) => {
            series.publish();
            true
        }
        None => false,
    });
}

/// A condition that is 1 on `/metrics` while this handle lives, and 0 right after.
#[derive(Debug)]
pub struct Condition(Held);

impl Condition {
    pub(super) fn of(held: Held) -> Self {
        Self(held)
    }
}

impl Drop for Condition {
    fn drop(&mut self) {
        self.0.set(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::for_tests;
    use super::*;

    #[test]
    fn a_gauge_is_repeated_while_it_is_held_and_not_longer() {
        let held = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&held);
        for_tests(move || {
            *keep.lock().unwrap() = Some(Held::new("silversink_test", Vec::new(), 5.0))
        });

        let while_held = for_tests(repeat_held);
        held.lock().unwrap().take();
        let after = for_tests(repeat_held);

        assert!(while_held.render().contains("silversink_test 5"), "{}", while_held.render());
        assert!(!after.render().contains("silversink_test"), "{}", after.render());
    }
}
