use tcs::server_protocol;

#[server_protocol]
#[replies(u32)]
async fn count(to: u32) -> u32 {
    to
}

fn main() {}
