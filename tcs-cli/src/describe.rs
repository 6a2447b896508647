//! `tcs describe`, and what describes a server.

use std::{fmt, time::Duration};

use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};
use tcs::{
    RejectionKind,
    framing::{Announcement, Side},
    transport::Stream,
};
use tokio::time::timeout;

use crate::{
    escape::{escaped, escaped_json},
    failure::{Exit, Failure},
    framing::{FrameKind, FramingSpec},
    options::{EXIT_CODES, HelpFlags, duration},
    output::print,
    payload::{Format, View},
    target::Target,
    wire::{Parts, Wire},
};

/// The id of its request, which no other request has.
const ID: u32 = u32::MAX;
/// How long a shell waits for the names that complete a line, and an error for its advice.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// The longest description that is read.
const MAX_LEN: usize = 8 << 20;
/// How many names an advice has.
const MAX_NAMES: usize = 20;

/// Print the operations of a server that describes itself
///
/// A module describes itself with the option `describe`: `#[server_protocol(format = Json, describe)]`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, disable_help_flag = true)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    messages: MessageOptions,
    #[command(flatten)]
    result: ResultOptions,
    #[command(flatten)]
    help: HelpFlags,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Messages")]
struct MessageOptions {
    /// Framing, such as lines [default: length-prefixed]
    #[arg(short, long, value_name = "NAME", default_value_t, hide_default_value = true,
        long_help = crate::framing::LONG_HELP)]
    framing: FramingSpec,
    /// Format: json, messagepack or postcard [default: any]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    format: Option<ModuleFormat>,
    /// How long the reply may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Result")]
struct ResultOptions {
    /// Print the description as JSON
    #[arg(long, conflicts_with = "names")]
    json: bool,
    /// Print the names of the operations only, for scripts
    #[arg(long)]
    names: bool,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let MessageOptions {
        framing,
        format,
        timeout,
    } = args.messages;
    let contract = fetch_any(&args.target, &framing, format, timeout).await?;
    let Some(contract) = contract else {
        let message = "the server does not describe itself";
        return Err(Failure::new(Exit::Rejected, message)
            .hint("give its module the option `describe`, or check --format and --framing"));
    };
    let text = if args.result.json {
        let json = serde_json::to_string_pretty(&contract);
        escaped_json(&json.unwrap_or_default()) + "\n"
    } else if args.result.names {
        let names = contract.operations.iter();
        let line = |it: &Operation| escaped(it.name.as_bytes()) + "\n";
        names.map(line).collect()
    } else {
        escaped(contract.to_string().as_bytes())
    };
    print(&[text.as_bytes()])
}

/// Prints the names of the operations for a shell, which waits, or nothing.
pub(crate) async fn complete(
    target: &Target,
    framing: &FramingSpec,
    format: Format,
) -> Result<(), Failure> {
    let format = ModuleFormat::of(format);
    let contract = timeout(PATIENCE, fetch_any(target, framing, format, PATIENCE)).await;
    let operations = match contract {
        Ok(Ok(Some(contract))) => contract.operations,
        _ => Vec::new(),
    };
    // Shells expand what they complete with, so nothing else of a server reaches them.
    let is_word = |name: &str| name.chars().all(|it| it.is_alphanumeric() || it == '_');
    let names = operations.iter().map(|it| it.name.as_str());
    let mut words: Vec<_> = names.filter(|name| is_word(name)).collect();
    words.push("");
    print(&[words.join("\n").as_bytes()])
}

/// Connects, and asks a server to describe itself in this format, or in each. Returns `None` if it knows none.
async fn fetch_any(
    target: &Target,
    framing: &FramingSpec,
    format: Option<ModuleFormat>,
    limit: Duration,
) -> Result<Option<Contract>, Failure> {
    let stream = target.connect().await?;
    let mut wire = Wire::new(stream, framing, Side::Client, MAX_LEN);
    let all = ModuleFormat::value_variants().iter().copied();
    for one in all.filter(|one| format.is_none_or(|format| format == *one)) {
        if let Some(contract) = fetch(&mut wire, one, limit).await? {
            return Ok(Some(contract));
        }
    }
    Ok(None)
}

/// A format of modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ModuleFormat {
    Json,
    Messagepack,
    Postcard,
}

