use tcs::server_protocol;

#[server_protocol]
fn stop(name: &str) -> ! {
    panic!("{name}")
}

fn main() {}
