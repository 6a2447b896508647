use tcs::server_protocol;

#[server_protocol(frame = tcs::framing::Lines)]
fn add(n: &mut u8, #[state] more: u8, #[session] sum: u8) -> impl Sized {
    *n + more + sum
}

fn main() {
    let _ = Add::new(7);
}
