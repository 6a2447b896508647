//! The limit of the retries of a channel, as a part of its calls.

use std::mem::replace;

use tokio::time::Instant;

use crate::{
    panics::lock,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The retries that time alone adds per second. The retries of ten seconds are kept.
const MIN_PER_SECOND: f64 = 10.0;
/// The most retries that are saved up.
const MAX_SAVED: f64 = 1_000.0;
/// How many retries each answered call adds.
const PER_ANSWER: f64 = 0.2;

/// Limits the retries of a channel to a part of its calls, so that they do not multiply the load of a server that fails.
#[derive(Debug)]
pub(super) struct RetryBudget {
    /// The number of answered calls so far.
    answers: AtomicU64,
    saved: Mutex<Saved>,
}

#[derive(Debug)]
struct Saved {
    retries: f64,
    /// The answers that have been added.
    answers: u64,
    /// When the retries that time adds were added last.
    refilled: Instant,
}

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self {
            answers: AtomicU64::new(0),
            saved: Mutex::new(Saved {
                retries: 10.0 * MIN_PER_SECOND,
                answers: 0,
                refilled: Instant::now(),
            }),
        }
    }

    /// Adds the retries of answered calls.
    #[inline]
    pub(super) fn deposit(&self, answers: u64) {
        self.answers.fetch_add(answers, Relaxed);
    }

    /// Takes a retry, if there is one.
    pub(super) fn withdraw(&self) -> Option<Withdrawal<'_>> {
        let mut saved = lock(&self.saved);
        // Read under the lock: otherwise, a call that waited for it would set both back, and later answers and time
        // would count twice.
        let (now, answers) = (Instant::now(), self.answers.load(Relaxed));
        let new = answers.saturating_sub(replace(&mut saved.answers, answers));
        #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53")]
        let of_answers = PER_ANSWER * new as f64;
        saved.retries = (saved.retries + of_answers).min(MAX_SAVED);
        let since = replace(&mut saved.refilled, now);
        let of_time = MIN_PER_SECOND * (now - since).as_secs_f64();
        let most = saved.retries.max(10.0 * MIN_PER_SECOND);
        saved.retries = (saved.retries + of_time).min(most);
        if saved.retries < 1.0 {
            return None;
        }
        saved.retries -= 1.0;
        Some(Withdrawal(Some(self)))
    }
}

/// A retry that was taken out of the budget. Dropping it puts it back.
#[derive(Debug)]
pub(super) struct Withdrawal<'a>(Option<&'a RetryBudget>);

impl Withdrawal<'_> {
    /// Spends the retry, because the request was sent.
    pub(super) fn spend(mut self) {
        self.0 = None;
    }
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(budget) = self.0 {
            lock(&budget.saved).retries += 1.0;
        }
    }
}

#[cfg(test)]
mod models;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*};
    use tokio::{runtime::Builder, time::advance};

    use super::*;

    /// What happens to a budget.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Answers(u64),
        Millis(u64),
        Retries(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..2_000_u64).prop_map(Step::Answers),
            (0..20_000_u64).prop_map(Step::Millis),
            (0..300_u32).prop_map(Step::Retries),
        ]
    }

    /// Takes retries until there are none, but at most `most`. Returns their number.
    fn take(budget: &RetryBudget, most: u32) -> u32 {
        let taken = (0..most).map_while(|_| budget.withdraw().map(Withdrawal::spend));
        u32::try_from(taken.count()).expect("at most `most`")
    }

    #[tokio::test(start_paused = true)]
    async fn retry_that_is_not_made_goes_back() {
        let budget = RetryBudget::new();
        for _ in 0..200 {
            drop(budget.withdraw());
        }
        assert_eq!(take(&budget, 200), 100);
        assert!(budget.withdraw().is_none());
    }

    proptest! {
        #[test]
        fn budget_gives_what_time_and_answers_pay_for(steps in vec(step(), 0..40)) {
            let clock = Builder::new_current_thread().enable_time().start_paused(true).build();
            clock.expect("a runtime").block_on(async {
                let budget = RetryBudget::new();
                let (mut paid, mut taken) = (100.0, 0.0);
                for step in steps {
                    match step {
                        Step::Answers(answers) => {
                            budget.deposit(answers);
                            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
                            let part = answers as f64 / 5.0;
                            paid += part;
                        }
                        Step::Millis(millis) => {
                            let time = Duration::from_millis(millis);
                            advance(time).await;
                            paid += 10.0 * time.as_secs_f64();
                        }
                        Step::Retries(most) => taken += f64::from(take(&budget, most)),
                    }
                    prop_assert!(taken <= paid + 1e-6, "{taken} of {paid}");
                }
                // However much was taken, ten seconds pay for a hundred, and a thousand is the most.
                let rest = take(&budget, 2_000);
                prop_assert!(rest <= 1_000, "{rest}");
                advance(Duration::from_secs(11)).await;
                prop_assert_eq!(take(&budget, 2_000), 100);
                budget.deposit(50);
                prop_assert_eq!(take(&budget, 2_000), 10);
                Ok(())
            })?;
        }
    }
}
