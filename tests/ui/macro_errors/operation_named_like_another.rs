#![allow(non_snake_case)]

#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn log_in(_name: &str) {}
    pub fn logIn(_name: &str) {}
}

fn main() {}
