//! The loop of a connection: wait for bytes, process every complete request, flush, and wait again.
//!
//! ARCHITECTURE.md has the files that a request passes, and a table of why the loop pauses.

use std::{future::poll_fn, mem::take, pin::pin, sync::Arc, task::Poll};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
};

use super::{registry::Registration, shared::Shared};
use crate::{
    ConnectionInfo, ServerProtocol,
    buffer::{BufferSlot, Buffers},
    limit::{assert_no_mistake, server_mistake},
    panics::{Payload, poll_caught},
};

mod budget;
mod dispatch;
mod io;
mod respond;

pub(super) use io::CloseKind;

use dispatch::{Exchange, Pause, Step, pause_after, process_ready, step};
use io::{CloseStage, Gone, Io, Wakeup};
use respond::{Flow, Occasion, PeerKind, Responder, going_away};

/// One connection of a server.
///
/// Its size is paid for by each idle connection, so it holds nothing that all connections share.
pub(super) struct Connection<P: ServerProtocol, S> {
    exchange: Exchange<P>,
    responder: Responder<P>,
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
pub(super) struct NewConnection<P, S> {
    pub(super) shared: Arc<Shared<P>>,
    pub(super) stream: S,
    pub(super) close: CloseKind,
    pub(super) info: ConnectionInfo,
    pub(super) registration: Registration,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// How a connection ended that can still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was waiting for a request.
    Idle,
    Busy,
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
    pub(super) fn open(new: Box<NewConnection<P, S>>) -> Self {
        const {
            assert_no_mistake(server_mistake::<P>());
        }
        let NewConnection {
            shared,
            stream,
            close,
            info,
            registration,
            permit,
        } = *new;
        Self {
            exchange: Exchange::new(Arc::clone(&shared), info),
            responder: Responder::new(shared),
            buffers: BufferSlot::new(),
            has_unprocessed: false,
            io: Io::new(stream, close, P::ENDS_AT_HALF_CLOSE, registration),
            _permit: permit,
        }
    }

    /// Serves the connection until it ends. The caller then drops it.
    pub(super) async fn serve(&mut self) {
        let mut flow = self.greet();
        let ended = loop {
            if flow.is_break() {
                break Ok(End::Busy);
            }
            let ran = {
                let mut running = pin!(self.run());
                // One guard for all requests. One per request costs 37 instructions.
                poll_fn(|cx| poll_caught(running.as_mut(), cx)).await
            };
            match ran {
                Ok(ended) => break ended,
                Err(payload) => flow = self.recover_from_panic(payload),
            }
        };
        let closed = match ended {
            Ok(end) => self.close(end).await,
            Err(gone) => Err(gone),
        };
        if let Err(gone) = closed {
            tracing::debug!(%gone, "the connection was given up");
        }
    }

    /// Processes requests until the connection ends.
    async fn run(&mut self) -> Result<End, Gone> {
        let Self {
            exchange,
            responder,
            buffers,
            has_unprocessed,
            io,
            ..
        } = self;
        loop {
            if !take(has_unprocessed) {
                match poll_fn(|cx| io.poll_wakeup(buffers, responder.unsent(), cx)).await? {
                    Wakeup::Readable => {}
                    wakeup => return Ok(end_wait(wakeup, responder, buffers.checkout(), io)),
                }
            }
            let Buffers {
                read,
                ahead,
                write,
                scratch,
            } = buffers.checkout();
            write.prepare();
            let has_ended = read.has_ended();
            let mut frames = read.frames();
            loop {
                let pause = loop {
                    if !P::WAITS {
                        break process_ready(exchange, responder, io, &mut frames, write, scratch);
                    }
                    let processed = match step(exchange, responder, io, &mut frames, write, scratch)
                    {
                        Step::Pause(pause) => break pause,
                        Step::Rejected(flow) => Ok(flow),
                        Step::Call(function) => {
                            let mut function = pin!(function);
                            poll_fn(|cx| match function.as_mut().poll(cx) {
                                Poll::Ready(result) => {
                                    Poll::Ready(Ok(Ok(responder.respond(write, result))))
                                }
                                Poll::Pending => io
                                    .poll_meanwhile(has_ended, ahead, write, responder.unsent(), cx)
                                    .map_ok(Err),
                            })
                            .await?
                        }
                    };
                    io.function_ended();
                    // An interrupted function is dropped before its request is answered. If its drop
                    // panicked later, the request would be answered twice.
                    let flow = match processed {
                        Ok(flow) => flow,
                        Err(interrupt) => responder.interrupted(write, interrupt),
                    };
                    if let Some(pause) = pause_after(responder, write, flow) {
                        break pause;
                    }
                };
                match pause {
                    Pause::NeedMore => break,
                    Pause::Close => return Ok(End::Busy),
                    Pause::Full | Pause::Spent => {}
                }
                poll_fn(|cx| io.poll_flush(write, responder.unsent(), cx)).await?;
                if pause == Pause::Spent {
                    // Waking the task is not enough: only tokio's yield polls the I/O driver, the
                    // timers and the signals before it polls this task again.
                    tokio::task::yield_now().await;
                    poll_fn(|cx| Poll::Ready(io.resume(ahead, cx))).await?;
                }
            }
        }
    }

    /// Writes the greeting.
    fn greet(&mut self) -> Flow {
        let write = &mut self.buffers.checkout().write;
        self.exchange.greet(&mut self.responder, write)
    }

    /// Responds to the request whose function panicked.
    fn recover_from_panic(&mut self, payload: Payload) -> Flow {
        self.has_unprocessed = true;
        self.io.function_ended();
        let write = &mut self.buffers.checkout().write;
        self.responder.panicked(self.io.tally(), write, payload)
    }

    /// Sends what is written, and closes.
    async fn close(&mut self, end: End) -> Result<(), Gone> {
        let Self {
            responder,
            buffers,
            io,
            ..
        } = self;
        let mut stage = CloseStage::Flush;
        let was_idle = end == End::Idle;
        poll_fn(|cx| io.poll_close(buffers, responder.unsent(), was_idle, &mut stage, cx)).await
    }
}

/// Writes why the connection stops waiting for a request.
#[cold]
fn end_wait<P: ServerProtocol, S>(
    wakeup: Wakeup,
    responder: &mut Responder<P>,
    Buffers { read, write, .. }: &mut Buffers,
    io: &Io<S>,
) -> End {
    match wakeup {
        Wakeup::Draining => {
            let stopping = going_away("the server is stopping");
            let closing = Occasion::Closing(stopping, PeerKind::Ours);
            let _: Flow = responder.write_rejection(write, closing);
        }
        Wakeup::OutOfMemory => responder.out_of_memory(io.tally(), read, write),
        Wakeup::Expired | Wakeup::Readable => {
            let frame_limit = io.frame_limit(read);
            responder.expired(io.tally(), read, frame_limit, write, io.has_drain_limit());
        }
    }
    if read.has_started() {
        End::Busy
    } else {
        End::Idle
    }
}
