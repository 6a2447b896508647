//! A model of calls that are answered, and sent again, at the same time.

use super::*;
use crate::models::{explore_all, scope};

#[test]
fn answer_pays_for_retries_once() {
    explore_all(|| {
        let budget = RetryBudget::new();
        scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    budget.deposit(100);
                    budget.withdraw().expect("there are retries").spend();
                });
            }
        });
        budget.withdraw().expect("there are retries").spend();
        // Time adds nothing to more than a hundred.
        let left = lock(&budget.saved).retries;
        assert!((left - 137.0).abs() < 1e-6, "{left}");
    });
}
