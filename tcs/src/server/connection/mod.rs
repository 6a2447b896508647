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
//! | the connection ends ([`Next::Close`]) | flushes, and closes |

use std::{
    future::poll_fn,
    mem::take,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
    task::yield_now,
};

use super::{registry::Registration, shared::Shared};
use crate::{
    ConnectionInfo,
    buffer::{BufferSlot, Buffers},
    framing::ConnectionFraming,
    limit::{assert_no_error, server_error},
    panics::{Payload, poll_caught},
    protocol::ServerProtocol,
};

mod budget;
mod clocks;
mod dispatch;
mod io;
mod respond;

use dispatch::{Batch, Next};
use io::{Gone, Input, Io, WaitEnd};
use respond::{Flow, Responder, log_panic};

/// One connection of a server.
///
/// Each idle connection pays for its size, so what all connections share is behind a pointer.
pub(super) struct Connection<P: ServerProtocol, S> {
    shared: Arc<Shared<P>>,
    info: ConnectionInfo,
    session: P::Session,
    framing: ConnectionFraming<P::Framing>,
    buffers: BufferSlot,
    /// Whether the read buffer may hold complete requests: a panic interrupted their processing.
    has_unprocessed: bool,
    io: Io<S>,
    /// Released last, however the connection ends.
    _permit: Option<OwnedSemaphorePermit>,
}

