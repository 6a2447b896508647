use tcs::server_protocol;

#[server_protocol]
fn show<T: ToString>(number: u32) -> String {
    number.to_string()
}

fn main() {}
