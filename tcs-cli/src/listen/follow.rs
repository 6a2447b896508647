//! Follows a script, step by step.

use std::{io, time::Duration};

use tcs::{
    Rejection, RejectionKind,
    framing::{Announcement, Notice},
    transport::{Stream, Tls},
};
use tokio::time::{sleep, timeout};

use super::{
    Args, close, open,
    script::{Script, Step},
};
use crate::{
    escape::{escaped, to_hex},
    failure::{Exit, Failure},
    framing::FrameKind,
    output::log,
    payload::View,
    socket::{Listener, Socket, cannot_accept},
    wire::{Wire, WireError},
};

/// How often a stalled connection is checked.
const STALL_TICK: Duration = Duration::from_millis(20);

struct Follower<'a> {
    listener: &'a Listener,
    args: &'a Args,
    tls: Option<Tls>,
    /// The connection, unless the script has closed it.
    wire: Option<(Wire<Stream>, Socket)>,
    /// The id of the last request.
    id: u32,
}

/// Follows a script. The first connection is taken without a step.
pub(super) async fn follow(
    script: &Script,
    listener: &Listener,
    args: &Args,
    tls: Option<Tls>,
) -> Result<(), Failure> {
    let mut peer = Follower {
        listener,
        args,
        tls,
        wire: None,
        id: 0,
    };
    let steps = script.0.iter().map(|(line, step)| (*line, step));
    let begins_itself = script
        .0
        .first()
        .is_some_and(|(_, step)| *step == Step::Accept);
    let first = (!begins_itself).then_some((0, &Step::Accept));
    for (line, step) in first.into_iter().chain(steps) {
        let limit = match step {
            // They take as long as the script, or the client, says.
            Step::Pause(_) | Step::Stall(_) => Duration::MAX,
            _ => args.timeout,
        };
        let done = timeout(limit, peer.step(step)).await;
        let done = done.unwrap_or_else(|_| {
            let message = format!("the client did nothing within {limit:?}");
            Err(Failure::new(Exit::Timeout, message)
                .hint("see what it waits for, or raise --timeout"))
        });
        done.map_err(|failure| match line {
            0 => failure,
            line => failure.within(format_args!("line {line}: ")),
        })?;
    }
    if let Some((wire, _)) = &mut peer.wire {
        close(wire).await;
    }
    Ok(())
}

