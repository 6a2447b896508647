//! The tokio runtime: whether there is one, and how tasks wait on it.

use std::{
    future::poll_fn,
    panic::catch_unwind,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::Notify,
    task::yield_now,
    time::sleep,
};

use crate::{Error, Result};

/// Returns an error if there is no runtime.
pub(crate) fn inside_runtime(called: &'static str) -> Result<()> {
    if Handle::try_current().is_ok() {
        return Ok(());
    }
    let cure = ": start one, as `#[tokio::main]` does";
    Err(Error::outside_runtime(called, cure))
}

/// Returns an error if there is no runtime, or if it has no clock.
pub(crate) fn inside_runtime_with_clock(called: &'static str) -> Result<()> {
    inside_runtime(called)?;
    // tokio does not say it in another way. The text of its panic goes to the panic hook, and names the cure as well.
    let timer = catch_unwind(|| drop(sleep(Duration::ZERO)));
    timer.map_err(|_| Error::without_clock(called))
}

/// Runs a future on a new runtime, for `run()`.
///
/// Returns an error inside a runtime, which tells the caller to call `instead`.
pub(crate) fn block_on<T>(
    instead: &'static str,
    builder: fn() -> Builder,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    let runtime = new_runtime("run()", instead, builder)?;
    let output = runtime.block_on(future);
    // To drop the runtime would wait for functions that block their thread, and for lookups that go on
    // after the connect timeout.
    runtime.shutdown_background();
    output
}

/// Wakes this task once tokio has polled the I/O driver, the timers and other tasks.
///
/// A task that wakes itself can run again before them.
pub(crate) fn wake_after_others(cx: &mut Context<'_>) {
    // tokio keeps the waker at the first poll, so the future can be dropped.
    let _: Poll<()> = pin!(yield_now()).poll(cx);
}

/// Calls `poll` once with the context of this task. Returns its result, without waiting.
#[inline]
pub(crate) fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> T) -> impl Future<Output = T> {
    poll_fn(move |cx| Poll::Ready(poll(cx)))
}

/// Waits until `condition` returns `true`. Checks it again after each notification of `changed`.
pub(crate) async fn wait_until(changed: &Notify, condition: impl Fn() -> bool) {
    loop {
        let notified = changed.notified();
        if condition() {
            return;
        }
        notified.await;
    }
}

/// Builds a runtime for the method `called`.
///
/// Returns an error inside a runtime, which tells the caller to call `instead`.
pub(crate) fn new_runtime(
    called: &'static str,
    instead: &'static str,
    builder: fn() -> Builder,
) -> Result<Runtime> {
    if Handle::try_current().is_ok() {
        return Err(Error::inside_runtime(called, instead));
    }
    builder().enable_all().build().map_err(Error::start)
}
