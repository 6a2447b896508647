//! A client that asks a server again and again: `asks ADDRESS`. The program prints each reply that is another than the one
//! before.

use std::{env, thread::sleep, time::Duration};

use tcs::{blocking::Channel, framing::LengthPrefixed};
use tcs_tests::client::Text;

fn main() -> tcs::Result<()> {
    let address = env::args().nth(1).expect("an address");
    let channel = Channel::connect(address)?.idempotent();
    let mut last = String::new();
    loop {
        let reply = channel.call_with::<Text<LengthPrefixed>, _>("who", str::to_owned)?;
        if reply != last {
            println!("{reply}");
            last = reply;
        }
        sleep(Duration::from_millis(20));
    }
}
