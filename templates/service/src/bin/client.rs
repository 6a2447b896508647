//! A client: `cargo run --bin client -- ADDRESS NAME`, where an address such as `tls://localhost:7000` is over TLS.

use std::{env, error::Error, time::Duration};

use tcs::client::ChannelOptions;

use {{crate_name}}::operations;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("write an address and a name: `client localhost:7000 Ann`".into());
    };
    // It reconnects, and may be cloned for many tasks.
    let options = ChannelOptions::new(address).deadline(Duration::from_secs(5));
    let client = operations::Client::over(options.connect().await?);
    println!("{}", client.greet(&name).await??);
    println!("{} greeted", client.count().await?);
    Ok(())
}
