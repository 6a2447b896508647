//! Models of connections that wait for memory.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use super::*;
use crate::models::{block_on, explore, scope};

/// Reserves memory as a newcomer.
async fn reserve(budget: &MemoryBudget, pages: usize) -> Reservation {
    let share = budget.newcomer_share(pages * PAGE).await;
    budget.reserve(pages * PAGE, share).await
}

/// Reserves memory as a connection that is no newcomer.
async fn reserve_more(budget: &MemoryBudget, pages: usize) -> Reservation {
    let share = budget.newcomer_share(0).await;
    budget.reserve(pages * PAGE, share).await
}

/// Asserts that all memory is free and nobody waits.
fn assert_free(budget: &MemoryBudget) {
    assert!(budget.try_reserve(4 * PAGE).is_some());
    assert_eq!(budget.newcomers.available_permits(), 2);
    let waiting = [&budget.waiting, &budget.waiting_newcomers];
    assert_eq!(waiting.map(|it| it.load(Ordering::Relaxed)), [0, 0]);
}

#[test]
fn memory_that_is_freed_goes_to_the_next_though_another_gives_up() {
    explore(|| {
        let budget = MemoryBudget::new(4 * PAGE);
        let held = budget.try_reserve(3 * PAGE).expect("it is free");
        scope(|threads| {
            threads.spawn(|| {
                let mut cx = Context::from_waker(Waker::noop());
                let polled = pin!(reserve(&budget, 2)).poll(&mut cx);
                drop(polled);
            });
            threads.spawn(move || drop(held));
            drop(block_on(reserve(&budget, 2)));
        });
        assert_free(&budget);
    });
}

#[test]
fn buffers_that_together_exceed_the_budget_get_their_memory_in_turn() {
    explore(|| {
        let budget = MemoryBudget::new(4 * PAGE);
        scope(|threads| {
            threads.spawn(|| drop(block_on(reserve(&budget, 3))));
            threads.spawn(|| drop(block_on(reserve_more(&budget, 2))));
            threads.spawn(|| {
                let mut reply = None;
                // Replies never wait.
                drop(budget.reserve_existing(PAGE, &mut reply));
            });
            drop(block_on(reserve_more(&budget, 9)));
        });
        assert_free(&budget);
    });
}
