//! Functions that take a millisecond: in the library, and as one writes them by hand.

use std::{io, time::Duration};

use bytes::{Buf as _, BufMut as _, BytesMut};
use rustix::time::{ClockId, clock_gettime};
use tcs::server_protocol;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::spawn_blocking,
    time::sleep,
};

use super::MAX_FRAME_LEN;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Waits for a millisecond.
#[server_protocol]
pub async fn after_sleep(bytes: &[u8]) -> &[u8] {
    sleep(MILLISECOND).await;
    bytes
}

/// Works for a millisecond.
#[server_protocol]
pub fn after_work(bytes: &[u8]) -> &[u8] {
    work();
    bytes
}

/// Works for a millisecond, and says that it keeps its thread busy.
#[server_protocol(blocking)]
pub fn after_blocking(bytes: &[u8]) -> &[u8] {
    work();
    bytes
}

/// Uses a millisecond of the processor, however long that takes while others want it.
fn work() {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let start = now();
    while now().saturating_sub(start) < MILLISECOND {
        std::hint::spin_loop();
    }
}

/// How a hand-written loop spends its millisecond.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slow {
    Sleep,
    Work,
    Blocking,
}

impl Slow {
    async fn spend(self) -> io::Result<()> {
        match self {
            Self::Sleep => sleep(MILLISECOND).await,
            Self::Work => work(),
            Self::Blocking => spawn_blocking(work).await?,
        }
        Ok(())
    }
}

/// Serves as `L1b` does, with a function that is slow; until the listener fails.
pub(super) async fn serve(listener: TcpListener, slow: Slow) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            drop(connection(stream, slow).await);
        });
    }
}

async fn connection(mut stream: TcpStream, slow: Slow) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(8 * 1024);
    let mut output = BytesMut::with_capacity(8 * 1024);
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        while let Some((header, rest)) = input.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*header) as usize;
            if length > MAX_FRAME_LEN {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(message) = rest.get(..length) else {
                break;
            };
            slow.spend().await?;
            output.put_slice(header);
            output.put_slice(message);
            input.advance(4 + length);
        }
        input.reserve(8 * 1024);
        stream.write_all(&output).await?;
        output.clear();
    }
}
