#[tcs::server_protocol(format = tcs::format::Json)]
mod shop {
    use tcs::protocol::PushGroup;
    pub fn tell(text: &str, #[state] all: &PushGroup<Protocol>) -> bool {
        all.send(text).is_ok()
    }
}

fn main() {
    let _ = shop::Protocol::new(tcs::protocol::PushGroup::new());
}
