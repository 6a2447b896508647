use tcs::{Channel, framing::Multiplexed, server_protocol};

#[server_protocol(format = tcs::format::Json, framing = Multiplexed)]
mod clock {
    pub fn now() -> u64 { 0 }
}
async fn ask(channel: Channel) -> tcs::Result<u64> {
    let clock = clock::Client::over(channel);
    clock.now().await
}

fn main() {}
