use tcs::{client_protocol, server_protocol};

#[server_protocol]
fn show<T: ToString>(_: (), #[state] value: &T) -> String {
    value.to_string()
}
#[client_protocol(server = Show, request = ())]
fn print(_: String) {}
fn main() {}
