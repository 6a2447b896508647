//! What a connection says to its peer.

use tokio::io::AsyncWrite;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use super::{
    accept::Shared,
    answers::panic_text,
    report::{Answers, Tally},
};
use crate::{
    Encode, EncodeError, FrameError, Framing, Rejection, RejectionKind, ServerProtocol, Writer,
    buffer::{Unusual, WriteBuffer},
    framing::FirstFrame,
    rejection::Escaped,
};

/// The sending half: framing, and what the unsent answers count as.
///
/// What is said goes into an outbox that is lent, because a connection that rests has none.
pub(super) struct Replies<P: ServerProtocol> {
    shared: Arc<Shared<P>>,
    framing: FirstFrame<P::Framing>,
    unsent: Answers,
}

/// Whether the connection goes on after something was said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It does.
    GoOn,
    /// It closes, after a final refusal where there is one and the framing can say it.
    Close(Option<Rejection>),
}

/// What became of a refusal in the protocol's own words.
#[derive(Debug, PartialEq, Eq)]
enum Worded {
    /// The protocol has none.
    Not,
    /// They are said, or it has decided to say nothing.
    Yes,
    /// They are said, and are the last.
    Last,
    /// They cannot be said.
    Failed,
}

/// Whether a peer would understand the protocol's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acquaintance {
    Known,
    /// All that it has sent looks like another protocol.
    Stranger,
}

/// As many bytes wait before they are sent although more answers could join them.
const BATCH: usize = 64 * 1024;

/// Tells whether there is so much that all of it should be sent now, also what is sent in part.
#[inline]
pub(super) fn is_full(outbox: &WriteBuffer) -> bool {
    outbox.len() >= BATCH
}

impl<P: ServerProtocol> Replies<P> {
    pub(super) fn new(shared: Arc<Shared<P>>) -> Self {
        Self {
            framing: FirstFrame::new(shared.protocol.framing()),
            shared,
            unsent: Answers::default(),
        }
    }

    /// Tells whether anything was said that is not sent, or not counted as sent.
    #[inline]
    pub(super) fn has_unsent(&self, outbox: &WriteBuffer) -> bool {
        outbox.waiting() > 0 || self.unsent() > 0
    }

