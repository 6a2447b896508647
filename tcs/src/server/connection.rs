//! The loop of a connection: read, answer every complete frame, send, and wait.

use std::{any::Any, future::poll_fn, ops::Range, pin::pin, task::Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    accept::Door,
    registry::{Alarm, Watch},
    replies::{Next, Replies, closing},
    settings::Limits,
    waits::{Arrived, Gone},
};
use crate::{
    Context, Decode as _, Facts, Frame, FrameError, Framing, Refusal, RefusalKind, ServerProtocol,
    Side,
    buffer::Inbox,
    framing::{What, too_large},
    race::poll_caught,
    refusal::Escaped,
};

/// One connection of a server.
#[derive(Debug)]
pub(super) struct Connection<'a, P: ServerProtocol, S> {
    protocol: &'a P,
    pub(super) limits: Limits,
    /// What a server of a single request closes when it takes that.
    door: Option<&'a Door>,
    facts: Facts,
    session: P::Session,
    pub(super) inbox: Inbox,
    pub(super) replies: Replies<P::Framing>,
    /// Whether a request was received and not answered yet.
    at_work: bool,
    /// When the frame began that is not complete yet, by the registry's clock.
    pub(super) frame_began: Option<u64>,
    /// When this connection noticed that the server is finishing.
    pub(super) drain_began: Option<u64>,
    pub(super) stream: S,
    /// Last, so that the connection counts as ended only when its socket is closed.
    pub(super) watch: Watch,
}

/// What ended a function.
enum Ran<R> {
    Done(R),
    TimedOut,
    Cut,
}

