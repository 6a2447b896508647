//! Devices that send readings: a reading gets no reply, but a question does.
//!
//! ```text
//! cargo run --example telemetry
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! printf '21.5;22.5;warm;21;mean;count;' | nc -N localhost 1234
//! ```
//!
//! It prints `21.666666666666668;3;`: the replies to `mean` and `count`. Readings get no reply, and
//! neither does `warm`, which is not a reading; the server prints it. Each connection is a device, and
//! `all` asks for the number of readings of all devices. For devices that send messages of eight bytes,
//! without `;`, use `framing = Fixed<8>`.

use std::{
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tcs::{
    ConcurrentServer, Rejection, Response,
    format::{Decode, DecodeError, Frame, Plain},
    framing::{Delimited, delimiter},
    server_protocol,
};

/// A message of a device.
enum Message {
    Reading(f64),
    /// Asks for the number of its readings.
    Count,
    /// Asks for the mean of its readings.
    Mean,
    /// Asks for the number of readings of all devices.
    All,
}

impl Decode<'_, Plain> for Message {
    fn decode(frame: Frame<'_>) -> Result<Self, DecodeError> {
        match frame.text()? {
            "count" => Ok(Self::Count),
            "mean" => Ok(Self::Mean),
            "all" => Ok(Self::All),
            text => match f64::from_str(text) {
                Ok(reading) if reading.is_finite() => Ok(Self::Reading(reading)),
                _ => Err(DecodeError::new(format_args!(
                    "`{}` is no reading",
                    frame.excerpt()
                ))),
            },
        }
    }
}

/// The readings of one device.
#[derive(Default)]
struct Device {
    count: u64,
    mean: f64,
}

#[server_protocol(framing = Delimited<{ delimiter(b";") }>, reject_with = complain)]
fn report(
    message: Message,
    #[session] device: &mut Device,
    #[state] all: &AtomicU64,
) -> Response<f64> {
    #[expect(clippy::cast_precision_loss, reason = "no device lives that long")]
    let number = |count: u64| count as f64;
    match message {
        Message::Reading(reading) => {
            device.count += 1;
            device.mean += (reading - device.mean) / number(device.count);
            all.fetch_add(1, Relaxed);
            Response::NoReply
        }
        Message::Count => Response::Reply(number(device.count)),
        Message::Mean => Response::Reply(device.mean),
        Message::All => Response::Reply(number(all.load(Relaxed))),
    }
}

/// Sends nothing for a rejection, because a device does not wait for a reply to a reading. Without this
/// function, the connection would close at the first rejection.
fn complain(rejection: &Rejection) -> Response<&'static str> {
    println!("{rejection}");
    Response::NoReply
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Report {
        all: AtomicU64::new(0),
    })
    // A device may send nothing for a long time.
    .idle_timeout(Duration::from_hours(1))
    .run()
}
