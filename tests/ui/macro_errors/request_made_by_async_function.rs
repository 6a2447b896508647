use tcs::client_protocol;

#[client_protocol(reply = String)]
async fn ask(name: String) -> String {
    name
}

fn main() {}