impl<'a, P, S> Connection<'a, P, S>
where
    P: ServerProtocol,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Opens the session of a new connection.
    pub(super) fn new(
        protocol: &'a P,
        stream: S,
        facts: Facts,
        limits: Limits,
        door: Option<&'a Door>,
        watch: Watch,
    ) -> Self {
        Self {
            session: protocol.open_session(facts.peer()),
            replies: Replies::new(protocol.framing(), limits.frame_len),
            inbox: Inbox::new(),
            at_work: false,
            frame_began: None,
            drain_began: None,
            protocol,
            limits,
            door,
            facts,
            stream,
            watch,
        }
    }

    /// Serves the connection to its end; then it is to be dropped.
    pub(super) async fn serve(&mut self) {
        if let Err(gone) = self.exchange().await {
            tracing::debug!(%gone, "the connection was given up");
        }
    }

    async fn exchange(&mut self) -> Result<(), Gone> {
        let mut next = self.greet();
        loop {
            self.flush().await?;
            if let Next::Close(refusal) = next {
                return self.close(refusal).await;
            }
            next = match self.fill().await? {
                Arrived::Bytes => self.answer_arrived().await?,
                Arrived::Expired => Next::Close(Some(self.expired())),
                Arrived::Drain if self.inbox.started().is_some() => Next::GoOn,
                Arrived::Drain => Next::Close(Some(closing("the server is stopping"))),
            };
        }
    }

    fn greet(&mut self) -> Next {
        match self.protocol.greeting(self.facts.peer(), &mut self.session) {
            Some(greeting) => self.replies.greet(greeting),
            None => Next::GoOn,
        }
    }

    /// Answers every complete request that has arrived, whatever the functions do.
    async fn answer_arrived(&mut self) -> Result<Next, Gone> {
        loop {
            // One guard for all of them: per request it would cost more than all else here.
            let answered = {
                let mut answering = pin!(self.answer_all());
                poll_fn(|cx| poll_caught(answering.as_mut(), cx)).await
            };
            let panic = match answered {
                Ok(next) => return next,
                Err(panic) => panic,
            };
            if let Next::Close(refusal) = self.outlive(&*panic) {
                return Ok(Next::Close(refusal));
            }
        }
    }

    async fn answer_all(&mut self) -> Result<Next, Gone> {
        loop {
            let input = self.inbox.input(self.limits.frame_len, Side::Server);
            let cut = match self.replies.framing().cut(input) {
                Ok(Some(cut)) => cut,
                Ok(None) if self.inbox.has_ended() => return Ok(Next::Close(None)),
                Ok(None) => return Ok(Next::GoOn),
                Err(error) => {
                    self.receive();
                    return Ok(self.replies.reject(&error));
                }
            };
            let frame = self.inbox.consume(&cut.frame, cut.consumed);
            self.frame_began = None;
            let next = match cut.what {
                What::Message => {
                    self.receive();
                    self.answer(frame).await?
                }
                What::TooLarge(length) => {
                    self.receive();
                    let text = too_large(length, self.limits.frame_len);
                    self.replies
                        .refuse(Refusal::new(RefusalKind::TooLarge, text))
                }
                What::Control(0x80..) => continue,
                What::Control(kind) => {
                    self.receive();
                    self.replies.reject(&FrameError::malformed(format_args!(
                        "a control frame of kind {kind:#04x}, which clients do not send"
                    )))
                }
            };
            self.at_work = false;
            match next {
                Next::GoOn if self.door.is_some() => {
                    return Ok(Next::Close(Some(closing(
                        "this server answers one request",
                    ))));
                }
                Next::GoOn => {}
                Next::Close(_) => return Ok(next),
            }
            if self.replies.is_full() {
                self.flush().await?;
            }
        }
    }

    /// Notes that a request was received, or something in its place.
    #[inline]
    pub(super) fn receive(&mut self) {
        self.watch.tally().receive();
        self.at_work = true;
        if let Some(door) = self.door {
            door.close();
        }
    }

    /// Decodes a request, runs the function, and encodes its reply.
    async fn answer(&mut self, frame: Range<usize>) -> Result<Next, Gone> {
        let Self {
            protocol,
            limits,
            facts,
            session,
            inbox,
            replies,
            stream,
            watch,
            ..
        } = self;
        let request = match P::Request::decode(Frame::new(inbox.frame(frame))) {
            Ok(request) => request,
            Err(error) => return Ok(replies.refuse(Refusal::bad_request(error.to_string()))),
        };
        // The function goes before its answer is written: were its drop to panic afterwards, the
        // request would be answered a second time.
        let ran = {
            let mut function =
                pin!(protocol.process_request(Context::new(facts, session), request));
            let mut is_limited = false;
            poll_fn(|cx| {
                if let Poll::Ready(result) = function.as_mut().poll(cx) {
                    return Poll::Ready(Ran::Done(result));
                }
                if !is_limited {
                    is_limited = true;
                    watch.limit(limits.request);
                }
                // The replies before this one do not wait for it. An error will be met again when
                // this one is sent; the function is not cut for it.
                drop(replies.poll_flush(cx, stream, watch.tally()));
                match watch.poll_alarm(cx) {
                    None => Poll::Pending,
                    Some(Alarm::Expired) => Poll::Ready(Ran::TimedOut),
                    Some(Alarm::Cut) => Poll::Ready(Ran::Cut),
                }
            })
            .await
        };
        Ok(match ran {
            Ran::Done(Ok(reply)) => replies.reply(reply),
            Ran::Done(Err(refusal)) => replies.refuse(refusal),
            Ran::TimedOut => {
                let text = format!(
                    "no reply within {:?} (`request_timeout`)",
                    limits.request.unwrap_or_default()
                );
                unless_half_changed::<P>(replies.refuse(Refusal::new(RefusalKind::TimedOut, text)))
            }
            Ran::Cut => {
                replies.close(&Refusal::new(
                    RefusalKind::Failed,
                    "the server ended before the reply",
                ));
                Next::Close(Some(closing("the server ended")))
            }
        })
    }

    /// Mends what a panic left.
    fn outlive(&mut self, panic: &(dyn Any + Send)) -> Next {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no text");
        // The payload may quote the peer, and is for the log only.
        let message = Escaped(message.as_bytes(), message.len());
        tracing::error!(panic = %message, "a protocol function panicked");
        if !std::mem::take(&mut self.at_work) {
            // It was the framing, which would panic again at the same bytes.
            return Next::Close(Some(closing("the server failed")));
        }
        let refusal = Refusal::new(RefusalKind::Failed, "the function panicked");
        match unless_half_changed::<P>(self.replies.refuse(refusal)) {
            Next::GoOn if self.door.is_some() => {
                Next::Close(Some(closing("this server answers one request")))
            }
            next => next,
        }
    }
}

/// Closes after a function that did not end, if it had a session, which may be half-changed.
fn unless_half_changed<P: ServerProtocol>(next: Next) -> Next {
    if next == Next::GoOn && size_of::<P::Session>() > 0 {
        return Next::Close(Some(closing(
            "the session was lost with the failed request",
        )));
    }
    next
}
