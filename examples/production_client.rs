//! A client for production: it reconnects, logs in on each connection, and uses two servers.
//!
//! ```text
//! cargo run -p tcs-examples --features postcard --example production_client
//! ```
//!
//! It starts the servers, and four tasks share a client. Another client has a wrong password. It prints:
//!
//! ```text
//! four tasks have asked
//! wrong password
//! ```
//!
//! Try: stop the first server before the calls. The second one answers them.

use std::{error::Error as _, net::SocketAddr, time::Duration};

use tcs::{
    Channel, ConcurrentServer, Error, client::ChannelOptions, format::Postcard, server_protocol,
};

#[server_protocol(format = Postcard)]
mod bank {
    /// Logs in on this connection.
    pub fn log_in(password: &str, #[session] is_in: &mut bool) -> Result<(), String> {
        *is_in = password == "1234";
        is_in.then_some(()).ok_or("wrong password".to_owned())
    }

    /// Returns the balance. It is safe to execute more than once.
    #[idempotent]
    pub fn balance(#[session] is_in: &bool) -> Result<u64, String> {
        is_in.then_some(7_000).ok_or("log in first".to_owned())
    }
}

type Bank = bank::Client<Channel>;

async fn connect([one, two]: [SocketAddr; 2], password: String) -> tcs::Result<Bank> {
    let channel = ChannelOptions::new(one)
        .address(two)
        .deadline(Duration::from_secs(2)) // of each call, with all its retries
        .on_connect(move |connection| {
            let password = password.clone(); // one for each connection
            async move {
                let mut client = bank::Client::over(connection);
                client.log_in(&password).await?.map_err(Error::other)?;
                Ok(client.into_inner())
            }
        })
        .connect()
        .await?;
    Ok(bank::Client::over(channel))
}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    let one = ConcurrentServer::new(bank::Protocol).port(0).bind().await?;
    let two = ConcurrentServer::new(bank::Protocol).port(0).bind().await?;
    let addrs = [one.local_addr(), two.local_addr()];
    tokio::spawn(one.listen());
    tokio::spawn(two.listen());

    let bank = connect(addrs, "1234".to_owned()).await?;
    let tasks = [(); 4].map(|()| {
        let bank = bank.clone();
        tokio::spawn(async move { bank.balance().await })
    });
    for task in tasks {
        assert_eq!(task.await.expect("no panic")?, Ok(7_000));
    }
    println!("four tasks have asked");

    let error = connect(addrs, "4321".to_owned()).await;
    let error = error.expect_err("a wrong password");
    // The error says which server it was, and its source is what `log_in` returned.
    println!("{}", error.source().expect("a source"));
    Ok(())
}
