//! 512 tasks that share a connection, each calling again and again.

use std::{cell::Cell, error::Error, io, rc::Rc, time::Duration};

use serde_bytes::ByteBuf;
use tarpc::context;
use tcs::{Channel, framing::Multiplexed};
use tcs_peers::rpc::{self, EchoClient};
use tokio::{
    task::LocalSet,
    time::{Instant, sleep_until},
};

use crate::{Cost, Meter, Server, runtime, servers::Echo};

const TASKS: usize = 512;
const MESSAGE: &[u8] = &[b'm'; 64];

/// A client whose clones share a connection.
trait Caller: Clone + 'static {
    async fn call(&self) -> io::Result<()>;
}

impl Caller for Channel<Multiplexed> {
    async fn call(&self) -> io::Result<()> {
        // Both servers take and return bytes, and here they are lent.
        let is_same = |reply: &[u8]| reply == MESSAGE;
        let reply = self.call_with::<Echo, _>(MESSAGE, is_same).await;
        assert!(reply.map_err(io::Error::other)?);
        Ok(())
    }
}

#[derive(Clone)]
struct Tarpc(EchoClient, bool);

impl Caller for Tarpc {
    async fn call(&self) -> io::Result<()> {
        let message = ByteBuf::from(MESSAGE);
        let reply = if self.1 {
            self.0.nap(context::current(), message).await
        } else {
            self.0.echo(context::current(), message).await
        };
        assert_eq!(reply.map_err(io::Error::other)?, MESSAGE);
        Ok(())
    }
}

async fn calls(server: &Server, client: impl Caller, time: Duration) -> io::Result<Cost> {
    let warm = Instant::now() + time / 4;
    let until = warm + time;
    let calls = Rc::new(Cell::new(0_u64));
    let tasks = LocalSet::new();
    for _ in 0..TASKS {
        let (client, calls) = (client.clone(), Rc::clone(&calls));
        tasks.spawn_local(async move {
            while Instant::now() < until {
                client.call().await.expect("it is answered");
                calls.set(calls.get() + 1);
            }
        });
    }
    tasks
        .run_until(async {
            sleep_until(warm).await;
            let (before, meter) = (calls.get(), Meter::start(server)?);
            sleep_until(until).await;
            meter.stop(calls.get() - before)
        })
        .await
}

pub(crate) fn print(time: Duration) -> Result<(), Box<dyn Error>> {
    println!("\n## {TASKS} in flight, 64 bytes\n");
    println!(
        "| function | system | calls/s | client, ns/call | server, ns/call | allocations/call at the client |"
    );
    println!("|---|---|---|---|---|---|");
    for naps in [false, true] {
        let function = if naps {
            "sleeps for 1 ms"
        } else {
            "returns at once"
        };
        for system in ["tcs", "tarpc"] {
            let name = match (system, naps) {
                ("tarpc", _) => "tarpc",
                (_, true) => "tcs-nap",
                (_, false) => "tcs-echo",
            };
            let server = Server::start(name)?;
            let cost = runtime()?.block_on(async {
                let cost = if system == "tarpc" {
                    let client = rpc::connect(server.address).await?;
                    calls(&server, Tarpc(client, naps), time).await?
                } else {
                    let channel = Channel::<Multiplexed>::connect(server.address).await?;
                    calls(&server, channel, time).await?
                };
                Ok::<_, Box<dyn Error>>(cost)
            })?;
            println!(
                "| {function} | {system} | {:.0} | {:.0} | {:.0} | {:.2} |",
                cost.per_second, cost.client_nanos, cost.server_nanos, cost.allocations
            );
        }
    }
    Ok(())
}
