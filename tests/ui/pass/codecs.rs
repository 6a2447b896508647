//! Codecs as framing and format, in the forms that messages can have.

use bytes::{Bytes, BytesMut};
use tcs::{
    Response, client_protocol, format::External, framing::Codec, protocol::Contract, server_protocol,
};
use tokio_util::codec::{LengthDelimitedCodec, LinesCodec};

type Text = Codec<LinesCodec>;

#[server_protocol(framing = Text, format = Codec<LinesCodec>)]
fn borrows<'a>(line: String, #[state] text: &'a str) -> Result<Response<&'a str>, String> {
    if line.is_empty() { Err(line) } else { Ok(Response::ReplyAndClose(text)) }
}

#[server_protocol(framing = Codec<LengthDelimitedCodec>, format = Codec<LengthDelimitedCodec>)]
async fn carries<T: Send + Sync + 'static>(bytes: External<BytesMut>, #[state] _of: &T) -> External<Bytes> {
    External(bytes.0.freeze())
}

#[server_protocol(framing = Text, format = Text, greeting = "hello", reject_with = in_words)]
fn worded(line: String) -> String {
    line
}

fn in_words(rejection: &tcs::Rejection) -> &str {
    rejection.text()
}

#[client_protocol(server = Worded, request = "hello".to_owned())]
fn length(reply: String) -> usize {
    reply.len()
}

#[client_protocol(framing = Text, format = Text, request = |line: &str| line)]
fn print(reply: String) {
    println!("{reply}");
}

enum Lines {}

impl Contract for Lines {
    type Framing = Text;
    type Format = Text;
    type Request<'a> = &'a str;
    type Reply<'a> = Response<Result<String, u8>>;
}

async fn call(mut connection: tcs::Connection<Text>) -> tcs::Result<String> {
    connection.call::<Lines>("hello").await
}

fn main() {
    std::hint::black_box(call as fn(_) -> _);
}
