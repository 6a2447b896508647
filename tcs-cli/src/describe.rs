//! `tcs describe`, and what describes a server.

use std::{fmt, process::ExitCode, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tcs::{RejectionKind, framing::Side, transport::Stream};
use tokio::time::timeout;

use crate::{
    failure::{Exit, Failure, report, run_async},
    framing::{FramingSpec, Kind},
    help::HelpFlags,
    payload::{Format, View, escaped},
    target::{Target, duration},
    wire::Wire,
};

/// The operation that a module has with the option `describe`.
const OPERATION: &str = "describe";
/// The id of its request, which no other request has.
const ID: u32 = u32::MAX;
/// The longest description that is read.
const MAX_LEN: usize = 8 << 20;

/// Print the operations of a server that describes itself
///
/// A module describes itself with the option `describe`: `#[server_protocol(format = Json, describe)]`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::call::EXIT_CODES, disable_help_flag = true)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Framing, such as lines [default: length-prefixed]
    #[arg(short, long, value_name = "NAME", default_value_t, hide_default_value = true,
        long_help = crate::framing::LONG_HELP)]
    framing: FramingSpec,
    /// Format: json or messagepack [default: tries both]
    #[arg(long, value_name = "FORMAT", value_parser = named_format)]
    format: Option<Format>,
    /// How long the reply may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Print the description as JSON
    #[arg(long, conflicts_with = "names")]
    json: bool,
    /// Print the names of the operations only, for scripts
    #[arg(long)]
    names: bool,
    #[command(flatten)]
    help: HelpFlags,
}

pub(crate) fn run(args: Args) -> ExitCode {
    report(run_async(describe(args)))
}

fn named_format(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "messagepack" => Ok(Format::Messagepack),
        _ => Err("write json or messagepack: other formats have no names".to_owned()),
    }
}

async fn describe(args: Args) -> Result<(), Failure> {
    let stream = args.target.connect().await?;
    let mut wire = Wire::new(stream, &args.framing, Side::Client, MAX_LEN);
    let all = [Format::Json, Format::Messagepack];
    let formats = args.format.map_or(all.to_vec(), |format| vec![format]);
    for format in formats {
        let Some(contract) = fetch(&mut wire, format, args.timeout).await? else {
            continue;
        };
        if args.json {
            let json = serde_json::to_string_pretty(&contract);
            println!("{}", json.unwrap_or_default());
        } else if args.names {
            for operation in &contract.operations {
                println!("{}", escaped(operation.name.as_bytes()));
            }
        } else {
            print!("{}", escaped(contract.to_string().as_bytes()));
        }
        return Ok(());
    }
    let message = "the server does not describe itself";
    Err(Failure::new(Exit::Rejected, message)
        .hint("give its module the option `describe`, or check --format and --framing"))
}

/// What a server says of itself.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Contract {
    protocol: String,
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
    format: Format,
    limit: Duration,
) -> Result<Option<Contract>, Failure> {
    let view = View { format, hex: false };
    wire.queue(&view.encode(&format!(r#"{{"{OPERATION}":{{}}}}"#))?, ID)?;
    let late = |_| {
        Failure::new(
            Exit::Timeout,
            format_args!("no description within {limit:?}"),
        )
        .hint("check --framing: the server may wait for the end of the request")
    };
    timeout(limit, reply(wire, view)).await.map_err(late)?
}

async fn reply(wire: &mut Wire<Stream>, view: View) -> Result<Option<Contract>, Failure> {
    loop {
        let closed = || {
            let message = "the server closed the connection without a description";
            Failure::new(Exit::Closed, message)
                .hint("it may speak another framing: check --framing")
        };
        let frame = wire.next().await?.ok_or_else(closed)?;
        match frame.kind {
            Kind::Control(code) => match RejectionKind::from_code(code) {
                None => {}
                Some(kind) if kind.is_final() => {
                    let text = escaped(&frame.payload);
                    let message = format!("rejected ({kind}): {text}");
                    return Err(Failure::new(Exit::Rejected, message));
                }
                Some(_) => return Ok(None),
            },
            Kind::Message => {
                let value = view.value(&frame.payload)?.unwrap_or_default();
                return contract(&value).map(Some);
            }
            _ => {}
        }
    }
}

/// Reads the reply of the operation, a text of JSON.
fn contract(reply: &Value) -> Result<Contract, Failure> {
    let described = reply.get(OPERATION).and_then(Value::as_str);
    let contract = described.map(serde_json::from_str::<Contract>);
    match contract {
        Some(Ok(contract)) => Ok(contract),
        Some(Err(error)) => {
            let message = format!("the description is not one of tcs: {error}");
            Err(Failure::new(Exit::Protocol, message))
        }
        None => Err(Failure::new(
            Exit::Protocol,
            "the reply is not a description",
        )),
    }
}

impl Contract {
    /// Returns what to do about a call of `name` that was not understood.
    pub(crate) fn advice(&self, name: &str) -> String {
        if let Some(operation) = self.operations.iter().find(|it| it.name == name) {
            return format!("its arguments are others: {}", operation.signature());
        }
        let near = self
            .operations
            .iter()
            .min_by_key(|it| distance(name, &it.name));
        let near = near.filter(|it| distance(name, &it.name) <= name.len().max(3) / 2);
        if let Some(near) = near {
            return format!("did you mean `{}`? {}", near.name, near.signature());
        }
        let names: Vec<&str> = self.operations.iter().map(|it| it.name.as_str()).collect();
        format!(
            "there is no `{name}`; the operations are {}",
            names.join(", ")
        )
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.protocol)?;
        for operation in &self.operations {
            writeln!(f, "\n  {}", operation.signature())?;
            for line in operation.docs.lines() {
                writeln!(f, "      {}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

impl Operation {
    fn signature(&self) -> String {
        let argument = |it: &Argument| format!("{}: {}", it.name, it.of_type);
        let arguments: Vec<String> = self.arguments.iter().map(argument).collect();
        let reply = match self.reply.as_str() {
            "" | "()" => String::new(),
            reply => format!(" -> {reply}"),
        };
        format!("{}({}){reply}", self.name, arguments.join(", "))
    }
}

/// Returns how many characters must be added, removed or changed between two names.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(&to) {
            let changed = diagonal + usize::from(left != *right);
            diagonal = *cell;
            before = changed.min(*cell + 1).min(before + 1);
            *cell = before;
        }
    }
    row.last().copied().map_or(0, |last| {
        if to.is_empty() {
            from.chars().count()
        } else {
            last
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANK: &str = r#"{"protocol": "Bank", "operations": [
        {"name": "log_in", "docs": "Logs in.\nTwice is fine.", "arguments": [{"name": "name", "type": "&str"}], "reply": "()"},
        {"name": "balance", "docs": "", "arguments": [], "reply": "u64"}]}"#;

    fn bank() -> Contract {
        contract(&serde_json::json!({ "describe": BANK })).expect("it is a description")
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
            "its arguments are others: log_in(name: &str)"
        );
        assert_eq!(
            advice("withdraw"),
            "there is no `withdraw`; the operations are log_in, balance"
        );
    }

    #[test]
    fn distance_counts_changes() {
        for (from, to, expected) in [
            ("", "", 0),
            ("ab", "", 2),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("a", "a", 0),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn other_replies_are_no_descriptions() {
        for reply in [
            serde_json::json!({ "describe": "x" }),
            serde_json::json!([1]),
            Value::Null,
        ] {
            assert!(contract(&reply).is_err(), "{reply}");
        }
    }
}
