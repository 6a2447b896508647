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
//! | the connection ends, or goes on over TLS ([`Next::Exit`]) | flushes, and closes or shakes hands |
//!
//! How the values that say so follow from each other, from the next frame to the end of the loop:
//!
//! ```text
//!            Ok                    response
//!  step() ───────────► function ─────────────► Flow ─ Continue ─► step(), or Next::Flush if the buffer is full
//!    └ no request, or it was rejected            └─── Break(Exit) ─► Next::Exit
//!       └ Err(Next), or Err(None): step()
//!
//!  Next::{Read, Flush, Yield} ─► run() goes on          Next::Exit(exit) ─► serve() closes, or starts TLS
//!  Err(Dropped), while anything waits ─► serve() ends without sending what is left
//! ```
//!
//! [`concurrent`] is another driver with the same types, and an `Outcome` for each request.

use std::{
    fmt,
    future::poll_fn,
    mem::take,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{sync::OwnedSemaphorePermit, task::yield_now};

use super::{
    addresses::PeerUsage,
    limits::Limit,
    log_limiter::log_panic,
    metrics::{NEEDS_ARRIVALS, record_connection},
    registry::{Registration, Registry},
    shared::Shared,
};
use crate::{
    ConnectionInfo, Peer,
    buffer::{BufferSlot, Buffers},
    concurrency::{is_concurrent, share_session},
    conversation::{Conversation, PushQueue},
    framing::{ConnectionFraming, Framing as _},
    limit::{assert_no_error, server_error},
    panics::{Payload, poll_caught},
    protocol::{ServerProtocol, has_no_request},
    runtime::{poll_once, wake_after_others},
    transport::Stream,
};

mod accounts;
mod batch;
mod budget;
mod clocks;
mod concurrent;
mod converse;
mod dispatch;
mod ends;
mod io;
mod memory;
#[cfg(test)]
mod models;
mod receive;
mod rejections;
mod respond;
mod upgrade;

use batch::{Batch, Next};
use converse::{EVENT_BATCHES, Outgoing};

use ends::{Dropped, WaitEnd};
use io::{Io, ReadOutcome, Running};
use receive::end_chunks;
pub(super) use respond::rejection_frames;
use respond::{Exit, Flow, Processing, Responder};

/// One connection of a server.
///
/// Each idle connection pays for its size, so what all connections share is behind a pointer.
pub(super) struct Connection<P: ServerProtocol> {
    shared: Arc<Shared<P>>,
    info: ConnectionInfo,
    session: P::Session,
    framing: ConnectionFraming<P::Framing>,
    buffers: BufferSlot,
    /// Whether there may be a request already: a panic interrupted the processing of the read buffer, or none is waited
    /// for.
    has_unprocessed: bool,
    /// How the requests are processed that arrived last.
    processing: Processing,
    io: Io,
    /// Released last, however the connection ends. If it is evicted, it is released at once.
    permit: Option<OwnedSemaphorePermit>,
}

/// A connection whose session is not open yet.
///
/// Boxed, because a task keeps room for what it captures even after that was moved out.
#[derive(Debug)]
pub(super) struct NewConnection {
    pub(super) stream: Stream,
    pub(super) info: ConnectionInfo,
    pub(super) registration: Registration,
    pub(super) usage: Option<Arc<PeerUsage>>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl NewConnection {
    /// Registers a connection without a permit, and without limits of its address.
    pub(super) fn register(
        registry: &Arc<Registry>,
        stream: Stream,
        peer: Peer,
        local_addr: Option<SocketAddr>,
    ) -> Box<Self> {
        let registration = registry.register();
        Box::new(Self {
            stream,
            info: registration.info(peer, local_addr),
            registration,
            usage: None,
            permit: None,
        })
    }

    /// Creates the span of the connection's events.
    pub(super) fn span(&self) -> tracing::Span {
        let info = &self.info;
        tracing::info_span!("connection", peer = %info.peer(), id = info.id())
    }
}

impl<P: ServerProtocol> Connection<P> {
    /// Whether requests are processed at the same time. A constant, so that other protocols have no code for it.
    const IS_CONCURRENT: bool = is_concurrent::<P>();

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
            processing: Processing::Sequential,
            io: Io::new::<P>(new.stream, new.usage, new.registration),
            permit: new.permit,
        }
    }

    /// Serves the connection until it ends. The caller then drops it.
    pub(super) async fn serve(&mut self) {
        let local_addr = self.info.local_addr().map(tracing::field::display);
        tracing::debug!(local_addr, "connected");
        let mut flow = self.greet();
        let ended = loop {
            flow = match flow {
                Flow::Continue(()) => {
                    let ran = {
                        let mut running = pin!(self.run());
                        // One guard for all requests. One per request costs 37 instructions.
                        poll_fn(|cx| poll_caught(running.as_mut(), cx)).await
                    };
                    match ran {
                        Ok(Ok(exit)) => Flow::Break(exit),
                        Ok(Err(dropped)) => break Err(dropped),
                        Err(payload) => match self.io.running() {
                            Running::Request => self.recover_from_panic(payload),
                            // It is not caught, like a panic while the connection closes.
                            Running::Stream => resume_unwind(payload),
                            Running::LastFunction => {
                                self.log_panic("the drop of a function", payload);
                                break Err(Dropped::Failed(
                                    "a function panicked as it was dropped",
                                ));
                            }
                            Running::Upgrade => {
                                self.log_panic("the function with the connection", payload);
                                break Err(Dropped::Failed(
                                    "the function that took it over panicked",
                                ));
                            }
                        },
                    }
                }
                // Boxed: few connections need it, and every task would pay for its size.
                Flow::Break(Exit::StartTls) => match Box::pin(self.start_tls()).await {
                    Ok(()) => Flow::Continue(()),
                    Err(dropped) => break Err(dropped),
                },
                Flow::Break(exit) => break Ok(exit),
            };
        };
        self.close_queue();
        let closed = match ended {
            Ok(exit) => {
                let is_idle = exit == Exit::Idle;
                self.io
                    .close(&mut self.buffers, is_idle)
                    .await
                    .map(|()| exit)
            }
            Err(dropped) => Err(dropped),
        };
        self.record_end(match &closed {
            Ok(Exit::Eof) => &"the peer has closed",
            Ok(Exit::Upgraded) => &"the function that took it over has ended",
            Ok(_) => &"the server has closed",
            Err(dropped) => dropped,
        });
    }

    /// Drops the events that are left, and those to come.
    fn close_queue(&self) {
        let conversation = self.info.open_conversation();
        if let Some(queue) = conversation.and_then(Conversation::pushes) {
            self.info.server().events.count(0, queue.close());
        }
    }

    /// Logs and records the end of the connection, with its totals.
    #[cold]
    fn record_end(&self, reason: &dyn fmt::Display) {
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
    fn greet(&mut self) -> Flow {
        let Buffers { write, .. } = self.buffers.checkout();
        let (framing, processing) = (&mut self.framing, self.processing);
        let mut responder = Responder::new(&self.shared, framing, write, &mut self.io, processing);
        let protocol = &self.shared.protocol;
        match protocol.greeting(self.info.peer(), &mut self.session) {
            Some(greeting) => responder.greet(greeting),
            None => Flow::Continue(()),
        }
    }

    /// Processes requests until the connection takes no more.
    async fn run(&mut self) -> Result<Exit, Dropped> {
        loop {
            if !take(&mut self.has_unprocessed) {
                // Whether there is a conversation is looked at once for each wait: only functions begin one.
                let input = if self.info.open_conversation().is_none() {
                    poll_fn(|cx| self.io.poll_input(&mut self.buffers, cx)).await
                } else {
                    poll_fn(|cx| self.poll_conversation(cx)).await
                };
                match input? {
                    ReadOutcome::Arrived if NEEDS_ARRIVALS || self.shared.checks_requests => {
                        self.record_arrival();
                    }
                    ReadOutcome::Arrived => {}
                    // Boxed: few connections need it, and every task would pay for its size.
                    input => match Box::pin(self.end_wait(input)).await? {
                        Some(exit) => return Ok(exit),
                        None => continue,
                    },
                }
            }
            if Self::IS_CONCURRENT
                && let Some(concurrency) = P::CONCURRENT
            {
                self.processing = self.choose_processing();
                if self.processing == Processing::Concurrent {
                    // Boxed: few connections need it, and every task would pay for its size.
                    match Box::pin(self.process_concurrent(concurrency)).await? {
                        Some(exit) => return Ok(exit),
                        None => continue,
                    }
                }
            }
            let Buffers { read, ahead, write } = self.buffers.checkout();
            write.prepare();
            let mut batch = Batch {
                shared: &self.shared,
                info: &self.info,
                framing: &mut self.framing,
                frames: read.frames(),
                ahead,
                write,
                io: &mut self.io,
            };
            loop {
                let next = if P::WAITS || Batch::<P>::UPGRADES || P::CLONE_FRAMING.is_some() {
                    batch.process_waiting(&mut self.session).await?
                } else {
                    batch.process_ready(&mut self.session)
                };
                match next {
                    Next::Read => break,
                    Next::Exit(exit) => return Ok(exit),
                    Next::Flush | Next::Yield => {}
                }
                poll_fn(|cx| batch.io.poll_flush_in_time(batch.write, cx)).await?;
                if next == Next::Yield {
                    // Waking the task is not enough: only tokio's yield polls the I/O driver, the
                    // timers and the signals before it polls this task again.
                    yield_now().await;
                    poll_once(|cx| batch.io.resume(batch.ahead, cx)).await?;
                }
            }
        }
    }

    /// Returns how the next requests of a concurrent protocol are processed. With ids, concurrency is the default, and a
    /// session that is not shared keeps requests in sequence.
    fn choose_processing(&self) -> Processing {
        // If sharing panics, the next request fails with that panic.
        if P::Framing::HAS_IDS && matches!(share_session::<P>(&self.session), Ok(None)) {
            Processing::Sequential
        } else {
            Processing::Concurrent
        }
    }

    /// Sends events, and waits for input.
    #[cold]
    fn poll_conversation(&mut self, cx: &mut Context<'_>) -> Poll<Result<ReadOutcome, Dropped>> {
        let conversation = self.info.open_conversation();
        if let Some(idle) = conversation.and_then(Conversation::idle_timeout) {
            self.io.set_idle_limit(Limit::from_millis(idle));
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

    /// Reserves memory for what arrives, or ends the connection.
    async fn end_wait(&mut self, input: ReadOutcome) -> Result<Option<Exit>, Dropped> {
        let input = match input {
            ReadOutcome::NeedsMemory => self.reserve_memory().await?,
            input => input,
        };
        let ReadOutcome::Ended(why) = input else {
            return Ok(None);
        };
        self.send_last_events(why).await?;
        Ok(Some(self.stop_waiting(why)))
    }

    /// Sends the events that wait, if the connection drains, and takes no further ones.
    async fn send_last_events(&mut self, why: WaitEnd) -> Result<(), Dropped> {
        let conversation = self.info.open_conversation();
        if let Some(queue) = conversation.and_then(Conversation::pushes)
            && matches!(why, WaitEnd::Draining | WaitEnd::Retired)
        {
            queue.seal();
            while self.write_events(None)? {
                let write = &mut self.buffers.checkout().write;
                poll_fn(|cx| self.io.poll_flush_in_time(write, cx)).await?;
            }
        }
        Ok(())
    }

    /// Frames the events that wait, until the write buffer is full. Returns `true` if there may be more.
    fn write_events(&mut self, cx: Option<&Context<'_>>) -> Result<bool, Dropped> {
        let Some(conversation) = self.info.open_conversation() else {
            return Ok(false);
        };
        conversation.end_request();
        let Some(queue) = conversation.pushes() else {
            return Ok(false);
        };
        let mut outgoing = Outgoing {
            write: &mut self.buffers.checkout().write,
            framing: &mut self.framing,
            limit: self.shared.limits.reply_len(),
            info: &self.info,
            io: &self.io,
        };
        outgoing.write_events(queue, cx)
    }

    /// Records when the requests in the read buffer began to wait.
    #[cold]
    fn record_arrival(&mut self) {
        let received = self.io.registration.tally().received();
        self.buffers.checkout().read.record_arrival(received);
    }

    /// Tells the peer why the connection stops waiting.
    #[cold]
    fn stop_waiting(&mut self, why: WaitEnd) -> Exit {
        if why == WaitEnd::Evicted {
            // The new connection need not wait until the peer has taken what it is told.
            self.permit = None;
        }
        // A peer that drains gets its events. One that must close because of them is closing.
        drop(self.write_events(None));
        let Buffers { read, ahead, write } = self.buffers.checkout();
        // A message that is being skipped was rejected before.
        if read.has_started() && !read.is_skipping() {
            self.io.count_unreadable(&self.shared);
            self.io.accounts.unsent.rejected += 1;
        }
        let idle = self.io.idle_limit();
        let (framing, processing) = (&mut self.framing, self.processing);
        let mut responder = Responder::new(&self.shared, framing, write, &mut self.io, processing);
        responder.wait_ended(read, why, idle);
        if read.has_started() || !ahead.is_unused() {
            Exit::Close
        } else {
            Exit::Idle
        }
    }

    /// Continues over TLS, with nothing but the session of what came before.
    async fn start_tls(&mut self) -> Result<(), Dropped> {
        self.framing = ConnectionFraming::new(self.shared.protocol.framing());
        let handshake = self.shared.start_tls.as_slice();
        let peer = self.info.peer_mut();
        self.io.start_tls(&mut self.buffers, handshake, peer).await
    }

    /// Responds to the request whose processing panicked.
    fn recover_from_panic(&mut self, payload: Payload) -> Flow {
        self.has_unprocessed = true;
        let Buffers { read, ahead, write } = self.buffers.checkout();
        if let Some(conversation) = self.info.open_conversation() {
            // Drops the items of the reply. The events that the function has pushed follow what is written here.
            conversation.end_request();
            if !ahead.is_unused() {
                // The function may have got the end of the input, which then is not the one of the buffer.
                read.reopen();
            }
            let rest = end_chunks(conversation, &mut self.framing, ahead, &self.shared);
            read.frames().skip(rest);
        }
        self.io.accounts.end_request();
        let (framing, processing) = (&mut self.framing, self.processing);
        let mut responder = Responder::new(&self.shared, framing, write, &mut self.io, processing);
        let flow = catch_unwind(AssertUnwindSafe(|| responder.panicked(payload)));
        flow.unwrap_or_else(|payload| {
            // Complete frames in the buffer are still sent.
            self.log_panic("the framing", payload);
            Flow::Break(Exit::Close)
        })
    }

    fn log_panic(&self, what: &'static str, payload: Payload) {
        log_panic(self.io.registration.log_limiter(), what, payload);
    }
}

#[cfg(test)]
mod tests;
