#[tcs::server_protocol(format = tcs::format::Json)]
mod digits {
    pub fn _·a() {}
}

fn main() {}
