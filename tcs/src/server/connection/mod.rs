//! The loop of a connection: wait for bytes, process every complete request, flush, and wait again.
//!
//! ARCHITECTURE.md lists the files that a request passes through. The loop stops taking requests when:
//!
//! | event | then it |
//! |---|---|
//! | no complete frame is left ([`Next::Read`]) | flushes, and reads again in the same poll |
//! | 64 KiB wait to be sent ([`Next::Flush`]) | flushes, and goes on |
//! | the budget of the poll is spent ([`Next::Yield`]) | flushes, yields to other tasks, and goes on |
//! | a function waits | flushes the earlier replies, reads ahead, and watches the peer and the limits |
//! | the connection ends, or goes on over TLS ([`Next::End`]) | flushes, and closes or shakes hands |
//!
//! A driver takes the requests: [`sequential`] one after the other, [`concurrent`] many at the same time. These types say
//! why something ends:
//!
//! | type | what ends | then |
//! |---|---|---|
//! | [`Next`] | a driver takes no further request now | `run` takes the next step, or ends with an `End` |
//! | [`Interrupt`] | a wait for a request, or for a function in sequence | the request is rejected, or there is an `End` |
//! | [`End`] | the connection | `serve` closes it |

use std::{
    convert::Infallible,
    future::poll_fn,
    mem::take,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::task::yield_now;

use crate::{
    ConnectionInfo, Rejection, RejectionKind,
    buffer::{BufferSlot, Buffers, ReadAhead, ReadBuffer},
    checks::{assert_no_error, server_error},
    conversation::{Conversation, PushQueue},
    framing::{ConnectionFraming, Framing as _},
    panics::{Payload, poll_caught},
    protocol::{Concurrency, ServerProtocol, has_no_request, is_concurrent, share_session},
    runtime::{poll_once, wake_after_others},
    server::{
        log_limiter::log_panic,
        metrics::{NEEDS_ARRIVALS, record_connection},
        shared::Shared,
        time::Limit,
    },
};

mod budget;
mod clocks;
mod concurrent;
mod end;
mod io;
mod memory;
#[cfg(test)]
mod models;
mod new_connection;
mod outgoing;
mod rejections;
mod respond;
mod sequential;

use concurrent::process_concurrent;
use end::{End, Interrupt};
use io::{Io, Running};
use memory::reserve_memory;
pub(super) use new_connection::NewConnection;
use outgoing::{EVENT_BATCHES, close_queue};
use respond::Responder;
pub(super) use respond::rejection_frames;
use sequential::{SequentialDriver, end_chunks};

/// What the connection does when it has taken the requests that it can take now, and why.
#[derive(Debug)]
enum Next {
    /// Flushes and reads: no complete frame is left.
    Read,
    /// Flushes: the write buffer is full, or enough requests are in flight side by side.
    Flush,
    /// Flushes and yields: the budget of this poll is spent.
    Yield,
    /// Takes no further requests. Requests in flight are answered before.
    ///
    /// Boxed, so that the value is returned in a register.
    End(Box<End>),
}

impl From<End> for Next {
    fn from(end: End) -> Self {
        Self::End(Box::new(end))
    }
}

/// One connection of a server.
///
/// Each idle connection pays for its size, so what all connections share is behind a pointer.
pub(super) struct Connection<P: ServerProtocol> {
    shared: Arc<Shared<P>>,
    info: ConnectionInfo,
    session: P::Session,
    framing: ConnectionFraming<P::Framing>,
    buffers: BufferSlot,
    /// Whether the next request needs no wait: a panic has left the read buffer half processed, or the protocol waits for
    /// no bytes.
    has_unprocessed: bool,
    io: Io,
}

impl<P: ServerProtocol> Connection<P> {
    /// Opens the session of a new connection.
    pub(super) fn open(shared: Arc<Shared<P>>, new: Box<NewConnection>) -> Self {
        const {
            // Whether a codec is also the format, only the attributes can compare.
            assert_no_error(server_error::<P>(true));
        }
        Self {
            session: shared.protocol.open_session(&new.info),
            framing: ConnectionFraming::new(shared.protocol.framing()),
            shared,
            info: new.info,
            buffers: BufferSlot::new(),
            has_unprocessed: has_no_request::<P>(),
            io: Io::new::<P>(new.stream, new.usage, new.registration, new.permit),
        }
    }

    /// Serves the connection until it ends. The caller then drops it.
    pub(super) async fn serve(&mut self) {
        {
            // In a block, so that the task has no room for it.
            let local_addr = self.info.local_addr().map(tracing::field::display);
            tracing::debug!(local_addr, "connected");
        }
        let mut begun = self.greet();
        let end = loop {
            begun = match begun {
                Ok(()) => {
                    let ran = {
                        let mut running = pin!(self.run());
                        // One guard for all requests. A guard for each request costs 37 instructions.
                        poll_fn(|cx| poll_caught(running.as_mut(), cx)).await
                    };
                    match ran {
                        Ok(Err(end)) => Err(end),
                        Err(payload) => self.recover_from_panic(payload),
                    }
                }
                // Boxed: few connections need it, and every task would pay for its size.
                Err(End::StartTls) => Box::pin(self.start_tls()).await,
                Err(end) => break end,
            };
        };
        close_queue(&self.info, &self.io);
        let closed = if end.sends_rest() {
            let is_idle = matches!(end, End::Idle);
            self.io.close(&mut self.buffers, is_idle).await
        } else {
            Ok(())
        };
        self.record_end(&closed.err().unwrap_or(end));
    }

    /// Logs and records the end of the connection, with its totals.
    #[cold]
    fn record_end(&self, reason: &End) {
        let tally = self.io.registration.tally();
        let duration = self.info.opened().elapsed();
        record_connection(duration);
        let conversation = self.info.open_conversation();
        let events = conversation
            .and_then(Conversation::pushes)
            .map(PushQueue::taken);
        tracing::debug!(
            %reason,
            requests = tally.received(),
            events,
            bytes_received = tally.bytes().received,
            bytes_sent = tally.bytes().sent,
            seconds = duration.as_secs_f64(),
            "disconnected"
        );
    }

    /// Writes the greeting, if the protocol has one.
    fn greet(&mut self) -> Result<(), End> {
        let (mut responder, .., session) = self.parts();
        let protocol = &responder.shared.protocol;
        match protocol.greeting(responder.info.peer(), session) {
            Some(greeting) => responder.greet(greeting),
            None => Ok(()),
        }
    }

    /// Processes requests until the connection takes no more.
    async fn run(&mut self) -> Result<Infallible, End> {
        loop {
            if !take(&mut self.has_unprocessed) {
                // One check for each wait, because only functions begin a conversation.
                let input = if self.info.open_conversation().is_none() {
                    poll_fn(|cx| self.io.poll_input(&mut self.buffers, cx)).await
                } else {
                    poll_fn(|cx| self.poll_events_and_input(cx)).await
                };
                match input {
                    Ok(()) if NEEDS_ARRIVALS || self.shared.checks_requests => {
                        self.record_arrival();
                    }
                    Ok(()) => {}
                    // Boxed: few connections need it, and every task would pay for its size.
                    ended => {
                        Box::pin(self.end_wait(ended)).await?;
                        continue;
                    }
                }
            }
            if const { is_concurrent::<P>() }
                && let Some(concurrency) = self.choose_concurrency()
            {
                // Boxed: few connections need it, and every task would pay for its size. `dyn`: this state of the task
                // exists for other protocols, too, and would have the code of the driver.
                let processing: Pin<Box<dyn Future<Output = _> + Send>> =
                    Box::pin(process_concurrent(self, concurrency));
                processing.await?;
                continue;
            }
            let Buffers { read, ahead, write } = self.buffers.checkout();
            write.prepare();
            let mut in_flight = None;
            let mut driver = SequentialDriver {
                shared: &self.shared,
                info: &self.info,
                framing: &mut self.framing,
                frames: read.frames(),
                ahead,
                write,
                io: &mut self.io,
                in_flight: &mut in_flight,
                searched: 0,
            };
            loop {
                let next = if SequentialDriver::<P>::MAY_WAIT {
                    driver.process_waiting(&mut self.session).await
                } else {
                    driver.process_ready(&mut self.session)
                };
                let must_yield = match next {
                    Next::Read => break,
                    Next::Flush => false,
                    Next::Yield => true,
                    Next::End(end) => return Err(*end),
                };
                poll_fn(|cx| driver.io.poll_flush_in_time(driver.write, cx)).await?;
                if must_yield {
                    // Waking the task is not enough: only tokio's yield polls the I/O driver, the
                    // timers and the signals before it polls this task again.
                    yield_now().await;
                    poll_once(|cx| driver.io.resume(driver.ahead, cx)).await?;
                }
            }
        }
    }

    /// Returns how the next requests run side by side, unless the session is not shared. With ids, concurrency is the
    /// default, so a session that is not shared is no mistake: its requests are processed in sequence.
    fn choose_concurrency(&mut self) -> Option<Concurrency> {
        // If sharing panics, the next request fails with that panic.
        let is_unshared =
            P::Framing::HAS_IDS && matches!(share_session::<P>(&self.session), Ok(None));
        self.io.running = if is_unshared {
            Running::Sequential
        } else {
            Running::Concurrent
        };
        P::CONCURRENT.filter(|_| !is_unshared)
    }

    /// Sends events, and waits for input.
    #[cold]
    fn poll_events_and_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Interrupt>> {
        let conversation = self.info.open_conversation();
        if let Some(idle) = conversation.and_then(Conversation::idle_timeout) {
            self.io.idle_limit = Limit::from_millis(idle);
        }
        for _ in 0..EVENT_BATCHES {
            let has_more = self.write_events(Some(cx))?;
            let input = self.io.poll_input(&mut self.buffers, cx);
            if !has_more || input.is_ready() || self.buffers.has_unsent() {
                return input;
            }
        }
        wake_after_others(cx);
        Poll::Pending
    }

    /// Reserves memory for what arrives, or ends the wait and tells the peer why.
    async fn end_wait(&mut self, ended: Result<(), Interrupt>) -> Result<(), End> {
        let ended = match ended {
            Err(Interrupt::NeedsMemory) => {
                let (responder, read, ..) = self.parts();
                let limit = responder.shared.limits.max_frame_len;
                reserve_memory(responder.io, read, responder.framing, limit).await
            }
            ended => ended,
        };
        let rejection = match ended {
            Err(Interrupt::Rejected(rejection)) => rejection,
            Err(Interrupt::Closing(closing)) => closing.0,
            Err(Interrupt::Ended(end)) => return Err(end),
            Ok(()) | Err(Interrupt::NeedsMemory) => return Ok(()),
        };
        // In a drain.
        if rejection.kind() == RejectionKind::GoingAway {
            self.send_last_events().await?;
        }
        Err(self.reject_wait(rejection))
    }

    /// Sends the events that wait in a drain, and takes no further ones.
    async fn send_last_events(&mut self) -> Result<(), End> {
        let conversation = self.info.open_conversation();
        if let Some(queue) = conversation.and_then(Conversation::pushes) {
            queue.seal();
            while self.write_events(None)? {
                let write = &mut self.buffers.checkout().write;
                poll_fn(|cx| self.io.poll_flush_in_time(write, cx)).await?;
            }
        }
        Ok(())
    }

    /// Frames the events that wait, until the write buffer is full. Returns `true` if there may be more.
    fn write_events(&mut self, cx: Option<&Context<'_>>) -> Result<bool, End> {
        let (mut responder, ..) = self.parts();
        responder.write_released_events(cx)
    }

    /// Returns what writes responses, the input, and the session.
    fn parts(
        &mut self,
    ) -> (
        Responder<'_, P>,
        &mut ReadBuffer,
        &mut ReadAhead,
        &mut P::Session,
    ) {
        let Buffers { read, ahead, write } = self.buffers.checkout();
        let responder = Responder {
            shared: &self.shared,
            info: &self.info,
            framing: &mut self.framing,
            write,
            io: &mut self.io,
        };
        (responder, read, ahead, &mut self.session)
    }

    /// Records when the requests in the read buffer began to wait.
    #[cold]
    fn record_arrival(&mut self) {
        let received = self.io.registration.tally().received();
        self.buffers.checkout().read.record_arrival(received);
    }

    /// Tells the peer why the connection waits no longer. Returns how it ends.
    #[cold]
    fn reject_wait(&mut self, rejection: Rejection) -> End {
        // The peer still gets its events. An overflow of the queue changes nothing: the connection closes anyway.
        drop(self.write_events(None));
        let (mut responder, read, ahead, _) = self.parts();
        // A message that is being skipped was rejected before.
        if read.has_started() && !read.is_skipping() {
            responder.io.count_unreadable(responder.shared);
            responder.io.unsent.rejected += 1;
        }
        responder.wait_ended(read, rejection);
        if read.has_started() || !ahead.is_unused() {
            End::Closed
        } else {
            End::Idle
        }
    }

    /// Continues over TLS, and keeps only the session of what came before.
    async fn start_tls(&mut self) -> Result<(), End> {
        self.framing = ConnectionFraming::new(self.shared.protocol.framing());
        let handshake = self.shared.start_tls.as_slice();
        let peer = self.info.peer_mut();
        self.io.start_tls(&mut self.buffers, handshake, peer).await
    }

    /// Returns how the connection ends after a panic, or `Ok` if it goes on.
    #[cold]
    fn recover_from_panic(&mut self, payload: Payload) -> Result<(), End> {
        match self.io.running {
            Running::Sequential | Running::Concurrent => self.answer_panic(payload),
            // This panic is not caught, like a panic while the connection closes.
            Running::Stream => resume_unwind(payload),
            Running::LastFunction => {
                self.log_panic("the drop of a function", payload);
                Err(End::DropPanicked)
            }
            Running::Upgrade => {
                self.log_panic("the function with the connection", payload);
                Err(End::UpgradePanicked)
            }
        }
    }

    /// Responds to the request whose processing panicked.
    fn answer_panic(&mut self, payload: Payload) -> Result<(), End> {
        self.has_unprocessed = true;
        let (mut responder, read, ahead, _) = self.parts();
        if let Some(conversation) = responder.info.open_conversation() {
            // Drops the items of the reply. The events that the function has pushed follow the answer.
            conversation.end_request();
            if !ahead.is_unused() {
                // The function may have got the end of the input, which then is not the one of the buffer.
                read.reopen();
            }
            let rest = end_chunks(conversation, responder.framing, ahead, responder.shared);
            read.frames().skip(rest);
        }
        let flow = catch_unwind(AssertUnwindSafe(|| responder.panicked(payload)));
        flow.unwrap_or_else(|payload| {
            // Complete frames in the buffer are still sent.
            self.log_panic("the framing", payload);
            Err(End::Closed)
        })
    }

    fn log_panic(&self, what: &'static str, payload: Payload) {
        log_panic(self.io.registration.log_limiter(), what, payload);
    }
}

#[cfg(test)]
mod tests;
