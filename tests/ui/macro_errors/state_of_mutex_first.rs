use std::sync::Mutex;

#[tcs::server_protocol]
fn count(total: &Mutex<u64>) -> u64 {
    *total.lock().unwrap()
}

fn main() {}
