use tcs::{format::Json, protocol::{Push, PushGroup}, server_protocol};

#[server_protocol(format = Json, push = &str)]
mod chat {
    use super::*;
    pub fn join(#[state] all: &PushGroup<Chat>, #[context] push: Push<Protocol>) -> bool {
        all.join(&push)
    }
}

fn main() {}
