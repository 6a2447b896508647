//! What the end of an exchange means, and what to do about it.

use std::time::Duration;

use serde_json::Value;

use super::{
    Args,
    session::{GREETING, Pending},
};
use crate::{
    escape::{escaped, to_hex},
    failure::{Exit, Failure},
};

/// Returns `true` for the error of an operation or of a function, and for what begins as the user has said.
pub(super) fn is_error(args: &Args, message: &[u8]) -> Result<bool, Failure> {
    let mut prefixes = args.replies.fail_on.iter();
    if prefixes.any(|prefix| message.starts_with(prefix.as_bytes())) {
        return Ok(true);
    }
    let is_err = |value: &Value| {
        let object = value.as_object().filter(|object| object.len() == 1);
        object.is_some_and(|object| object.contains_key("Err"))
    };
    let Some(value) = args.messages.view.value(message)? else {
        return Ok(false);
    };
    let of_operation = value.as_object().filter(|object| object.len() == 1);
    let inner = of_operation.and_then(|object| object.values().next());
    Ok(is_err(&value) || inner.is_some_and(is_err))
}

/// Returns the failure after the end of a connection on which these requests wait.
pub(super) fn closed_unanswered(args: &Args, in_flight: &[Pending]) -> Failure {
    let before = match in_flight.first() {
        Some(first) if first.number == GREETING => "without a greeting",
        _ if in_flight.iter().any(|pending| pending.has_reply) => "before the last reply",
        _ => "without a reply",
    };
    let message = format!("the server closed the connection {before}");
    let failure = Failure::new(Exit::Closed, message);
    if args.messages.framing.to_string() == "length-prefixed" {
        failure.hint("it may speak another framing: try --framing lines")
    } else {
        failure.hint("it may not understand the request: check --framing and --format")
    }
}

pub(super) fn timed_out(what: &str, limit: Duration) -> Failure {
    Failure::new(Exit::Timeout, format!("no {what} within {limit:?}"))
        .hint("raise --timeout, or check --framing: the server may wait for the end of the request")
}

pub(super) fn not_sent_in_time(limit: Duration) -> Failure {
    let message = format!("the requests could not be sent within {limit:?}");
    Failure::new(Exit::Timeout, message)
        .hint("raise --timeout, or see why the server does not read")
}

pub(super) fn text_or_hex(message: &[u8]) -> String {
    match str::from_utf8(message) {
        Ok(_) => escaped(message),
        Err(_) => to_hex(message),
    }
}
