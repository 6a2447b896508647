//! The future of a request, which owns what its function borrows.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::Arc,
};

use super::backlog::Request;
use crate::{
    ConnectionInfo, Rejection, RejectionKind,
    buffer::{EncodedMessage, MemoryBudget, MessageBytes, Reservation},
    format::{After, Decode as _, Encode as _, EncodeError, EncodeOutcome, Frame, Writer},
    framing::FrameError,
    panics::panic_text,
    protocol::{Context, ServerProtocol},
    server::{metrics::Timer, shared::Shared, tally::CallOutcome},
};

/// The end of a request: a reply, or why it is rejected.
pub(super) type Outcome = Result<Reply, Rejection>;

/// A reply without its frame.
pub(super) struct Reply {
    pub(super) bytes: MessageBytes,
    /// How many of the bytes were sent as parts.
    pub(super) sent: usize,
    pub(super) encoded: EncodedMessage,
    /// The memory of a large reply.
    reserved: Option<Reservation>,
}

impl Reply {
    /// Reserves the memory of a large reply. Without memory, the request has failed.
    pub(super) fn reserve(&mut self, budget: &MemoryBudget) {
        if budget
            .reserve_existing(self.bytes.capacity(), &mut self.reserved)
            .is_ok()
        {
            return;
        }
        // What follows the reply, such as a close, stays.
        let text = "the memory for large replies is in use (`memory_budget`)";
        self.encoded.outcome = EncodeOutcome::Unsendable(FrameError::unsendable(text));
        self.bytes = MessageBytes::for_len(0);
    }
}

/// Returns how the metrics count a call with this outcome.
fn call_outcome(outcome: &Outcome) -> CallOutcome {
    match outcome {
        Ok(reply) => match reply.encoded.outcome {
            EncodeOutcome::Unencodable(_) | EncodeOutcome::Unsendable(_) => CallOutcome::Failed,
            _ => CallOutcome::Served,
        },
        Err(rejection) => CallOutcome::of_rejection(rejection.kind()),
    }
}

/// Returns `true` if the connection closes after this.
pub(super) fn closes(outcome: &Outcome) -> bool {
    match outcome {
        Ok(reply) => reply.encoded.after != After::Continue,
        Err(rejection) => rejection.kind().is_final(),
    }
}

/// Returns the outcome of a request that has failed.
pub(super) fn failed(text: &str) -> Outcome {
    Err(Rejection::new(RejectionKind::Failed, text))
}

/// Decodes a request and calls its function. The future owns what the request borrows.
pub(super) async fn execute<P: ServerProtocol>(
    shared: &Shared<P>,
    request: Request,
    mut session: P::Session,
    info: Arc<ConnectionInfo>,
) -> Outcome {
    let mut scratch = Vec::new();
    let frame = Frame::new(request.message.bytes()).with_scratch(&mut scratch);
    let decoded = match P::Request::decode(frame) {
        Ok(decoded) => decoded,
        Err(error) => {
            let rejection = Rejection::bad_request(error.to_string());
            return Err(rejection.of_request::<P::Framing>(request.message.bytes()));
        }
    };
    let timer = Timer::start(&shared.metrics, request.arrival, P::operation(&decoded));
    let context = Context::new(&info, &mut session);
    let mut function = pin!(shared.protocol.process_request(context, decoded));
    let limit = shared.limits.reply_len();
    // A reply need not be `Send`, so it is encoded before this future can wait again.
    let outcome = poll_fn(|cx| {
        let result = function.as_mut().poll(cx);
        result.map(|result| encode::<P>(result, limit))
    })
    .await;
    timer.record(|| call_outcome(&outcome));
    outcome
}

/// Encodes the reply of a function.
fn encode<P: ServerProtocol>(result: Result<P::Reply<'_>, Rejection>, limit: usize) -> Outcome {
    let reply = result?;
    let (mut bytes, mut after) = (MessageBytes::for_len(0), After::Continue);
    let mut writer = Writer::new(&mut bytes.0, limit);
    writer.lend_after(&mut after);
    let encoded = catch_unwind(AssertUnwindSafe(|| {
        reply.encode(&mut writer).map(|()| writer.into_state())
    }));
    let encoded = encoded.unwrap_or_else(|payload| {
        if after == After::Continue {
            resume_unwind(payload);
        }
        // The panic does not change what comes after the reply.
        let text = panic_text(payload);
        Err(EncodeError::new(format_args!("it panicked: {text}")))
    });
    let outcome = EncodeOutcome::of(encoded, &bytes, 0, limit);
    let encoded = EncodedMessage { outcome, after };
    Ok(Reply {
        bytes,
        sent: 0,
        encoded,
        reserved: None,
    })
}
