//! What a connection sends, and finds in what it receives.

use std::{future::poll_fn, io, ops::Range, task::Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use crate::{
    Cut, Exchanges, FrameError, Framing, Refusal, RefusalKind, Side, error::Repr, framing::What,
};

/// What arrived in answer to a request.
pub(super) enum Received {
    /// A message, which stands there in the inbox.
    Message(Range<usize>),
    Refusal(Refusal),
}

/// What arrived although nothing was asked.
pub(super) enum Seen {
    Nothing,
    /// The server has ended the connection.
    End(Refusal),
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
            return Ok(Seen::Nothing);
        };
        if F::EXCHANGES == Exchanges::One {
            // All that arrives is the one reply, be it earlier than the request.
            return Ok(Seen::Nothing);
        }
        poll_fn(|cx| {
            loop {
                let cut = framing.cut(inbox.input(limit, Side::Client));
                let cut = cut.map_err(|source| Repr::Frame {
                    peer: peer.clone(),
                    source,
                })?;
                if let Some(cut) = cut {
                    let frame = inbox.consume(&cut.frame, cut.consumed);
                    let kind = match cut.what {
                        What::Control(code) => RefusalKind::from_code(code),
                        What::Message | What::TooLarge => return Poll::Ready(Ok(Seen::Message)),
                    };
                    match kind {
                        None => continue,
                        Some(kind) if kind.is_final() => {
                            let text = String::from_utf8_lossy(inbox.frame(frame));
                            return Poll::Ready(Ok(Seen::End(Refusal::new(kind, text))));
                        }
                        Some(_) => return Poll::Ready(Ok(Seen::Message)),
                    }
                }
                let gone = |source| Repr::Gone {
                    peer: peer.clone(),
                    source,
                };
                if inbox.has_ended() {
                    return Poll::Ready(Err(gone(None)));
                }
                match inbox.poll_fill(cx, stream) {
                    Poll::Pending => return Poll::Ready(Ok(Seen::Nothing)),
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(source)) => return Poll::Ready(Err(gone(Some(source)))),
                }
            }
        })
        .await
    }

    /// Sends and receives at the same time, because a server may refuse a request before all of it
    /// has been sent.
    pub(super) async fn transfer(&mut self) -> Result<Received, Repr> {
        let limit = self.options.frame_len();
        let Self {
            stream: Some(stream),
            peer,
            framing,
            inbox,
            outbox,
            ..
        } = self
        else {
            return Err(Repr::Closed {
                peer: self.peer.clone(),
            });
        };
        let mut unsent: Option<io::Error> = None;
        let mut found: Option<Cut> = None;
        poll_fn(|cx| {
            let is_sent = match outbox.poll_flush(cx, stream) {
                Poll::Pending => false,
                Poll::Ready(Ok(())) => {
                    outbox.rest();
                    true
                }
                Poll::Ready(Err(source)) => {
                    // The server may have said why, before it closed.
                    outbox.clear();
                    unsent = Some(source);
                    true
                }
            };
            loop {
                if found.is_none() {
                    let cut = framing.cut(inbox.input(limit, Side::Client));
                    found = cut.map_err(|source| Repr::Frame {
                        peer: peer.clone(),
                        source,
                    })?;
                }
                if let Some(cut) = found.take() {
                    let kind = match cut.what {
                        What::Control(code) => RefusalKind::from_code(code),
                        What::Message | What::TooLarge => None,
                    };
                    let is_notice = kind.is_none() && matches!(cut.what, What::Control(_));
                    let is_final = kind.is_some_and(RefusalKind::is_final);
                    if !is_sent && !is_notice && !is_final {
                        // The server goes on reading, and the next request must not run into this.
                        found = Some(cut);
                        return Poll::Pending;
                    }
                    let frame = inbox.consume(&cut.frame, cut.consumed);
                    return Poll::Ready(match (cut.what, kind) {
                        (What::Message, _) => Ok(Received::Message(frame)),
                        (What::TooLarge, _) => Err(Repr::Frame {
                            peer: peer.clone(),
                            source: FrameError::too_large(cut.frame.len(), limit),
                        }),
                        (What::Control(_), None) => continue,
                        (What::Control(_), Some(kind)) => {
                            let text = String::from_utf8_lossy(inbox.frame(frame));
                            Ok(Received::Refusal(Refusal::new(kind, text)))
                        }
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
        })
        .await
    }
}
