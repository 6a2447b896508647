#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use tcs::protocol::Requests;
    pub async fn store(count: u8, mut more: Requests<'_, Store>) -> bool {
        count == 0 || matches!(more.next().await, Ok(Some(_)))
    }
}

fn main() {}