impl ModuleFormat {
    /// Returns the format of modules that is that of messages, or `None` for any.
    pub(crate) fn of(format: Format) -> Option<Self> {
        match format {
            Format::Plain => None,
            Format::Json => Some(Self::Json),
            Format::Messagepack => Some(Self::Messagepack),
        }
    }

    /// Returns the request for the description.
    fn request(self) -> Vec<u8> {
        match self {
            Self::Json => br#"{"describe":{}}"#.to_vec(),
            Self::Messagepack => b"\x81\xa8describe\x80".to_vec(),
            Self::Postcard => b"\xff\xff\xff\xff\x0f".to_vec(),
        }
    }

    /// Returns the text in the reply.
    fn text(self, reply: &[u8]) -> Option<String> {
        let format = match self {
            Self::Json => Format::Json,
            Self::Messagepack => Format::Messagepack,
            Self::Postcard => {
                let reply = postcard::from_bytes::<(u32, String)>(reply).ok()?;
                return (reply.0 == POSTCARD_NUMBER).then_some(reply.1);
            }
        };
        let value = View { format, hex: false }.value(reply).ok()??;
        value.get("describe")?.as_str().map(str::to_owned)
    }
}

/// The number of the operation in `Postcard`.
const POSTCARD_NUMBER: u32 = u32::MAX;

/// The description that a server gives of itself.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Contract {
    protocol: String,
    #[serde(default)]
    docs: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    events: String,
    operations: Vec<Operation>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Operation {
    name: String,
    #[serde(default)]
    docs: String,
    #[serde(default)]
    arguments: Vec<Argument>,
    #[serde(default)]
    reply: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    items: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    chunks: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Argument {
    name: String,
    #[serde(rename = "type")]
    of_type: String,
}

/// Asks a server to describe itself. Returns `None` if it does not know how.
pub(crate) async fn fetch(
    wire: &mut Wire<Stream>,
    format: ModuleFormat,
    limit: Duration,
) -> Result<Option<Contract>, Failure> {
    wire.queue(&format.request(), ID)?;
    let late = |_| {
        Failure::new(
            Exit::Timeout,
            format_args!("no description within {limit:?}"),
        )
        .hint("check --framing: the server may wait for the end of the request")
    };
    let reply = timeout(limit, reply(wire)).await.map_err(late)??;
    reply.map(|reply| contract(format, &reply)).transpose()
}

/// Waits for the reply. Returns `None` if the request was rejected.
async fn reply(wire: &mut Wire<Stream>) -> Result<Option<Vec<u8>>, Failure> {
    let mut parts = Parts::default();
    loop {
        let closed = || {
            let message = "the server closed the connection without a description";
            Failure::new(Exit::Closed, message)
                .hint("it may have none, or speak another framing: check --framing")
        };
        let frame = wire.next().await?.ok_or_else(closed)?;
        // Late replies to other requests have their ids; what ends the connection has none.
        let is_other = wire.has_ids() && frame.id != ID;
        match frame.kind {
            FrameKind::Control(code) => match RejectionKind::from_code(code) {
                None => {}
                Some(kind) if kind.is_final() => {
                    return Err(Failure::rejected("rejected", kind, &frame.payload));
                }
                Some(_) if is_other => {}
                Some(_) => return Ok(None),
            },
            FrameKind::Message | FrameKind::Announced(Announcement::Parts) if !is_other => {
                if let Some(reply) = parts.add(&frame, MAX_LEN).map_err(|_| too_long())? {
                    return Ok(Some(reply));
                }
            }
            FrameKind::Oversized(_) if !is_other => return Err(too_long()),
            _ => {}
        }
    }
}

fn too_long() -> Failure {
    let message = format_args!("the description is longer than {MAX_LEN} bytes");
    Failure::new(Exit::Protocol, message)
        .hint("it is something else: check --framing, or see the reply with `tcs call`")
}

/// Reads the reply of the operation, a text of JSON.
fn contract(format: ModuleFormat, reply: &[u8]) -> Result<Contract, Failure> {
    let hint = "see the reply with `tcs call`, or check --format and the server";
    let is_none = || Failure::new(Exit::Protocol, "the reply is not a description").hint(hint);
    let text = format.text(reply).ok_or_else(is_none)?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(
            Exit::Protocol,
            format_args!("the description is not one of tcs: {error}"),
        )
        .hint(hint)
    })
}

