#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use tcs::protocol::Push;
    pub fn watch(account: &str, #[context] push: Push<Protocol>) -> bool {
        push.try_send(account).is_ok()
    }
}

fn main() {}
