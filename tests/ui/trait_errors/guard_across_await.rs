use tcs::server_protocol;

use std::sync::Mutex;

#[server_protocol]
async fn count(by: u64, #[state] total: &Mutex<u64>) -> u64 {
    let total = total.lock().unwrap();
    tokio::task::yield_now().await;
    *total + by
}

fn main() {}