impl Follower<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), Failure> {
        match step {
            Step::Accept => self.accept().await,
            Step::Expect(expected) => self.expect(expected).await,
            Step::ExpectStart(expected) => self.expect_start(expected).await,
            Step::ExpectUntil(last) => {
                let quoted = self.quoted(last);
                while self.message(&quoted).await? != *last {}
                Ok(())
            }
            Step::ExpectAny => self.message("a message").await.map(drop),
            Step::ExpectBytes(expected) => self.expect_bytes(expected).await,
            Step::ExpectEnd => self.expect_end().await,
            Step::Pause(time) => {
                sleep(*time).await;
                Ok(())
            }
            Step::Stall(time) => {
                // The client may close unseen, if it has sent what is not read.
                timeout(*time, self.stall()).await.unwrap_or(Ok(()))
            }
            Step::Reset => {
                let (_wire, socket) = self.wire.take().ok_or_else(no_connection)?;
                let reset = socket.reset_on_close();
                reset.map_err(|error| client_closed(&error))
            }
            Step::Close => {
                let (mut wire, _) = self.wire.take().ok_or_else(no_connection)?;
                close(&mut wire).await;
                Ok(())
            }
            Step::HalfClose => {
                let closed = self.wire()?.close_half().await;
                closed.map_err(|error| client_closed(&error))
            }
            Step::Send(message) => self.send(None, message).await,
            Step::SendAnnounced(what, message) => self.send(Some(*what), message).await,
            Step::SendBytes(bytes) => {
                self.wire()?.queue_bytes(bytes);
                self.flush().await
            }
            Step::Reject(kind, text) => self.reject(*kind, text).await,
        }
    }

    async fn accept(&mut self) -> Result<(), Failure> {
        self.wire = None;
        let socket = self.listener.accept().await;
        let socket = socket.map_err(|error| cannot_accept(&error))?;
        let framing = &self.args.messages.framing;
        self.wire = Some(open(socket, framing, self.tls.as_ref()).await?);
        Ok(())
    }

    async fn expect(&mut self, expected: &[u8]) -> Result<(), Failure> {
        let quoted = self.quoted(expected);
        let message = self.message(&quoted).await?;
        let view = self.args.messages.view;
        // JSON may be written in many ways.
        let is_same = match (view.value(expected), view.value(&message)) {
            (Ok(Some(one)), Ok(Some(other))) => one == other,
            _ => *expected == message,
        };
        self.check(is_same, &quoted, &message)
    }

    async fn expect_start(&mut self, expected: &[u8]) -> Result<(), Failure> {
        let quoted = self.quoted(expected);
        let message = self.message(&quoted).await?;
        let is_so = message.starts_with(expected);
        self.check(is_so, &format!("a start with {quoted}"), &message)
    }

    async fn expect_end(&mut self) -> Result<(), Failure> {
        match self.wire()?.next().await {
            Ok(Some(frame)) => return self.check(false, "the end", &frame.payload),
            Ok(None) => {}
            // Many clients close without the farewell of TLS.
            Err(WireError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(not_as_scripted(error)),
        }
        // A framing with one exchange does not read what comes after it.
        let rest = self.wire()?.unread().clone();
        self.check(rest.is_empty(), "the end", &rest)
    }

    /// Sends a message. Framings that announce nothing send what is announced as an ordinary one.
    async fn send(&mut self, what: Option<Announcement>, message: &[u8]) -> Result<(), Failure> {
        // An event belongs to no request.
        let id = match what {
            Some(Announcement::Events) => 0,
            _ => self.id,
        };
        let wire = self.wire()?;
        if let Some(what) = what {
            wire.queue_notice(Notice::Announce(what, 1), id);
        }
        wire.queue(message, id)?;
        self.flush().await
    }

    async fn reject(&mut self, kind: RejectionKind, text: &str) -> Result<(), Failure> {
        let id = self.id;
        let rejection = Rejection::new(kind, text);
        if self.wire()?.queue_rejection(&rejection, id) {
            return self.flush().await;
        }
        let framing = &self.args.messages.framing;
        let failure = Failure::usage(format_args!("the framing {framing} has no rejections"));
        Err(failure.hint("send the text that the protocol has for errors"))
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let sent = self.wire()?.flush().await;
        sent.map_err(|error| client_closed(&error))
    }

    fn wire(&mut self) -> Result<&mut Wire<Stream>, Failure> {
        let open = self.wire.as_mut().ok_or_else(no_connection)?;
        Ok(&mut open.0)
    }

    /// Waits for the next message. Notices of a client are no messages.
    async fn message(&mut self, expected: &str) -> Result<Vec<u8>, Failure> {
        loop {
            let frame = self.wire()?.next().await.map_err(not_as_scripted)?;
            let frame = frame.ok_or_else(|| {
                let message = format!("expected {expected}, but the client closed the connection");
                Failure::new(Exit::Rejected, message)
            })?;
            match frame.kind {
                FrameKind::Message | FrameKind::Announced(_) => {
                    self.id = frame.id;
                    if self.args.verbose {
                        log(format_args!("request: {}", self.quoted(&frame.payload)));
                    }
                    return Ok(frame.payload);
                }
                FrameKind::Oversized(length) => {
                    let message = format!("a message of {length} bytes exceeds the limit");
                    return Err(Failure::new(Exit::Rejected, message));
                }
                FrameKind::Control(_) | FrameKind::Skip => {}
            }
        }
    }

    /// Returns an error that says what was expected, unless it has arrived.
    fn check(&self, has_arrived: bool, expected: &str, arrived: &[u8]) -> Result<(), Failure> {
        if has_arrived {
            return Ok(());
        }
        let arrived = self.quoted(arrived);
        let message = format!("expected {expected}, but {arrived} arrived");
        Err(Failure::new(Exit::Rejected, message))
    }

    fn quoted(&self, bytes: &[u8]) -> String {
        quoted(self.args.messages.view, bytes)
    }

    async fn expect_bytes(&mut self, expected: &[u8]) -> Result<(), Failure> {
        let quoted = self.quoted(expected);
        loop {
            let arrived = self.wire()?.unread();
            let common = arrived.len().min(expected.len());
            if arrived.get(..common) != expected.get(..common) {
                let arrived = arrived.clone();
                return self.check(false, &quoted, &arrived);
            }
            if arrived.len() >= expected.len() {
                drop(arrived.drain(..expected.len()));
                return Ok(());
            }
            let read = self.wire()?.read_more().await;
            if !read.map_err(|error| client_closed(&error))? {
                let arrived = self.wire()?.unread().clone();
                let after = match &*arrived {
                    [] => String::new(),
                    arrived => format!(" after {}", self.quoted(arrived)),
                };
                let message = format!("expected {quoted}, but the client closed the connection");
                return Err(Failure::new(Exit::Rejected, message + &after));
            }
        }
    }

    /// Waits until the client closes its half or is gone, without reading.
    async fn stall(&mut self) -> Result<(), Failure> {
        let (_, socket) = self.wire.as_ref().ok_or_else(no_connection)?;
        loop {
            let ready = socket.readable().await;
            match ready {
                Ok(ready) if !ready.is_read_closed() => sleep(STALL_TICK).await,
                _ => return Ok(()),
            }
        }
    }
}

pub(super) fn quoted(view: View, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "an empty message".to_owned();
    }
    if view.hex || str::from_utf8(bytes).is_err() {
        return format!("`{}`", to_hex(bytes));
    }
    format!("`{}`", escaped(bytes).replace('\n', "\\n"))
}

fn no_connection() -> Failure {
    Failure::usage("there is no connection any more").hint("take the next one with `accept`")
}

/// Turns an error of the connection into that of a script: what a client sends is never wrong usage.
fn not_as_scripted(error: WireError) -> Failure {
    match error {
        WireError::Io(error) => client_closed(&error),
        error @ WireError::Framing { .. } => Failure {
            exit: Exit::Rejected,
            ..error.into()
        },
    }
}

fn client_closed(error: &io::Error) -> Failure {
    Failure::new(
        Exit::Rejected,
        format_args!("the client has closed the connection: {error}"),
    )
}
