struct Login;

#[tcs::server_protocol(format = tcs::format::Json)]
fn logins(_: ()) -> Vec<Lgoin> {
    Vec::new()
}

fn main() {}
