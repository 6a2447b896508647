#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use tcs::protocol::Requests;
    pub async fn store(count: u8, #[context] _more: Requests<'_, Store>) -> u8 {
        count
    }
}

fn main() {}
