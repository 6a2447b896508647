//! A stream of items of 64 bytes.

use std::{error::Error, time::Duration};

use tcs::{Channel, framing::Multiplexed};
use tcs_peers::tonic;
use tokio::time::Instant;

use crate::{Cost, Meter, Server, runtime, servers::Repeat};

const ITEM: &[u8] = &[b'i'; 64];
/// How often the clock is read.
const BATCH: u64 = 1_000;

async fn own(server: &Server, time: Duration) -> Result<Cost, Box<dyn Error>> {
    let channel = Channel::<Multiplexed>::connect(server.address).await?;
    let mut items = channel.stream::<Repeat>(ITEM).await?;
    let (mut count, until) = (0, Instant::now() + time);
    let meter = Meter::start(server)?;
    while Instant::now() < until {
        for _ in 0..BATCH {
            let item = items.next().await?;
            assert_eq!(item, Some(ITEM));
        }
        count += BATCH;
    }
    Ok(meter.stop(count)?)
}

async fn grpc(server: &Server, time: Duration) -> Result<Cost, Box<dyn Error>> {
    let mut items = tonic::stream(server.address, ITEM).await?;
    let (mut count, until) = (0, Instant::now() + time);
    let meter = Meter::start(server)?;
    while Instant::now() < until {
        for _ in 0..BATCH {
            let item = items.message().await?;
            assert_eq!(item.as_ref().map(|item| &*item.payload), Some(ITEM));
        }
        count += BATCH;
    }
    Ok(meter.stop(count)?)
}

pub(crate) fn print(time: Duration) -> Result<(), Box<dyn Error>> {
    println!("\n## A stream of items of 64 bytes\n");
    println!(
        "| system | items/s | client, ns/item | server, ns/item | allocations/item at the client |"
    );
    println!("|---|---|---|---|---|");
    for (system, name) in [("tcs", "tcs-repeat"), ("tonic", "tonic")] {
        let server = Server::start(name)?;
        let cost = runtime()?.block_on(async {
            if system == "tcs" {
                own(&server, time).await
            } else {
                grpc(&server, time).await
            }
        })?;
        println!(
            "| {system} | {:.0} | {:.0} | {:.0} | {:.2} |",
            cost.per_second, cost.client_nanos, cost.server_nanos, cost.allocations
        );
    }
    Ok(())
}
