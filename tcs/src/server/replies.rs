//! What a connection says to its peer.

use tokio::io::AsyncWrite;

use std::{
    io,
    task::{Context, Poll},
};

use super::report::{Answers, Tally};
use crate::{
    Encode, EncodeError, Exchanges, FrameError, Framing, Refusal, RefusalKind, Told, Writer,
    buffer::{Outbox, Unusual},
    refusal::Escaped,
};

/// The sending half: framing, and what the unsent answers count as.
///
/// What is said goes into an outbox that is lent, because a connection that rests has none.
#[derive(Debug)]
pub(super) struct Replies<F> {
    framing: F,
    limit: usize,
    unsent: Answers,
}

/// Whether the connection goes on after something was said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It does.
    GoOn,
    /// It closes, after a final refusal where there is one and the framing can say it.
    Close(Option<Refusal>),
}

/// As many bytes wait before they are sent although more answers could join them.
const BATCH: usize = 64 * 1024;

/// Tells whether so much waits that it should be sent now.
#[inline]
pub(super) fn is_full(outbox: &Outbox) -> bool {
    outbox.waiting() >= BATCH
}

impl<F: Framing> Replies<F> {
    pub(super) fn new(framing: F, limit: usize) -> Self {
        Self {
            framing,
            limit,
            unsent: Answers::default(),
        }
    }

    /// Tells whether anything was said that is not sent, or not counted as sent.
    #[inline]
    pub(super) fn has_unsent(&self, outbox: &Outbox) -> bool {
        outbox.waiting() > 0 || self.unsent() > 0
    }