    /// Returns how many answers wait to be sent.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent.sum()
    }

    #[inline]
    pub(super) fn framing(&mut self) -> &mut FirstFrame<P::Framing> {
        &mut self.framing
    }

    /// Says something that answers no request.
    pub(super) fn greet<Format>(
        &mut self,
        outbox: &mut WriteBuffer,
        greeting: impl Encode<Format>,
    ) -> Next {
        outbox.prepare();
        let written = outbox.message(&mut self.framing, self.shared.limits.frame_len, |out| {
            greeting.encode(out)
        });
        after_greeting(written)
    }

    /// Answers a request with what its protocol returned.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a fifth more"
    )]
    pub(super) fn answer<Format>(
        &mut self,
        outbox: &mut WriteBuffer,
        result: Result<impl Encode<Format>, Rejection>,
    ) -> Next {
        match result {
            Ok(reply) => self.reply(outbox, reply),
            Err(refusal) => self.refuse(outbox, refusal),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `answer`")]
    fn reply<Format>(&mut self, outbox: &mut WriteBuffer, reply: impl Encode<Format>) -> Next {
        let written = outbox.message(&mut self.framing, self.shared.limits.frame_len, |out| {
            reply.encode(out)
        });
        match written {
            Ok(()) => {
                self.unsent.served += 1;
                after_answer::<P::Framing>()
            }
            Err(unusual) => self.unusual(outbox, unusual),
        }
    }

    /// Answers a request with what is no ordinary reply.
    #[cold]
    fn unusual(&mut self, outbox: &mut WriteBuffer, unusual: Unusual) -> Next {
        let why = match unusual {
            Unusual::Nothing => {
                self.unsent.served += 1;
                return after_answer::<P::Framing>();
            }
            Unusual::Last => {
                self.unsent.served += 1;
                return self.end(outbox, LAST);
            }
            Unusual::Error(text) => return self.refuse(outbox, Rejection::error(text)),
            Unusual::LastError(text) => {
                return match self.refuse(outbox, Rejection::error(text)) {
                    Next::GoOn => self.end(outbox, LAST),
                    close @ Next::Close(_) => close,
                };
            }
            Unusual::Encode(error) => unencodable("reply", &error),
            Unusual::Frame(error) => unsendable("reply", &error),
        };
        self.refuse(outbox, Rejection::new(RejectionKind::Failed, why))
    }

    /// Answers like [`answer`](Self::answer), for functions that were not ready at once.
    #[cold]
    pub(super) fn answer_late<Format>(
        &mut self,
        outbox: &mut WriteBuffer,
        result: Result<impl Encode<Format>, Rejection>,
    ) -> Next {
        self.answer(outbox, result)
    }

    /// Answers a request with a refusal.
    #[cold]
    pub(super) fn refuse(&mut self, outbox: &mut WriteBuffer, refusal: Rejection) -> Next {
        if refusal.kind().is_final() {
            self.unsent.count(refusal.kind());
            return Next::Close(Some(refusal));
        }
        let worded = if outbox.reject(&mut self.framing, &refusal) {
            Worded::Yes
        } else {
            self.word(outbox, &refusal)
        };
        match (&worded, refusal.kind()) {
            (Worded::Not, RejectionKind::Error) => return self.error_as_reply(outbox, &refusal),
            (Worded::Failed, RejectionKind::Error) => self.unsent.count(RejectionKind::Failed),
            (_, kind) => self.unsent.count(kind),
        }
        match worded {
            Worded::Yes => {
                log_refused(&refusal);
                after_answer::<P::Framing>()
            }
            // Without a word about this request, the next reply would be taken for its own.
            Worded::Not => {
                log_unsaid(&refusal);
                Next::Close(None)
            }
            Worded::Last | Worded::Failed => Next::Close(None),
        }
    }

    /// Says a refusal in the protocol's own words, if it has any, whatever they do.
    fn word(&mut self, outbox: &mut WriteBuffer, refusal: &Rejection) -> Worded {
        let Self {
            shared, framing, ..
        } = self;
        let worded = catch_unwind(AssertUnwindSafe(|| {
            outbox.prepare();
            let words = shared.protocol.refuse(refusal)?;
            Some(outbox.message(framing, shared.limits.frame_len, |out| words.encode(out)))
        }));
        if worded.is_err() {
            outbox.prepare();
        }
        Worded::of(worded, refusal)
    }

    /// Sends the text of the function's error where a framing has no form for it.
    fn error_as_reply(&mut self, outbox: &mut WriteBuffer, refusal: &Rejection) -> Next {
        if P::Framing::TYPED {
            log_unsaid(refusal);
            self.unsent.failed += 1;
            return Next::Close(None);
        }
        let mut say = |text: &dyn Fn(&mut Writer<'_>)| {
            outbox.message(&mut self.framing, self.shared.limits.frame_len, |out| {
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
            log_unsendable(refusal);
            self.unsent.failed += 1;
            return Next::Close(None);
        }
        self.unsent.served += 1;
        after_answer::<P::Framing>()
    }

    /// Says the last words about bytes that made no sense, to somebody who may understand them or
    /// not.
    pub(super) fn reject(
        &mut self,
        outbox: &mut WriteBuffer,
        error: &FrameError,
        peer: Acquaintance,
    ) -> Next {
        self.unsent.refused += 1;
        let told = outbox.answer_error(&mut self.framing, error)
            || peer == Acquaintance::Known && self.word(outbox, &error.rejection()) != Worded::Not;
        log_rejected(error, told);
        Next::Close(None)
    }

    /// Counts a request that will be refused by the words at the end of the connection.
    pub(super) fn count_refused(&mut self) {
        self.unsent.refused += 1;
    }

    /// Says a refusal that is not counted: at the end of the connection.
    pub(super) fn close(&mut self, outbox: &mut WriteBuffer, refusal: &Rejection) {
        log_closing(refusal);
        if !outbox.reject(&mut self.framing, refusal) {
            self.word(outbox, refusal);
        }
    }

    /// Ends the connection as planned, behind what was said last.
    ///
    /// Words of the protocol would be taken for one more reply, so only the framing says it.
    #[cold]
    pub(super) fn end(&mut self, outbox: &mut WriteBuffer, text: &str) -> Next {
        self.dismiss(outbox, &closing(text))
    }

    /// Ends the connection of a peer that would not understand the protocol's words.
    #[cold]
    pub(super) fn dismiss(&mut self, outbox: &mut WriteBuffer, refusal: &Rejection) -> Next {
        log_closing(refusal);
        let _: bool = outbox.reject(&mut self.framing, refusal);
        Next::Close(None)
    }

    /// Sends what waits, and counts the answers that were sent.
    #[inline]
    pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        outbox: &mut WriteBuffer,
        cx: &mut Context<'_>,
        stream: &mut S,
        tally: &Tally,
    ) -> Poll<io::Result<()>> {
        let flushed = outbox.poll_flush(cx, stream);
        if let Poll::Ready(Ok(())) = flushed {
            tally.answer(&mut self.unsent);
        }
        flushed
    }
}

// What follows depends on no protocol, and is compiled with this library, not with each program.

impl Worded {
    /// Sorts what became of the words, or the panic they ended in.
    fn of(words: thread::Result<Option<Result<(), Unusual>>>, refusal: &Rejection) -> Self {
        let why = match words {
            Ok(None) => return Self::Not,
            Ok(Some(Ok(()) | Err(Unusual::Nothing))) => return Self::Yes,
            Ok(Some(Err(Unusual::Last))) => return Self::Last,
            Ok(Some(Err(Unusual::Error(text) | Unusual::LastError(text)))) => text,
            Ok(Some(Err(Unusual::Encode(error)))) => error.to_string(),
            Ok(Some(Err(Unusual::Frame(error)))) => error.to_string(),
            Err(panic) => format!("panic: {}", panic_text(&*panic)),
        };
        let why = Escaped(why.as_bytes(), why.len());
        tracing::error!(reason = %refusal, %why, "a refusal cannot be put into words");
        Self::Failed
    }
}

fn after_greeting(written: Result<(), Unusual>) -> Next {
    let why = match written {
        Ok(()) | Err(Unusual::Nothing) => return Next::GoOn,
        Err(Unusual::Last) => return Next::Close(None),
        Err(Unusual::Error(text) | Unusual::LastError(text)) => text,
        Err(Unusual::Encode(error)) => unencodable("greeting", &error),
        Err(Unusual::Frame(error)) => unsendable("greeting", &error),
    };
    Next::Close(Some(closing(&why)))
}

fn log_refused(refusal: &Rejection) {
    tracing::debug!(reason = %refusal, "answered without a reply");
}

fn log_unsaid(refusal: &Rejection) {
    tracing::info!(reason = %refusal, "closing, as this framing cannot say why");
}

fn log_unsendable(refusal: &Rejection) {
    tracing::error!(reason = %refusal, "this framing cannot carry the text of an error; word it with `refuse`");
}

fn log_rejected(error: &FrameError, told: bool) {
    if told {
        tracing::debug!(%error, "the peer sent no valid frame");
    } else {
        tracing::info!(%error, "closing, as this framing cannot say why");
    }
}

fn log_closing(refusal: &Rejection) {
    tracing::debug!(%refusal, "closing the connection");
}

/// Whether a connection of a framing goes on when a request was answered.
fn after_answer<F: Framing>() -> Next {
    if F::PERSISTENT {
        Next::GoOn
    } else {
        Next::Close(None)
    }
}

/// Why a connection ends behind an answer that closes it.
const LAST: &str = "this was the last reply";

/// The final refusal of a server that closes by its own decision.
pub(super) fn closing(text: &str) -> Rejection {
    Rejection::new(RejectionKind::GoingAway, text)
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
