//! A codec whose messages are typed, and which remembers what it has said.

use std::io;

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `a` and a number in big-endian order.
    Add(i64),
    /// `t`.
    Total,
    /// `q`.
    Quit,
}

/// What is answered: a number of the codec, one more each time, and a total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance(pub i64);

impl tcs::format::CodecItem for Entry {}
impl tcs::format::CodecItem for Balance {}

/// The server's end.
#[derive(Debug, Default)]
pub struct Ledger {
    said: u32,
}

impl Decoder for Ledger {
    type Item = Entry;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Entry>> {
        let (entry, length) = match bytes.first() {
            None => return Ok(None),
            Some(b'a') => {
                let Some(number) = bytes[1..].first_chunk() else {
                    return Ok(None);
                };
                (Entry::Add(i64::from_be_bytes(*number)), 9)
            }
            Some(b't') => (Entry::Total, 1),
            Some(b'q') => (Entry::Quit, 1),
            Some(other) => {
                let text = format!("no entry begins with `{}`", other.escape_ascii());
                return Err(io::Error::other(text));
            }
        };
        bytes.advance(length);
        Ok(Some(entry))
    }
}

impl Encoder<Balance> for Ledger {
    type Error = io::Error;

    fn encode(&mut self, balance: Balance, out: &mut BytesMut) -> io::Result<()> {
        if balance.0 < 0 {
            return Err(io::Error::other("a balance is never negative"));
        }
        self.said += 1;
        out.put_u32(self.said);
        out.put_i64(balance.0);
        Ok(())
    }
}

/// The client's end.
#[derive(Debug, Default)]
pub struct Reader {
    heard: u32,
}

impl Decoder for Reader {
    type Item = Balance;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Balance>> {
        if bytes.len() < 12 {
            return Ok(None);
        }
        self.heard += 1;
        let number = bytes.get_u32();
        if number != self.heard {
            let text = format!("number {number} instead of {}", self.heard);
            return Err(io::Error::other(text));
        }
        Ok(Some(Balance(bytes.get_i64())))
    }
}

impl Encoder<Entry> for Reader {
    type Error = io::Error;

    fn encode(&mut self, entry: Entry, out: &mut BytesMut) -> io::Result<()> {
        match entry {
            Entry::Add(0) => return Err(io::Error::other("nothing is added")),
            Entry::Add(number) => {
                out.put_u8(b'a');
                out.put_i64(number);
            }
            Entry::Total => out.put_u8(b't'),
            Entry::Quit => out.put_u8(b'q'),
        }
        Ok(())
    }
}

/// The bytes of a request.
pub fn entry(entry: &Entry) -> Vec<u8> {
    match entry {
        Entry::Add(number) => [&b"a"[..], &number.to_be_bytes()].concat(),
        Entry::Total => b"t".to_vec(),
        Entry::Quit => b"q".to_vec(),
    }
}

/// The bytes of a reply.
pub fn balance(number: u32, total: i64) -> Vec<u8> {
    [&number.to_be_bytes()[..], &total.to_be_bytes()].concat()
}