impl Contract {
    /// Returns what to do about a call of `name` that was not understood.
    pub(crate) fn advice(&self, name: &str) -> String {
        if let Some(operation) = self.operations.iter().find(|it| it.name == name) {
            return format!("it takes other arguments: {}", operation.signature());
        }
        // A third of the name may be wrong, as in what Cargo suggests. Two letters that changed places are one mistake.
        let distance = |it: &&Operation| strsim::osa_distance(name, &it.name);
        let near = self.operations.iter().min_by_key(distance);
        let near = near.filter(|it| distance(it) <= name.chars().count().max(3) / 3);
        if let Some(near) = near {
            return format!("did you mean `{}`? {}", near.name, near.signature());
        }
        let names = self.operations.iter().map(|it| it.name.as_str());
        let mut names: Vec<&str> = names.take(MAX_NAMES + 1).collect();
        if let Some(last) = names.get_mut(MAX_NAMES) {
            *last = "others, which `tcs describe` prints";
        }
        format!(
            "there is no `{name}`; the operations are {}",
            names.join(", ")
        )
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.protocol)?;
        if !self.events.is_empty() {
            writeln!(f, "  pushes {}", self.events)?;
        }
        for line in self.docs.lines() {
            writeln!(f, "{}", format!("  {line}").trim_end())?;
        }
        for operation in &self.operations {
            writeln!(f, "\n  {}", operation.signature())?;
            for line in operation.docs.lines() {
                writeln!(f, "{}", format!("      {line}").trim_end())?;
            }
        }
        Ok(())
    }
}

impl Operation {
    fn signature(&self) -> String {
        let argument = |it: &Argument| format!("{}: {}", it.name, it.of_type);
        let arguments: Vec<String> = self.arguments.iter().map(argument).collect();
        let mut signature = format!("{}({})", self.name, arguments.join(", "));
        if !matches!(self.reply.as_str(), "" | "()") {
            signature = format!("{signature} -> {}", self.reply);
        }
        for (text, of_type) in [("items", &self.items), ("chunks", &self.chunks)] {
            if !of_type.is_empty() {
                signature = format!("{signature}, {text}: {of_type}");
            }
        }
        signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANK: &str = r#"{"protocol": "Bank", "operations": [
        {"name": "log_in", "docs": "Logs in.\nTwice is fine.", "arguments": [{"name": "name", "type": "&str"}], "reply": "()"},
        {"name": "balance", "docs": "", "arguments": [], "reply": "u64"}]}"#;

    fn bank() -> Contract {
        let reply = serde_json::json!({ "describe": BANK }).to_string();
        contract(ModuleFormat::Json, reply.as_bytes()).expect("it is a description")
    }

    #[test]
    fn operations_are_shown_with_their_types_and_docs() {
        let expected = "Bank\n\n  log_in(name: &str)\n      Logs in.\n      Twice is fine.\n\n  balance() -> u64\n";
        assert_eq!(bank().to_string(), expected);
    }

    #[test]
    fn advice_names_what_is_near() {
        let advice = |name| bank().advice(name);
        assert_eq!(
            advice("balanse"),
            "did you mean `balance`? balance() -> u64"
        );
        assert_eq!(advice("login"), "did you mean `log_in`? log_in(name: &str)");
        assert_eq!(
            advice("log_in"),
            "it takes other arguments: log_in(name: &str)"
        );
        assert_eq!(
            advice("blaance"),
            "did you mean `balance`? balance() -> u64"
        );
        for other in ["withdraw", "begin", "advance", "l", ""] {
            let expected = format!("there is no `{other}`; the operations are log_in, balance");
            assert_eq!(advice(other), expected);
        }
        let mut many = bank();
        many.operations = (0..1_000).flat_map(|_| bank().operations).collect();
        assert!(many.advice("withdraw").len() < 300);
    }

    #[test]
    fn other_replies_are_no_descriptions() {
        for reply in [r#"{"describe":"x"}"#, r#"{"describe":{}}"#, "[1]", ""] {
            assert!(
                contract(ModuleFormat::Json, reply.as_bytes()).is_err(),
                "{reply}"
            );
        }
    }
}
