//! Messages as people write and read them, in the format of the server.

use std::io::IsTerminal as _;

use serde_json::{Value, value};

use crate::{
    escape::{escaped, from_hex, one_line, to_hex},
    failure::{Exit, Failure},
    framing::{self, FramingSpec},
};

/// What the bytes of a message mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// The bytes themselves, as text
    #[default]
    Plain,
    /// JSON
    Json,
    /// `MessagePack`, which is written and shown as JSON
    Messagepack,
}

/// The options of commands that send and receive messages.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct MessageOptions {
    /// Framing, such as lines [default: length-prefixed]
    #[arg(short, long, value_name = "NAME", default_value_t, hide_default_value = true,
        long_help = framing::LONG_HELP)]
    pub(crate) framing: FramingSpec,
    #[command(flatten)]
    pub(crate) view: View,
}

/// How messages are written and shown.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct View {
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true,
        hide_default_value = true,
        help = "Format: plain, json or messagepack [default: plain]"
    )]
    pub(crate) format: Format,
    /// Requests and replies are hexadecimal digits
    #[arg(long)]
    pub(crate) hex: bool,
}

impl View {
    /// Returns the message that `text` means.
    pub(crate) fn encode(self, text: &str) -> Result<Vec<u8>, Failure> {
        if self.hex {
            return from_hex(text).map_err(Failure::usage);
        }
        match self.format {
            Format::Plain => Ok(text.as_bytes().to_vec()),
            Format::Json => json(text).map(|_| text.trim().as_bytes().to_vec()),
            Format::Messagepack => {
                let encoded = rmp_serde::to_vec_named(&json(text)?);
                encoded.map_err(|error| {
                    Failure::usage(format_args!("the request cannot be MessagePack: {error}"))
                })
            }
        }
    }

    /// Returns the message `hello`.
    pub(crate) fn hello(self) -> Result<Vec<u8>, Failure> {
        let view = Self { hex: false, ..self };
        view.encode(match self.format {
            Format::Plain => "hello",
            Format::Json | Format::Messagepack => r#""hello""#,
        })
    }

    /// Returns the value of a message, if the format has values.
    pub(crate) fn value(self, message: &[u8]) -> Result<Option<Value>, Failure> {
        let value = match self.format {
            Format::Plain => return Ok(None),
            Format::Json => serde_json::from_slice(message).map_err(|error| error.to_string()),
            Format::Messagepack => {
                let mut deserializer = rmp_serde::Deserializer::from_read_ref(message);
                // As deep as the library reads.
                deserializer.set_max_depth(128);
                let value = serde_transcode::transcode(&mut deserializer, value::Serializer);
                value.map_err(|error| match error.to_string().as_str() {
                    "key must be a string" => {
                        "JSON cannot show a key that is a list or a map".to_owned()
                    }
                    other => other.to_owned(),
                })
            }
        };
        value.map(Some).map_err(|reason| {
            let shown = escaped(message.get(..60).unwrap_or(message));
            let message = format!("the reply `{shown}` is not of the format: {reason}");
            Failure::new(Exit::Protocol, message)
                .hint("try another --format, or see the bytes with --hex")
        })
    }

    /// Returns the value of a message in a line, if the format has values.
    pub(crate) fn value_line(self, message: &[u8]) -> Result<Option<String>, Failure> {
        let line = |value: Value| match self.format {
            // As it was written: a value would lose digits of long numbers, and keys that are there twice.
            Format::Json => one_line(&String::from_utf8_lossy(message)),
            _ => one_line(&value.to_string()),
        };
        Ok(self.value(message)?.map(line))
    }

    /// Returns a message as it is shown. In the format plain, it is returned byte by byte, unless people read it.
    pub(crate) fn show(self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        if self.hex {
            return Ok(to_hex(message).into_bytes());
        }
        Ok(match self.value_line(message)? {
            Some(line) => line.into_bytes(),
            None if std::io::stdout().is_terminal() => escaped(message).into_bytes(),
            None => message.to_vec(),
        })
    }
}

fn json(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let message = format!("the request is not JSON: {error}");
        Failure::usage(message).hint(r#"write text in quotation marks: '"Ann"'"#)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_shown_in_a_line_as_it_was_written() {
        let view = View {
            format: Format::Json,
            hex: false,
        };
        let json = "{ \"a \\\" \u{9b}\u{e0041}\": 12345678901234567890.12345678901,\n \"a\": \"\u{202e}é\", \"a\": [] }";
        let shown = view.show(json.as_bytes()).expect("it is JSON");
        let expected =
            r#"{"a \" \u009b\udb40\udc41":12345678901234567890.12345678901,"a":"\u202eé","a":[]}"#;
        assert_eq!(String::from_utf8_lossy(&shown), expected);
    }

    #[test]
    fn messagepack_is_shown_as_json() {
        let view = View {
            format: Format::Messagepack,
            hex: false,
        };
        let message = view.encode(r#"{"withdraw":{"cents":2000,"note":null}}"#);
        let message = message.expect("it is JSON");
        let expected = from_hex(
            "81 a8 77 69 74 68 64 72 61 77 82 a5 63 65 6e 74 73 cd 07 d0 a4 6e 6f 74 65 c0",
        );
        assert_eq!(Ok(&message), expected.as_ref());
        let shown = view.show(b"\x82\x01\xc4\x02\x00\xff\xa1a\xca\x3f\xc0\0\0");
        assert_eq!(
            shown.expect("it is MessagePack"),
            br#"{"1":[0,255],"a":1.5}"#
        );
        let extension = view.show(b"\xd5\x05\x01\x02").expect("it is MessagePack");
        assert_eq!(extension, b"[5,[1,2]]");
        let failure = view
            .show(b"\x81\x91\x01\x02")
            .expect_err("JSON has no such key");
        assert!(failure.message.ends_with("a list or a map"), "{failure:?}");
        assert!(view.show(b"\xc1").is_err());
        assert!(view.show(&b"\x91".repeat(100_000)).is_err());
    }
}
