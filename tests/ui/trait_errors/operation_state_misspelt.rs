#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub struct Log;
    pub fn add(#[state] _log: &Lgo) {}
    pub fn list(#[state] _log: &Log) {}
    pub fn count(#[state] _log: &Log) {}
    pub fn remove(#[state] _log: &Log) {}
}

fn main() {}
