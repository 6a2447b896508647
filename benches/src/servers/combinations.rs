//! Each framing with each format, once: an echo of 64 letters.

use std::io;

use tcs::{
    format::{Json, MessagePack, Plain, Postcard, Protobuf},
    framing::{
        CrlfLines, Delimited, Exchanges, Fixed, Framing, LITTLE_ENDIAN, LengthPrefixed, Lines,
        Multiplexed, Netstrings, Prefixed, Raw, delimiter,
    },
    server_protocol,
};

use super::{Announce, ours};

/// A framing and a format, and what 64 letters look like in them.
#[derive(Clone, Copy, Debug)]
pub struct Combination {
    /// `FRAMING/FORMAT`.
    pub name: &'static str,
    /// What comes before the letters.
    pub head: &'static [u8],
    /// What comes behind them.
    pub tail: &'static [u8],
    /// Whether a connection has more than one exchange.
    pub goes_on: bool,
}

/// Writes the table and the servers from lines of `NAME: FRAMING, FORMAT, TYPE, HEAD .. TAIL`.
macro_rules! combinations {
    ($($name:literal: $framing:ty, $format:ty, $message:ty, $head:literal .. $tail:literal;)*) => {
        /// All of them; the first is the default.
        pub const COMBINATIONS: &[Combination] = &[$(Combination {
            name: $name,
            head: $head,
            tail: $tail,
            goes_on: matches!(<$framing as Framing>::EXCHANGES, Exchanges::Many),
        }),*];

        /// Serves one of them.
        pub(super) async fn serve(
            name: &str,
            port: u16,
            announce: Announce,
        ) -> io::Result<()> {
            match name {
                $($name => {
                    #[server_protocol(framing = $framing, format = $format)]
                    fn echo(message: $message) -> $message {
                        message
                    }
                    ours::serve(Echo, port, announce).await
                })*
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }
    };
}

// The letters are 64, which is `@` in ASCII; `A` and `B` are one and two more. `UntilEof` is not here,
// because the generator keeps its half open.
combinations! {
    "length-prefixed/bytes": LengthPrefixed, Plain, &[u8], b"\0\0\0@" .. b"";
    "length-prefixed/text": LengthPrefixed, Plain, &str, b"\0\0\0@" .. b"";
    "length-prefixed/json": LengthPrefixed, Json, &str, b"\0\0\0B\"" .. b"\"";
    "length-prefixed/postcard": LengthPrefixed, Postcard, &str, b"\0\0\0A@" .. b"";
    "length-prefixed/messagepack": LengthPrefixed, MessagePack, &str, b"\0\0\0B\xd9@" .. b"";
    "length-prefixed/protobuf": LengthPrefixed, Protobuf, String, b"\0\0\0B\x0a@" .. b"";
    "lines/bytes": Lines, Plain, &[u8], b"" .. b"\n";
    "lines/text": Lines, Plain, &str, b"" .. b"\n";
    "lines/json": Lines, Json, &str, b"\"" .. b"\"\n";
    "crlf-lines/bytes": CrlfLines, Plain, &[u8], b"" .. b"\r\n";
    "semicolons/bytes": Delimited<{ delimiter(b";") }>, Plain, &[u8], b"" .. b";";
    "dot-lines/bytes": Delimited<{ delimiter(b"\r\n.\r\n") }>, Plain, &[u8], b"" .. b"\r\n.\r\n";
    "fixed/bytes": Fixed<64>, Plain, &[u8], b"" .. b"";
    "netstrings/bytes": Netstrings, Plain, &[u8], b"64:" .. b",";
    "prefixed-u32/bytes": Prefixed<4>, Plain, &[u8], b"\0\0\0@" .. b"";
    "prefixed-u16-little/bytes": Prefixed<2, LITTLE_ENDIAN>, Plain, &[u8], b"@\0" .. b"";
    // All have one id, which matters to no function that returns at once.
    "multiplexed/bytes": Multiplexed, Plain, &[u8], b"\0\0\0@\0\0\0\x01" .. b"";
    "raw/bytes": Raw, Plain, &[u8], b"" .. b"";
    "raw/text": Raw, Plain, &str, b"" .. b"";
}

/// Finds one by its name.
pub fn named(name: &str) -> Option<&'static Combination> {
    COMBINATIONS
        .iter()
        .find(|combination| combination.name == name)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;
    use crate::{
        load::{Bounds, Wire, Work, run},
        servers,
    };

    #[test]
    fn each_combination_answers_what_the_table_says() {
        for combination in COMBINATIONS {
            let name = combination.name;
            let (announce, announced) = mpsc::channel();
            thread::spawn(move || {
                let announce = move |address| announce.send(address).expect("the test waits");
                servers::run(name, 0, 1, Box::new(announce))
            });
            let limit = Duration::from_secs(10);
            let address = announced.recv_timeout(limit).expect(name);
            let bounds = Bounds {
                warm_up: Duration::ZERO,
                time: limit,
                requests: 100,
            };
            let wire = Wire::Between(combination.head, combination.tail);
            let shape = if combination.goes_on {
                "1x64"
            } else {
                "connect-1"
            };
            let work = Work::parse(shape).expect("it is a shape");
            let outcome = run(address, wire, work, None, bounds).expect(name);
            assert!(outcome.requests >= 100, "{name}");
        }
    }
}
