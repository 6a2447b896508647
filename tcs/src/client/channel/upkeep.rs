//! Keeps up a connection that works: pings it, closes it when it is idle, and replaces it when it is old.

use std::{convert::Infallible, future::pending, time::Duration};

use tokio::time::{Instant, sleep};

use super::{connector::Connector, subchannel::Subchannel, subchannel_state::SubchannelState};
use crate::{client::connection::Connection, framing::Framing};

/// How many times a timeout is checked while it runs.
const CHECKS: u32 = 8;

/// How late an old connection is replaced at most, after the end of its streams.
const MAX_LATENESS: Duration = Duration::from_secs(1);

/// Does what is due, while it is polled. `replacement` becomes the connection that replaces this one.
pub(super) async fn keep_up<F: Framing>(
    subchannel: &Subchannel<F>,
    replacement: &mut Option<Connection<F>>,
) -> Infallible {
    let checks = check_use(subchannel);
    let replacing = replace_when_old(subchannel, replacement);
    tokio::join!(checks, replacing).0
}

/// Pings the connection when nothing was sent for a while, and closes it when only pings were. Checks now and then whether it
/// is in use, so that a call reads no clock.
async fn check_use<F: Framing>(subchannel: &Subchannel<F>) -> Infallible {
    let Connector {
        idle_timeout,
        ping_interval,
        ..
    } = subchannel.shared.connector;
    let Some(shortest) = idle_timeout.into_iter().chain(ping_interval).min() else {
        return pending().await;
    };
    // When a check found the last use, and when one found the last bytes.
    let (mut last_use, mut last_sent) = (Instant::now(), Instant::now());
    let mut last_offset = 0;
    loop {
        sleep(check_period(shortest)).await;
        let now = Instant::now();
        let has_passed =
            |limit: Option<Duration>, since| limit.is_some_and(|limit| now - since >= limit);
        let mut state = subchannel.lock();
        if state.queue.end_offset() > last_offset {
            (last_use, last_sent) = (now, now);
        }
        // The idle time begins with the reply, or with the end of the events.
        if !state.is_unused() {
            last_use = now;
        }
        if has_passed(ping_interval, last_sent) {
            state.ping();
            last_sent = now;
        }
        last_offset = state.queue.end_offset();
        if has_passed(idle_timeout, last_use) {
            // The calls that come now wait for another connection.
            state.end();
        }
        Subchannel::unlock_and_wake_driver(state);
    }
}

/// When the connection is old, opens another one, and lets this one take no more calls. Its calls in flight are still answered.
async fn replace_when_old<F: Framing>(
    subchannel: &Subchannel<F>,
    replacement: &mut Option<Connection<F>>,
) -> Infallible {
    let connector = &subchannel.shared.connector;
    let Some(max_age) = connector.max_age else {
        return pending().await;
    };
    // Up to a tenth earlier, so that the connections of many clients are not replaced at the same time.
    sleep(max_age.mul_f64(1.0 - fastrand::f64() / 10.0)).await;
    let mut failures = 0_u32;
    loop {
        // While a stream lasts, an old connection stays: new calls would wait for the end of the stream, which may never
        // come.
        while subchannel.lock().calls.has_streams() {
            sleep(check_period(max_age).min(MAX_LATENESS)).await;
        }
        if end_if(subchannel, |state| !state.has_worked && state.is_unused()) {
            return pending().await;
        }
        // The connection is used until there is another, so that no call waits for the next one.
        match Box::pin(subchannel.connect()).await {
            // If a stream has begun meanwhile, the server would close the other connection before the stream ends.
            Ok(next) if end_if(subchannel, |state| !state.calls.has_streams()) => {
                *replacement = Some(next);
                return pending().await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(error = ?error, "cannot replace the connection; trying again");
                subchannel.shared.stats.record_failed_connect(&error.into());
                failures = failures.saturating_add(1);
                sleep(connector.backoff.after(failures)).await;
            }
        }
    }
}

/// Takes no more calls, and wakes the driver, if `condition` returns `true`. Returns what it has returned.
fn end_if<F: Framing>(
    subchannel: &Subchannel<F>,
    condition: impl FnOnce(&SubchannelState<F>) -> bool,
) -> bool {
    let mut state = subchannel.lock();
    let is_end = condition(&state);
    if is_end {
        state.end();
        Subchannel::unlock_and_wake_driver(state);
    }
    is_end
}

/// Returns the time between two checks of a limit.
fn check_period(limit: Duration) -> Duration {
    (limit / CHECKS).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::{io::duplex, time::timeout};

    use super::*;
    use crate::{client::ChannelOptions, framing::LengthPrefixed};

    #[tokio::test(start_paused = true)]
    async fn ping_is_no_use_of_a_connection_and_hides_none() {
        let second = Duration::from_secs(1);
        // When a request is sent, and when the connection is closed: after three pings, or after one and two.
        for (request, close) in [(None, 24), (Some(second * 21 / 2), 11 + 24)] {
            let mut options = ChannelOptions::<LengthPrefixed>::new("127.0.0.1:1");
            options = options.idle_timeout(24 * second).ping_interval(8 * second);
            let channel = options.connect_lazily().expect("good options");
            let subchannel = channel.pool.subchannels.first().expect("it has one");
            let (near, _far) = duplex(64);
            let _wire = subchannel.attach(Connection::over(near), &mut Vec::new());
            let start = Instant::now();
            let mut upkeep = pin!(check_use(subchannel));
            if let Some(at) = request {
                let _ = timeout(at, &mut upkeep).await;
                let state = &mut *subchannel.lock();
                let pushed = (state.queue).push_encoded(state.framing.get_mut(), b"x");
                pushed.expect("it fits");
            }
            let is_open = || subchannel.lock().link().is_connected();
            let before = start + close * second - second / 2 - Instant::now();
            let _ = timeout(before, &mut upkeep).await;
            assert!(is_open(), "{request:?}");
            let _ = timeout(second, &mut upkeep).await;
            assert!(!is_open(), "{request:?}");
            let sent = subchannel.lock().queue.end_offset();
            // A ping of 5 bytes every 8 seconds, and a request of as many.
            assert_eq!(sent, 5 * (if request.is_some() { 5 } else { 3 }));
        }
    }
}
