//! The requests of a call, one after the other.

use std::{
    io::{self, IsTerminal as _, Read as _},
    path::Path,
    pin::Pin,
};

use serde_json::Value;
use tokio::{
    fs::File,
    io::{AsyncBufRead, AsyncBufReadExt as _, BufReader, Lines, stdin},
};

use super::Args;
use crate::{
    failure::{Exit, Failure},
    payload::View,
};

/// Where requests come from, and what is sent for each.
pub(super) struct Requests {
    /// The lines that follow, unless there is only one request.
    lines: Option<Lines<Pin<Box<dyn AsyncBufRead + Send>>>>,
    view: View,
    operation: Option<String>,
    repeat: u64,
    /// The request that is sent again, and how often.
    again: Option<(Vec<u8>, u64)>,
}

impl Requests {
    pub(super) async fn of(args: &Args) -> Result<Self, Failure> {
        let mut requests = Self {
            lines: None,
            view: args.messages.view,
            operation: args.requests.operation.clone(),
            repeat: args.requests.repeat,
            again: None,
        };
        let text = match (args.text.as_deref(), &args.requests.file) {
            (Some("-"), _) => all_of_stdin()?,
            (Some(text), _) => text.to_owned(),
            // An operation may have no arguments.
            (None, None) if args.requests.operation.is_some() => "{}".to_owned(),
            (None, Some(path)) if path.as_path() != Path::new("-") => {
                let file = File::open(path).await.map_err(|error| {
                    Failure::usage(format_args!("cannot read {}: {error}", path.display()))
                })?;
                return Ok(requests.with_lines(BufReader::new(file)));
            }
            (None, _) => return Ok(requests.with_lines(BufReader::new(stdin()))),
        };
        // An error in it comes before anything is sent.
        requests.again = Some((requests.message(&text)?, args.requests.repeat));
        Ok(requests)
    }

    fn with_lines(mut self, reader: impl AsyncBufRead + Send + 'static) -> Self {
        let reader: Pin<Box<dyn AsyncBufRead + Send>> = Box::pin(reader);
        self.lines = Some(reader.lines());
        self
    }

    /// Returns `true` if there may be more than one.
    pub(super) fn are_many(&self) -> bool {
        self.lines.is_some() || self.repeat > 1
    }

    /// Returns `true` if a person types them.
    pub(super) fn are_typed(&self) -> bool {
        self.lines.is_some() && io::stdin().is_terminal()
    }

    /// Waits for the next request, and returns `None` after the last one.
    ///
    /// Safe to cancel: no request is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some((message, left)) = &mut self.again
            && *left > 0
        {
            *left -= 1;
            return Ok(Some(message.clone()));
        }
        loop {
            let Some(lines) = &mut self.lines else {
                return Ok(None);
            };
            let text = lines.next_line().await.map_err(|error| {
                Failure::usage(format_args!("cannot read the requests: {error}"))
            })?;
            let Some(text) = text else {
                return Ok(None);
            };
            if self.repeat == 0 || text.is_empty() {
                continue;
            }
            let message = self.message(&text)?;
            self.again = Some((message.clone(), self.repeat - 1));
            return Ok(Some(message));
        }
    }

    /// Returns the message that is sent for a text.
    fn message(&self, text: &str) -> Result<Vec<u8>, Failure> {
        let Some(operation) = &self.operation else {
            return self.view.encode(text);
        };
        let arguments: Value = serde_json::from_str(text)
            .map_err(|error| not_arguments(&format!("`{text}` is not JSON: {error}")))?;
        if !arguments.is_object() {
            return Err(not_arguments("the arguments are not a JSON object"));
        }
        // As they were written: a value would lose digits of long numbers.
        let name = Value::from(operation.as_str());
        self.view.encode(&format!("{{{name}:{text}}}"))
    }
}

fn not_arguments(message: &str) -> Failure {
    Failure::new(Exit::Usage, message)
        .hint(r#"write the arguments by name: '{"name":"Ann","cents":2000}'"#)
}

/// Reads standard input to its end. The line end that `echo` adds is not a part of the request.
fn all_of_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| {
        Failure::usage(format_args!("cannot read standard input: {error}"))
            .hint("for other bytes than text, use --hex")
    })?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}
