//! Whose runtime things run on.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::yield_now,
};

use crate::{Error, Result};

/// Refuses to go on where there is no runtime.
pub(crate) fn inside_runtime(called: &'static str, instead: Instead) -> Result<()> {
    if Handle::try_current().is_ok() {
        return Ok(());
    }
    let instead = match instead {
        Instead::Run => ": call `run()`, which brings its own",
        Instead::Nothing => "",
    };
    Err(Error::outside_runtime(called, instead))
}

/// What to call where there is no runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instead {
    Run,
    Nothing,
}

/// A future whose type is forgotten, so that what waits for it is compiled once.
///
/// What does not depend on a protocol would otherwise be compiled with each program, because it
/// waits for something that does.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Waits for a future on a runtime of this library's own, for a `run()`, unless there is one already, where
/// `instead` is called.
pub(crate) fn block_on<T>(
    instead: &'static str,
    builder: fn() -> Builder,
    future: Pin<Box<dyn Future<Output = Result<T>> + '_>>,
) -> Result<T> {
    let runtime = new_runtime("run()", instead, builder)?;
    let output = block_on_this(&runtime, future);
    // Neither a function that blocks its thread nor a lookup that outlived the connect timeout may
    // keep the process.
    runtime.shutdown_background();
    output
}

/// Waits for a future on a runtime.
pub(crate) fn block_on_this<T>(
    runtime: &Runtime,
    mut future: Pin<Box<dyn Future<Output = Result<T>> + '_>>,
) -> Result<T> {
    // For good only if the runtime gave up before the future was ready, which it never does.
    let mut output = Err(Error::interrupted(0));
    poll_on(runtime, &mut |cx| {
        future.as_mut().poll(cx).map(|ready| output = ready)
    });
    output
}

/// Polls on a runtime until all is done, whatever comes of it.
fn poll_on(runtime: &Runtime, poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>) {
    runtime.block_on(poll_fn(poll));
}

/// Wakes this task after tokio has polled the I/O driver, the timers and other tasks.
pub(crate) fn wake_after_others(cx: &mut Context<'_>) {
    // tokio keeps the waker at the first poll, so the future need not live on.
    let _: Poll<()> = pin!(yield_now()).poll(cx);
}

/// Makes a runtime for what is `called`, unless there is one already, where `instead` is.
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
