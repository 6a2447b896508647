#[tcs::server_protocol(format = tcs::format::Json, push = &str)]
mod chat {
    use tcs::protocol::Push;
    pub fn follow(push: Push<Follow>) -> bool {
        push.try_send("hello").is_ok()
    }
}

fn main() {}