    /// Returns how many answers wait to be sent.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent.sum()
    }

    #[inline]
    pub(super) fn framing(&mut self) -> &mut F {
        &mut self.framing
    }

    /// Says something that answers no request.
    pub(super) fn greet<Format>(
        &mut self,
        outbox: &mut Outbox,
        greeting: impl Encode<Format>,
    ) -> Next {
        outbox.prepare();
        let written = outbox.message(&mut self.framing, self.limit, |out| greeting.encode(out));
        let why = match written {
            Ok(()) | Err(Unusual::Nothing) => return Next::GoOn,
            Err(Unusual::Last) => return Next::Close(None),
            Err(Unusual::Error(text) | Unusual::LastError(text)) => text,
            Err(Unusual::Encode(error)) => unencodable("greeting", &error),
            Err(Unusual::Frame(error)) => unsendable("greeting", &error),
        };
        Next::Close(Some(closing(&why)))
    }

    /// Answers a request with what its protocol returned.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a fifth more"
    )]
    pub(super) fn answer<Format>(
        &mut self,
        outbox: &mut Outbox,
        result: Result<impl Encode<Format>, Refusal>,
    ) -> Next {
        match result {
            Ok(reply) => self.reply(outbox, reply),
            Err(refusal) => self.refuse(outbox, refusal),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `answer`")]
    fn reply<Format>(&mut self, outbox: &mut Outbox, reply: impl Encode<Format>) -> Next {
        let written = outbox.message(&mut self.framing, self.limit, |out| reply.encode(out));
        match written {
            Ok(()) => {
                self.unsent.served += 1;
                after_answer::<F>()
            }
            Err(unusual) => self.unusual(outbox, unusual),
        }
    }

    /// Answers a request with what is no ordinary reply.
    #[cold]
    fn unusual(&mut self, outbox: &mut Outbox, unusual: Unusual) -> Next {
        let why = match unusual {
            Unusual::Nothing => {
                self.unsent.served += 1;
                return after_answer::<F>();
            }
            Unusual::Last => {
                self.unsent.served += 1;
                return after_last();
            }
            Unusual::Error(text) => return self.refuse(outbox, Refusal::error(text)),
            Unusual::LastError(text) => {
                return match self.refuse(outbox, Refusal::error(text)) {
                    Next::GoOn => after_last(),
                    close @ Next::Close(_) => close,
                };
            }
            Unusual::Encode(error) => unencodable("reply", &error),
            Unusual::Frame(error) => unsendable("reply", &error),
        };
        self.refuse(outbox, Refusal::new(RefusalKind::Failed, why))
    }

    /// Answers like [`answer`](Self::answer), for functions that were not ready at once.
    #[cold]
    pub(super) fn answer_late<Format>(
        &mut self,
        outbox: &mut Outbox,
        result: Result<impl Encode<Format>, Refusal>,
    ) -> Next {
        self.answer(outbox, result)
    }

    /// Answers a request with a refusal.
    #[cold]
    pub(super) fn refuse(&mut self, outbox: &mut Outbox, refusal: Refusal) -> Next {
        if refusal.kind().is_final() {
            self.unsent.count(refusal.kind());
            return Next::Close(Some(refusal));
        }
        let told = outbox.refuse(&mut self.framing, &refusal);
        if told == Told::Not && refusal.kind() == RefusalKind::Error {
            return self.error_as_reply(outbox, &refusal);
        }
        self.unsent.count(refusal.kind());
        match told {
            Told::Yes => {
                tracing::debug!(reason = %refusal, "answered without a reply");
                after_answer::<F>()
            }
            // Without a word about this request, the next reply would be taken for its own.
            Told::Not => {
                tracing::info!(reason = %refusal, "closing, as this framing cannot say why");
                Next::Close(None)
            }
        }
    }

    /// Sends the text of the function's error where a framing has no form for it.
    fn error_as_reply(&mut self, outbox: &mut Outbox, refusal: &Refusal) -> Next {
        let mut say = |text: &dyn Fn(&mut Writer<'_>)| {
            outbox.message(&mut self.framing, self.limit, |out| {
                text(out);
                Ok(())
            })
        };
        let text = refusal.text().as_bytes();
        let said = say(&|out| out.put(text)).or_else(|_| {
            // It has what the framing cannot carry: a line feed, say.
            say(&|out| {
                let _: Result<_, _> =
                    std::fmt::Write::write_fmt(out, format_args!("{}", Escaped(text, text.len())));
            })
        });
        if said.is_err() {
            tracing::error!("the text of an error cannot be sent");
            self.unsent.failed += 1;
            return Next::Close(None);
        }
        self.unsent.served += 1;
        after_answer::<F>()
    }

    /// Says the last words about bytes that made no sense.
    pub(super) fn reject(&mut self, outbox: &mut Outbox, error: &FrameError) -> Next {
        self.unsent.refused += 1;
        match outbox.reject(&mut self.framing, error) {
            Told::Yes => tracing::debug!(%error, "the peer sent no valid frame"),
            Told::Not => tracing::info!(%error, "closing, as this framing cannot say why"),
        }
        Next::Close(None)
    }

    /// Counts a request that will be refused by the words at the end of the connection.
    pub(super) fn count_refused(&mut self) {
        self.unsent.refused += 1;
    }

    /// Says a refusal that is not counted: at the end of the connection.
    pub(super) fn close(&mut self, outbox: &mut Outbox, refusal: &Refusal) {
        tracing::debug!(%refusal, "closing the connection");
        let _: Told = outbox.refuse(&mut self.framing, refusal);
    }

    /// Sends what waits, and counts the answers that were sent.
    #[inline]
    pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
        stream: &mut S,
        tally: &Tally,
    ) -> Poll<io::Result<()>> {
        let flushed = outbox.poll_flush(cx, stream);
        if let Poll::Ready(Ok(())) = flushed {
            tally.answer(std::mem::take(&mut self.unsent));
        }
        flushed
    }
}

/// Whether a connection of a framing goes on when a request was answered.
fn after_answer<F: Framing>() -> Next {
    match F::EXCHANGES {
        Exchanges::One => Next::Close(None),
        Exchanges::Many => Next::GoOn,
    }
}

fn after_last() -> Next {
    Next::Close(Some(closing("this was the last reply")))
}

/// The final refusal of a server that closes by its own decision.
pub(super) fn closing(text: &str) -> Refusal {
    Refusal::new(RefusalKind::GoingAway, text)
}

/// Words that a value has no form, for the peer; why is the server's own matter.
fn unencodable(what: &str, error: &EncodeError) -> String {
    tracing::error!(%error, "a {what} cannot be encoded");
    format!("the {what} cannot be encoded")
}

/// Words why a message cannot be sent, for the peer and the log.
fn unsendable(what: &str, error: &FrameError) -> String {
    let text = format!("the {what} cannot be sent: {error}");
    tracing::error!("{text}");
    text
}
