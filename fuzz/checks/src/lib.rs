//! What the fuzz targets check: each module has a function `check`, which panics when a promise is broken.
#![allow(
    clippy::missing_panics_doc,
    reason = "a check panics when a promise is broken"
)]

pub mod attributes;
pub mod client;
pub mod formats;
pub mod framings;
pub mod multiplexed;
pub mod proxy;
pub mod server;

/// Runs a future on a clock that jumps to the next timer when nothing else can happen.
///
/// # Panics
///
/// If the future has not ended after a day of that clock.
fn in_virtual_time<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let day = std::time::Duration::from_hours(24);
        tokio::time::timeout(day, future).await.expect("it ends")
    })
}
