use std::sync::atomic::{AtomicU64, Ordering};

#[tcs::server_protocol]
fn count(total: &AtomicU64) -> u64 {
    total.load(Ordering::Relaxed)
}

fn main() {}
