use tcs::server_protocol;

#[server_protocol(reply = &str)]
async fn count(to: u32) -> u32 {
    to
}

fn main() {}
