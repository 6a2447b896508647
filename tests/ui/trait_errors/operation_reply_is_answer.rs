#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(one: u8) -> tcs::Response<u8> { tcs::Response::ReplyAndClose(one) }
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
