use tcs::server_protocol;

#[server_protocol]
#[tcs::client_protocol(request = "Ann")]
fn shown(text: &str) -> String {
    text.to_owned()
}

fn main() {}
