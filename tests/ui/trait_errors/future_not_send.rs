use tcs::server_protocol;

use std::rc::Rc;

#[server_protocol]
async fn wait(ticks: u64) -> u64 {
    let ticks = Rc::new(ticks);
    tokio::task::yield_now().await;
    *ticks
}

fn main() {}
