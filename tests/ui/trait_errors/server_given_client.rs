use tcs::{OnceServer, client_protocol};

#[client_protocol(request = "Ann")]
fn print(_: &str) {}

fn main() {
    let _ = OnceServer::new(Print);
}
