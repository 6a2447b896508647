//! The limit of the retries of a channel, as a part of its calls.

use std::mem::replace;

use tokio::time::Instant;

/// The retries that time alone adds per second. The retries of ten seconds are kept.
const MIN_PER_SECOND: f64 = 10.0;
/// The most retries that are saved up.
const MAX_SAVED: f64 = 1_000.0;
/// How many retries each answered call adds.
const PER_ANSWER: f64 = 0.2;

/// Limits the retries of a channel to a part of its calls, so that they do not multiply the load of a server that fails.
#[derive(Debug)]
pub(super) struct RetryBudget {
    saved: f64,
    /// When the retries that time adds were added last.
    refilled: Instant,
}

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self {
            saved: 10.0 * MIN_PER_SECOND,
            refilled: Instant::now(),
        }
    }

    /// Adds the retries of answered calls.
    pub(super) fn deposit(&mut self, answers: u32) {
        self.saved = (self.saved + PER_ANSWER * f64::from(answers)).min(MAX_SAVED);
    }

    /// Takes a retry. Returns `false` if there is none.
    pub(super) fn withdraw(&mut self) -> bool {
        let now = Instant::now();
        let since = replace(&mut self.refilled, now);
        let of_time = MIN_PER_SECOND * (now - since).as_secs_f64();
        let most = self.saved.max(10.0 * MIN_PER_SECOND);
        self.saved = (self.saved + of_time).min(most);
        let is_left = self.saved >= 1.0;
        if is_left {
            self.saved -= 1.0;
        }
        is_left
    }

    /// Returns a retry that was not made.
    pub(super) fn put_back(&mut self) {
        self.saved += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*};
    use tokio::{runtime::Builder, time::advance};

    use super::*;

    /// What happens to a budget.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Answers(u32),
        Millis(u64),
        Retries(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..2_000_u32).prop_map(Step::Answers),
            (0..20_000_u64).prop_map(Step::Millis),
            (0..300_u32).prop_map(Step::Retries),
        ]
    }

    /// Takes retries until there are none, but at most `most`. Returns their number.
    fn take(budget: &mut RetryBudget, most: u32) -> u32 {
        let taken = (0..most).take_while(|_| budget.withdraw());
        u32::try_from(taken.count()).expect("at most `most`")
    }

    #[tokio::test(start_paused = true)]
    async fn retry_that_is_not_made_goes_back() {
        let mut budget = RetryBudget::new();
        for _ in 0..200 {
            assert!(budget.withdraw());
            budget.put_back();
        }
        assert_eq!(take(&mut budget, 200), 100);
        assert!(!budget.withdraw());
    }

    proptest! {
        #[test]
        fn budget_gives_what_time_and_answers_pay_for(steps in vec(step(), 0..40)) {
            let clock = Builder::new_current_thread().enable_time().start_paused(true).build();
            clock.expect("a runtime").block_on(async {
                let mut budget = RetryBudget::new();
                let (mut paid, mut taken) = (100.0, 0.0);
                for step in steps {
                    match step {
                        Step::Answers(answers) => {
                            budget.deposit(answers);
                            paid += f64::from(answers) / 5.0;
                        }
                        Step::Millis(millis) => {
                            let time = Duration::from_millis(millis);
                            advance(time).await;
                            paid += 10.0 * time.as_secs_f64();
                        }
                        Step::Retries(most) => taken += f64::from(take(&mut budget, most)),
                    }
                    prop_assert!(taken <= paid + 1e-6, "{taken} of {paid}");
                }
                // However much was taken, ten seconds pay for a hundred, and a thousand is the most.
                let rest = take(&mut budget, 2_000);
                prop_assert!(rest <= 1_000, "{rest}");
                advance(Duration::from_secs(11)).await;
                prop_assert_eq!(take(&mut budget, 2_000), 100);
                budget.deposit(50);
                prop_assert_eq!(take(&mut budget, 2_000), 10);
                Ok(())
            })?;
        }
    }
}
