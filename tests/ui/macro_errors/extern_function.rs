use tcs::server_protocol;

#[server_protocol]
extern "C" fn double(number: u32) -> u32 {
    number * 2
}

fn main() {}
