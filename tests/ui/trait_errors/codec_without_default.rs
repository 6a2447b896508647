struct C(u8);
impl tokio_util::codec::Decoder for C {
    type Item = u8;
    type Error = std::io::Error;
    fn decode(&mut self, _: &mut bytes::BytesMut) -> std::io::Result<Option<u8>> { Ok(Some(self.0)) }
}

#[tcs::server_protocol(framing = tcs::Codec<C>, format = tcs::Codec<C>)]
fn listen(_: u8) -> tcs::Response<tcs::NoMessage> { tcs::Response::NoReply }

fn main() {}
