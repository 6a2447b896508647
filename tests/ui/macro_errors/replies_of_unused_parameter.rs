use tcs::server_protocol;

#[server_protocol(replies = T)]
async fn count<T>(to: u32) -> u32 {
    to
}

fn main() {}
