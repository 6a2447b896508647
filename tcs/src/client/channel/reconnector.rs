//! The task of one connection of a channel.
//!
//! The task connects when a call needs a connection, drives the connection until it ends, and begins again.

use std::{mem::take, sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tracing::{Instrument as _, info_span};

use super::{driver::Driver, subchannel::Subchannel, subchannel_state::Link, upkeep::keep_up};
use crate::{
    Error, Result,
    client::{connection::Connection, fault::Fault},
    framing::Framing,
    panics::{lock, wake_all},
    runtime::{inside_runtime_with_clock, wait_until},
};

/// A connection that ends sooner without having worked counts as an attempt that has failed, so that a server that accepts
/// and closes at once is not asked again at once.
const MIN_LIFE: Duration = Duration::from_secs(1);

/// Keeps a subchannel connected while it is used.
pub(super) struct Reconnector<F: Framing> {
    subchannel: Arc<Subchannel<F>>,
    /// The driver of the next connection, if that is open. The driver is here, so that it never outlives this value.
    driver: Option<Driver<F>>,
    /// The number of attempts that have failed since a connection has worked.
    failures: u32,
    /// The wait before the next attempt.
    wait: Duration,
    /// When the last connection that has worked ended.
    lost_at: Option<Instant>,
}

impl<F: Framing> Reconnector<F> {
    /// Requests a connection, though no call waits for it.
    pub(super) fn request_in_background(subchannel: &Arc<Subchannel<F>>) {
        // Without a runtime, no connection is made, and the caller uses another one.
        drop(Self::request(subchannel, "call()"));
    }

    /// Requests a connection for the method `called`, if there is none: wakes the task that makes it, and starts the
    /// task if that does not run.
    pub(super) fn request(subchannel: &Arc<Subchannel<F>>, called: &'static str) -> Result<()> {
        if !subchannel.shared.connector.reconnects() {
            return Ok(());
        }
        let mut state = subchannel.lock();
        state.is_requested = !state.link().is_connected();
        let mut is_off = state.link().is_off();
        if is_off {
            // Without the lock, because a panic hook is the user's code.
            drop(state);
            inside_runtime_with_clock(called)?;
            state = subchannel.lock();
            is_off = state.link().is_off();
        }
        if is_off {
            state.set_link(Link::Disconnected(None));
        }
        drop(state);
        if is_off && Self::spawn(subchannel, None).is_finished() {
            // A runtime that ends has dropped the task.
            return Err(Error::outside_runtime(called, ""));
        }
        subchannel.wanted.notify_one();
        Ok(())
    }

    /// Spawns a task that serves the channel until its last clone is dropped. It begins with `connection`, if there is one.
    pub(super) fn spawn(
        subchannel: &Arc<Subchannel<F>>,
        connection: Option<Connection<F>>,
    ) -> JoinHandle<()> {
        let server = subchannel.shared.connector.server(subchannel.index);
        let reconnector = Self {
            subchannel: Arc::clone(subchannel),
            driver: connection.map(|it| Driver::attach(subchannel, it)),
            failures: 0,
            wait: Duration::ZERO,
            lost_at: None,
        };
        let span = info_span!(parent: None, "channel", server);
        tokio::spawn(reconnector.run().instrument(span))
    }

    async fn run(mut self) {
        loop {
            let driver = match self.driver.take() {
                Some(driver) => driver,
                None => match self.next_connection().await {
                    Some(connection) => Driver::attach(&self.subchannel, connection),
                    None => return,
                },
            };
            let replacement = self.drive(driver).await;
            self.driver = replacement
                .filter(|_| !self.subchannel.lock().link().is_released())
                .map(|connection| Driver::attach(&self.subchannel, connection));
        }
    }

    /// Waits until a call needs a connection, and opens one. Returns `None` if no call ever will.
    async fn next_connection(&mut self) -> Option<Connection<F>> {
        let subchannel = Arc::clone(&self.subchannel);
        let is_released = || subchannel.lock().link().is_released();
        loop {
            let wait = take(&mut self.wait);
            if !wait.is_zero() {
                tokio::select! {
                    () = sleep(wait) => {}
                    () = wait_until(&subchannel.wanted, is_released) => return None,
                }
            }
            subchannel.lock().end_backoff();
            let unwanted_since = Instant::now();
            wait_until(&subchannel.wanted, || {
                subchannel.is_wanted() || is_released()
            })
            .await;
            if is_released() {
                return None;
            }
            if unwanted_since.elapsed() >= subchannel.shared.connector.backoff.max {
                // What failed so long ago is not why there is no connection.
                let former = subchannel.lock().set_link(Link::Disconnected(None));
                drop(former);
            }
            let connected = tokio::select! {
                biased;
                connected = subchannel.connect() => connected,
                () = wait_until(&subchannel.wanted, is_released) => return None,
            };
            match connected {
                Ok(connection) if !is_released() => return Some(connection),
                Ok(_) => return None,
                Err(error) => self.back_off(error),
            }
        }
    }

    /// Records that an attempt has failed, and how long the next one waits.
    fn back_off(&mut self, error: Error) {
        let subchannel = &self.subchannel;
        let backoff = subchannel.shared.connector.backoff;
        self.failures = self.failures.saturating_add(1);
        self.wait = backoff.after(self.failures);
        let error = Arc::new(error);
        if self.failures == 1 {
            tracing::warn!(error = ?error, "cannot connect; trying again");
        } else {
            tracing::debug!(error = ?error, failures = self.failures, "cannot connect");
        }
        subchannel.shared.stats.record_failed_connect(&error);
        let is_restarting = self.lost_at.is_some_and(|at| at.elapsed() < backoff.max);
        subchannel.set_link(if is_restarting && !error.is_permanent() {
            // Calls wait for this connection, though all other connections may have failed.
            Link::Disconnected(Some(error))
        } else {
            Link::BackingOff(error)
        });
    }

    /// Serves calls over a connection until it ends. Returns the connection that replaces it, if that was opened
    /// before.
    async fn drive(&mut self, mut driver: Driver<F>) -> Option<Connection<F>> {
        let subchannel = &self.subchannel;
        let connector = &subchannel.shared.connector;
        let (peer, start) = (subchannel.peer(), Instant::now());
        if self.failures > 0 {
            tracing::info!(%peer, failures = self.failures, "connected again");
        } else {
            tracing::debug!(%peer, "connected");
        }
        let mut replacement = None;
        let upkeep = keep_up(subchannel, &mut replacement);
        let fault = driver.serve(upkeep).await;
        let was_idle = driver.is_idle();
        let error = fault.later_error(&peer);
        let lived = start.elapsed();
        // A server without requests works if it keeps its connection for longer than the channel would wait.
        if subchannel.lock().has_worked || was_idle && lived >= connector.backoff.max {
            self.failures = 0;
            self.lost_at = Some(Instant::now());
            lock(&connector.address_stats).record(peer.addr(), true);
        } else if !was_idle || lived < MIN_LIFE && !matches!(*fault, Fault::Retired) {
            self.failures = self.failures.saturating_add(1);
            lock(&connector.address_stats).record(peer.addr(), false);
        }
        self.wait = if self.failures > 0 {
            connector.backoff.after(self.failures)
        } else if replacement.is_none() && fault.is_by_server() {
            // The server may have ended the connections of all its clients at this moment.
            connector.backoff.after_loss()
        } else {
            Duration::ZERO
        };
        if was_idle {
            tracing::debug!(%peer, reason = %error, "disconnected");
        } else {
            tracing::info!(%peer, reason = %error, "connection lost with calls in flight");
            subchannel.shared.stats.record_loss(error);
        }
        replacement
    }
}

impl<F: Framing> Drop for Reconnector<F> {
    /// Lets the next call, or the next wait for events, start another task, if the runtime has ended.
    fn drop(&mut self) {
        // There is a driver if the task has never run. It is dropped first, because it sets the link as well.
        self.driver = None;
        self.subchannel.set_link(Link::Off);
        // They connect in their own runtime.
        let wakers: Vec<_> = self.subchannel.lock().subscribers.wakers().collect();
        wake_all(wakers);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        error::Error as _,
        future::pending,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        time::Duration,
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, copy, duplex, split},
        runtime::{Builder, Runtime},
        time::{sleep, timeout},
    };

    use crate::{
        Channel, ErrorKind,
        client::{ChannelEvent, ChannelOptions, ConnectOptions, Events},
        format::Plain,
        framing::LengthPrefixed,
        protocol::{Contract, Pushes},
    };

    fn runtime() -> Runtime {
        let mut builder = Builder::new_current_thread();
        let builder = builder.enable_all().start_paused(true);
        builder.build().expect("a runtime")
    }

    /// Returns options for a channel to a server that sends back what it gets.
    fn echo() -> ChannelOptions {
        ChannelOptions::over(|| async {
            let (near, far) = duplex(64);
            tokio::spawn(async move {
                let (mut read, mut write) = split(far);
                copy(&mut read, &mut write).await
            });
            Ok(near)
        })
    }

    #[test]
    fn channel_whose_task_has_never_run_connects_again_in_the_next_runtime() {
        let channel: Channel = runtime().block_on(echo().connect()).expect("it accepts");
        assert_eq!(channel.state().connected, 0);
        let called = runtime().block_on(channel.reply_to_bytes(false, b"x"));
        assert_eq!(called.expect("a reply").bytes, b"x");
    }

    enum Pushing {}

    impl Contract for Pushing {
        type Framing = LengthPrefixed;
        type Format = Plain;
        type Request<'a> = &'a str;
        type Reply<'a> = String;
    }

    impl Pushes for Pushing {
        type Format = Plain;
        type Event<'a> = &'a str;
    }

    /// Returns options for a channel to a server that pushes the event *x* over each connection.
    fn pushing() -> ChannelOptions {
        ChannelOptions::over(|| async {
            let (near, mut far) = duplex(64);
            far.write_all(b"\x80\0\0\x05\x82\0\0\0\x01\0\0\0\x01x")
                .await?;
            tokio::spawn(async move { far.read_u8().await });
            Ok(near)
        })
    }

    /// Returns the next event, and `None` if there is another connection.
    async fn next(events: &mut Events<Pushing>) -> Option<String> {
        let next = timeout(Duration::from_mins(1), events.next()).await;
        match next.expect("it connects").expect("a runtime") {
            ChannelEvent::Event(event) => Some(event.to_owned()),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn loss_of_long_ago_is_no_cause_that_there_is_no_connection() {
        for (idle, has_cause) in [(1, true), (3_600, false)] {
            let opened = AtomicBool::new(false);
            let options = ChannelOptions::<LengthPrefixed>::over(move || {
                let is_first = !opened.swap(true, Relaxed);
                async move {
                    if !is_first {
                        return pending().await;
                    }
                    let (near, mut far) = duplex(64);
                    tokio::spawn(async move {
                        let mut request = [0; 5];
                        far.read_exact(&mut request).await?;
                        far.write_all(&request).await
                    });
                    Ok(near)
                }
            });
            let limit = Duration::from_secs(5);
            let limits = ConnectOptions::new().reply_timeout(limit);
            let options = options.connect_options(limits);
            let channel = options.connect().await.expect("it accepts");
            let called = channel.reply_to_bytes(false, b"x").await;
            assert_eq!(called.expect("a reply").bytes, b"x");
            sleep(Duration::from_secs(idle)).await;
            let called = channel.reply_to_bytes(false, b"x").await;
            let error = called.map(drop).expect_err("it does not connect");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(error.source().is_some(), has_cause, "{error:?}");
        }
    }

    #[test]
    fn wait_for_events_connects_in_its_own_runtime_if_there_is_no_other() {
        let channel: Channel = pushing().connect_lazily().expect("good options");
        let mut events = channel.events::<Pushing>();
        let first = runtime().block_on(next(&mut events));
        assert_eq!(first.as_deref(), Some("x"));
        // The first runtime ends while a task of another one waits.
        let (first, second) = (runtime(), runtime());
        first.block_on(async {
            assert!(next(&mut events).await.is_none());
            assert!(next(&mut events).await.is_some());
        });
        second.block_on(async {
            let ending = async { first.shutdown_background() };
            let (is_again, ()) = tokio::join!(next(&mut events), ending);
            assert!(is_again.is_none());
        });
    }
}
