//! Devices that report what they measure: a reading gets no reply, only a question does.
//!
//! ```text
//! cargo run --example telemetry
//! ```
//!
//! It listens on 127.0.0.1:1234 until Ctrl-C.
//!
//! Try, in a second terminal:
//!
//! ```text
//! printf '21.5;22.5;warm;21;mean;count;' | nc -N localhost 1234
//! ```
//!
//! It prints `21.666666666666668;3;`: nothing was said to the readings, nor to `warm`, which is none; the
//! server prints what it did not take. A connection is one device; `all` asks for the number of readings
//! of all of them. Devices that send a number of bytes for each message, and no `;`, would have
//! `framing = Fixed<8>`, say.

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

/// What a device says.
enum Message {
    Reading(f64),
    /// It asks how many readings were taken.
    Count,
    /// It asks for their mean.
    Mean,
    /// It asks how many all devices have sent.
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

/// What one device has measured.
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

/// A device waits for no reply to a reading, so it is told nothing, and goes on. Unless it is named,
/// the connection would close, as the next reply would be taken for this one.
fn complain(rejection: &Rejection) -> Response<&'static str> {
    println!("{rejection}");
    Response::NoReply
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Report {
        all: AtomicU64::new(0),
    })
    // Devices may be silent for long.
    .idle_timeout(Duration::from_hours(1))
    .run()
}
