//! What a connection sends, and finds in what it receives.

use std::{
    future::poll_fn,
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Connection,
    message::{Heard, hear},
};
use crate::{FrameError, Framing, Rejection, error::Repr};

/// What arrived in answer to a request.
pub(super) enum Received {
    /// A message, which stands there in the inbox.
    Message(Range<usize>),
    Rejection(Rejection),
}

/// Whether it is known, in this poll of the task, that nothing has arrived, and the task is woken
/// when something does: then a look for the reply at once would be in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    Set,
    Unset,
}

/// What arrived although nothing was asked.
pub(super) enum Seen {
    Nothing(Watch),
    /// The server has ended the connection.
    End(Rejection),
    /// A message, or what stands for one.
    Message,
}

impl<F: Framing, S: AsyncRead + AsyncWrite + Unpin> Connection<F, S> {
    /// Looks at what has arrived, without waiting for more.
    pub(super) async fn look(&mut self) -> Result<Seen, Repr> {
        let limit = self.options.frame_len();
        let Self {
            stream: Some(stream),
            peer,
            framing,
            inbox,
            ..
        } = self
        else {
            return Ok(Seen::Nothing(Watch::Unset));
        };
        if !F::PERSISTENT {
            // All that arrives is the one reply, be it earlier than the request.
            return Ok(Seen::Nothing(Watch::Unset));
        }
        poll_fn(|cx| {
            loop {
                let heard = hear(framing, inbox, limit).map_err(|source| Repr::Frame {
                    peer: peer.clone(),
                    source,
                })?;
                match heard {
                    Some(Heard::Rejection(refusal)) if refusal.kind().is_final() => {
                        return Poll::Ready(Ok(Seen::End(refusal)));
                    }
                    Some(_) => return Poll::Ready(Ok(Seen::Message)),
                    None => {}
                }
                let gone = |source| Repr::Gone {
                    peer: peer.clone(),
                    source,
                };
                if inbox.has_ended() {
                    return Poll::Ready(Err(gone(None)));
                }
                match inbox.poll_fill(cx, stream) {
                    Poll::Pending => return Poll::Ready(Ok(Seen::Nothing(Watch::Set))),
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(source)) => return Poll::Ready(Err(gone(Some(source)))),
                }
            }
        })
        .await
    }

    /// Sends and receives at the same time, because a server may refuse a request before all of it
    /// has been sent; within the reply timeout.
    pub(super) async fn transfer(&mut self, watch: Watch) -> Result<Received, Repr> {
        let limit = self.options.frame_len();
        let mut is_ending = self.ends_sending();
        let patience = self.options.reply();
        let mut deadline = None;
        let Self {
            stream: Some(stream),
            peer,
            framing,
            inbox,
            outbox,
            timer,
            ..
        } = self
        else {
            return Err(Repr::Closed {
                peer: self.peer.clone(),
            });
        };
        let mut unsent: Option<io::Error> = None;
        let mut found: Option<Heard> = None;
        let mut is_watched = watch == Watch::Set;
        let mut step = |cx: &mut Context<'_>| {
            let is_sent = match outbox.poll_flush(cx, stream) {
                Poll::Pending => false,
                Poll::Ready(Ok(_)) => {
                    outbox.give_back();
                    // Once it is ended, an error there is one of the connection: reading tells it.
                    is_ending = is_ending && Pin::new(&mut *stream).poll_shutdown(cx).is_pending();
                    !is_ending
                }
                Poll::Ready(Err(source)) => {
                    // The server may have said why, before it closed.
                    outbox.clear();
                    unsent = Some(source);
                    true
                }
            };
            if std::mem::take(&mut is_watched) && unsent.is_none() {
                return Poll::Pending;
            }
            loop {
                if found.is_none() {
                    found = hear(framing, inbox, limit).map_err(|source| Repr::Frame {
                        peer: peer.clone(),
                        source,
                    })?;
                }
                if let Some(heard) = found.take() {
                    let is_final = matches!(&heard, Heard::Rejection(it) if it.kind().is_final());
                    if !is_sent && !is_final {
                        // The server goes on reading, and the next request must not run into this.
                        found = Some(heard);
                        return Poll::Pending;
                    }
                    return Poll::Ready(match heard {
                        Heard::Message(frame) => Ok(Received::Message(frame)),
                        Heard::Rejection(refusal) => Ok(Received::Rejection(refusal)),
                        Heard::TooLarge(length) => Err(Repr::Frame {
                            peer: peer.clone(),
                            source: FrameError::too_large(length, limit),
                        }),
                    });
                }
                if inbox.has_ended() {
                    return Poll::Ready(Err(match unsent.take() {
                        Some(source) => Repr::Write {
                            peer: peer.clone(),
                            source,
                        },
                        None => Repr::Closed { peer: peer.clone() },
                    }));
                }
                match inbox.poll_fill(cx, stream) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(source)) => {
                        let source = unsent.take().unwrap_or(source);
                        let peer = peer.clone();
                        return Poll::Ready(Err(Repr::Read { peer, source }));
                    }
                }
            }
        };
        poll_fn(|cx| {
            let done = step(cx);
            if done.is_pending()
                && let Poll::Ready(limit) = timer.poll_limit(patience, &mut deadline, cx)
            {
                let peer = peer.clone();
                return Poll::Ready(Err(Repr::ReplyTimedOut { peer, limit }));
            }
            done
        })
        .await
    }
}