/// A connection whose session is not open yet.
///
/// Boxed, because a task keeps room for what it captures even after that was moved out.
#[derive(Debug)]
pub(super) struct NewConnection<S> {
    pub(super) stream: S,
    pub(super) closes_on_drop: bool,
    pub(super) info: ConnectionInfo,
    pub(super) registration: Registration,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl<P, S> Connection<P, S>
where
    P: ServerProtocol,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Opens the session of a new connection.
    #[expect(
        clippy::boxed_local,
        reason = "the box is how it came, and is freed here"
    )]
    pub(super) fn open(shared: Arc<Shared<P>>, new: Box<NewConnection<S>>) -> Self {
        const {
            // Whether a codec is also the format, only the attributes can compare.
            assert_no_error(server_error::<P>(true));
        }
        Self {
            session: shared.protocol.open_session(new.info.peer()),
            framing: ConnectionFraming::new(shared.protocol.framing()),
            shared,
            info: new.info,
            buffers: BufferSlot::new(),
            has_unprocessed: false,
            io: Io::new::<P>(new.stream, new.closes_on_drop, new.registration),
            _permit: new.permit,
        }
    }

    /// Serves the connection until it ends. The caller then drops it.
    pub(super) async fn serve(&mut self) {
        let mut flow = self.greet();
        let ended = loop {
            if flow.is_break() {
                break Ok(false);
            }
            let ran = {
                let mut running = pin!(self.run());
                // One guard for all requests. One per request costs 37 instructions.
                poll_fn(|cx| poll_caught(running.as_mut(), cx)).await
            };
            match ran {
                Ok(ended) => break ended,
                // As in a panic while the connection closes, which is not caught.
                Err(payload) if self.io.stream_panicked() => resume_unwind(payload),
                Err(payload) if self.io.ends_with_function() => {
                    return log_panic("the drop of a function", payload);
                }
                Err(payload) => flow = self.recover_from_panic(payload),
            }
        };
        let closed = match ended {
            Ok(is_idle) => self.io.close(&mut self.buffers, is_idle).await,
            Err(gone) => Err(gone),
        };
        if let Err(gone) = closed {
            tracing::debug!(%gone, "the connection was given up");
        }
    }

    /// Writes the greeting, if the protocol has one.
    fn greet(&mut self) -> Flow {
        let write = &mut self.buffers.checkout().write;
        let mut responder = Responder::new(&self.shared, &mut self.framing, write, &mut self.io);
        let protocol = &self.shared.protocol;
        match protocol.greeting(self.info.peer(), &mut self.session) {
            Some(greeting) => responder.greet(greeting),
            None => Flow::Continue(()),
        }
    }

    /// Processes requests until the connection ends. Returns `true` if it is idle.
    async fn run(&mut self) -> Result<bool, Gone> {
        loop {
            if !take(&mut self.has_unprocessed) {
                let input = poll_fn(|cx| self.io.poll_input(&mut self.buffers, cx));
                if let Input::Ended(why) = input.await? {
                    return Ok(self.stop_waiting(why));
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
                let next = if P::WAITS {
                    batch.process_waiting(&mut self.session).await?
                } else {
                    batch.process_ready(&mut self.session)
                };
                match next {
                    Next::Read => break,
                    Next::Close => return Ok(false),
                    Next::Flush | Next::Yield => {}
                }
                poll_fn(|cx| batch.io.poll_flush_in_time(batch.write, cx)).await?;
                if next == Next::Yield {
                    // Waking the task is not enough: only tokio's yield polls the I/O driver, the
                    // timers and the signals before it polls this task again.
                    yield_now().await;
                    poll_fn(|cx| Poll::Ready(batch.io.resume(batch.ahead, cx))).await?;
                }
            }
        }
    }

    /// Tells the peer why the connection stops waiting. Returns `true` if it is idle.
    #[cold]
    fn stop_waiting(&mut self, why: WaitEnd) -> bool {
        let Buffers { read, ahead, write } = self.buffers.checkout();
        // A message that is being skipped was rejected before.
        if read.has_started() && !read.is_skipping() {
            self.io.count_received(&self.shared);
            self.io.counters().1.rejected += 1;
        }
        let mut responder = Responder::new(&self.shared, &mut self.framing, write, &mut self.io);
        responder.wait_ended(read, why);
        !read.has_started() && ahead.is_empty()
    }

    /// Responds to the request whose processing panicked.
    fn recover_from_panic(&mut self, payload: Payload) -> Flow {
        self.has_unprocessed = true;
        let write = &mut self.buffers.checkout().write;
        let mut responder = Responder::new(&self.shared, &mut self.framing, write, &mut self.io);
        let flow = catch_unwind(AssertUnwindSafe(|| responder.panicked(payload)));
        flow.unwrap_or_else(|payload| {
            // Complete frames in the buffer are still sent.
            log_panic("the framing", payload);
            Flow::Break(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        io,
        pin::Pin,
        sync::{Mutex, PoisonError},
        task::{Context as TaskContext, Waker},
        time::Duration,
    };

    use tokio::{
        io::{AsyncReadExt as _, ReadBuf, duplex, join, sink},
        sync::Semaphore,
        time::timeout,
    };

    use super::{
        super::{config::Settings, registry::Registry},
        *,
    };
    use crate::{
        Peer, Rejection, format::Plain, framing::LengthPrefixed, protocol::Context,
        server::Concurrent,
    };

    /// An input without bytes. When it is closed, it notes what its connection still holds.
    struct Socket {
        registry: Arc<Registry>,
        permits: Arc<Semaphore>,
        closed: Arc<Mutex<Option<Held>>>,
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Held {
        open_connections: u64,
        free_permits: usize,
    }

    impl AsyncRead for Socket {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut TaskContext<'_>,
            _buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            let held = Held {
                open_connections: self.registry.report().connections.aborted,
                free_permits: self.permits.available_permits(),
            };
            *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        }
    }

    #[tokio::test]
    async fn socket_is_closed_before_the_connection_ends_and_its_permit_is_free() {
        let registry = registry();
        let permits = Arc::new(Semaphore::new(1));
        let closed = Arc::<Mutex<_>>::default();
        let socket = Socket {
            registry: Arc::clone(&registry),
            permits: Arc::clone(&permits),
            closed: Arc::clone(&closed),
        };
        let permit = Arc::clone(&permits).try_acquire_owned().ok();
        let mut connection = open::<0, _>(&registry, join(socket, sink()), permit);
        connection.serve().await;
        drop(connection);
        let held = closed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let expected = Held {
            open_connections: 1,
            free_permits: 0,
        };
        assert_eq!(held, Some(expected));
        assert_eq!(registry.report().connections.closed, 1);
        assert_eq!(permits.available_permits(), 1);
    }

    /// An input without bytes. The server stops whenever it is read.
    struct Stops {
        registry: Arc<Registry>,
        stop: fn(&Registry),
    }

    impl AsyncRead for Stops {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut TaskContext<'_>,
            _buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            (self.stop)(&self.registry);
            Poll::Pending
        }
    }

    fn begin_drain(registry: &Registry) {
        let drain = pin!(registry.drain(pending::<()>()));
        let mut cx = TaskContext::from_waker(Waker::noop());
        assert!(drain.poll(&mut cx).is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn stop_before_the_waker_is_set_is_reported_to_an_idle_peer() {
        for stop in [begin_drain, Registry::abort] {
            let registry = registry();
            let (out, mut peer) = duplex(1 << 10);
            let stops = Stops {
                registry: Arc::clone(&registry),
                stop,
            };
            let mut connection = open::<0, _>(&registry, join(stops, out), None);
            // Nothing sweeps, so only the connection itself can notice.
            let served = timeout(Duration::from_mins(1), connection.serve());
            served.await.expect("it ends");
            drop(connection);
            let mut told = Vec::new();
            peer.read_to_end(&mut told).await.expect("a pipe in memory");
            assert!(told.ends_with(b"the server is stopping"), "{told:?}");
        }
    }

    /// An input of two reads that never ends.
    struct Reads([&'static [u8]; 2]);

    impl AsyncRead for Reads {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _cx: &mut TaskContext<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let [next, last] = self.0;
            if next.is_empty() {
                return Poll::Pending;
            }
            self.0 = [last, b""];
            buffer.put_slice(next);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_that_lingers_holds_no_buffers() {
        // A request, and a control frame that clients do not send. The rest is read while the function waits.
        let reads = Reads([b"\0\0\0\0\x80\0\0\x01\x01", b"read ahead"]);
        let registry = registry();
        let mut connection = open::<0, _>(&registry, join(reads, sink()), None);
        // Nothing sweeps, so it lingers without end.
        let served = timeout(Duration::from_mins(1), connection.serve()).await;
        assert!(served.is_err());
        assert!(connection.buffers.is_released());
        drop(connection);
        assert_eq!(registry.report().requests.served, 1);
    }

    /// Keeps this many bytes while it waits.
    struct Keeps<const N: usize>;

    impl<const N: usize> ServerProtocol for Keeps<N> {
        type Framing = LengthPrefixed;
        type Format = Plain;
        type Session = ();
        type Request<'a> = ();
        type Reply<'a> = usize;

        fn open_session(&self, _peer: &Peer) {}

        async fn process_request(&self, _: Context<'_, ()>, (): ()) -> Result<usize, Rejection> {
            let block = [0_u8; N];
            yield_now().await;
            Ok(block.len())
        }
    }

    /// Opens a connection of a concurrent server, as if it were accepted with `permit`.
    fn open<const N: usize, S: AsyncRead + AsyncWrite + Unpin>(
        registry: &Arc<Registry>,
        stream: S,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Connection<Keeps<N>, S> {
        let settings = Settings::new::<Concurrent>();
        let registration = registry.register();
        let id = registration.id();
        let new = Box::new(NewConnection {
            stream,
            closes_on_drop: false,
            info: ConnectionInfo::of(Peer::unnamed(), None, id, settings.blocking()),
            registration,
            permit,
        });
        let shared = Arc::new(Shared::new(Keeps::<N>, settings.limits, false));
        Connection::open(shared, new)
    }

    fn registry() -> Arc<Registry> {
        Registry::new(Settings::new::<Concurrent>().limits)
    }

    fn task_size<const N: usize>() -> usize {
        let stream = join(tokio::io::empty(), sink());
        size_of_val(&open::<N, _>(&registry(), stream, None).serve())
    }

    #[test]
    fn task_has_room_for_the_future_of_its_function_once() {
        let more = task_size::<110_000>() - task_size::<100_000>();
        assert!(more < 11_000, "{more}");
    }
}
