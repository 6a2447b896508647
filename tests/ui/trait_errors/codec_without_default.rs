struct C(u8);
impl tokio_util::codec::Decoder for C {
    type Item = u8;
    type Error = std::io::Error;
    fn decode(&mut self, _: &mut bytes::BytesMut) -> std::io::Result<Option<u8>> { Ok(Some(self.0)) }
}

#[tcs::server_protocol(framing = tcs::framing::Codec<C>, format = tcs::framing::Codec<C>)]
fn listen(_: u8) -> tcs::Response<tcs::format::NoMessage> { tcs::Response::NoReply }

fn main() {}
