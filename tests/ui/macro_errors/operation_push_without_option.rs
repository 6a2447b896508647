#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use tcs::protocol::Push;
    pub fn watch(account: &str, #[context] push: Push<Protocol>) -> bool {
        account.is_empty() || push.is_closed()
    }
}

fn main() {}
