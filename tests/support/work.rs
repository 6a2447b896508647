//! Functions of each kind that take their time, by attribute. A request says how much.

use std::{
    hint::spin_loop,
    sync::Mutex,
    time::{Duration, Instant},
};

use tcs::{format::Json, server_protocol};
use tokio::task::yield_now;

use crate::{Gate, frame, gate};

/// The gates at which calls are held.
static GATES: Mutex<Vec<Gate>> = Mutex::new(Vec::new());

/// The cost that stands for the first of the gates.
const HELD: u64 = 1 << 32;

/// Returns the cost of a call that keeps its thread until a gate opens, and the gate.
pub fn held() -> (u64, Gate) {
    let mut gates = GATES.lock().expect("no panic");
    let gate = gate();
    gates.push(gate.clone());
    (HELD + gates.len() as u64 - 1, gate)
}

fn work(micros: u64) {
    let Some(held) = micros.checked_sub(HELD) else {
        return spend(Duration::from_micros(micros));
    };
    let index = usize::try_from(held).expect("an index");
    let gate = GATES.lock().expect("no panic")[index].clone();
    gate.block();
}

/// Keeps the processor busy for that long.
pub fn spend(cost: Duration) {
    let began = Instant::now();
    while began.elapsed() < cost {
        spin_loop();
    }
}

#[server_protocol]
pub fn sync_work(micros: u64) {
    work(micros);
}

#[server_protocol]
pub async fn ready_work(micros: u64) {
    work(micros);
}

#[server_protocol]
pub async fn waiting_work(micros: u64) {
    yield_now().await;
    work(micros);
}

#[server_protocol(blocking)]
pub fn blocking_work(micros: u64) {
    work(micros);
}

/// All of them.
#[server_protocol(format = Json)]
pub mod works {
    use super::{work, yield_now};

    pub fn sync(micros: u64) {
        work(micros);
    }

    pub async fn ready(micros: u64) {
        work(micros);
    }

    pub async fn waiting(micros: u64) {
        yield_now().await;
        work(micros);
    }

    #[blocking]
    pub fn blocks(micros: u64) {
        work(micros);
    }
}

/// The bytes of the calls of one of these functions.
#[derive(Clone, Copy, Debug)]
pub enum Calls {
    /// A function of its own.
    Function,
    /// The function of this name in the module.
    Operation(&'static str),
}

impl Calls {
    /// Returns requests that cost so many microseconds each, or are [`held`].
    pub fn requests(self, micros: &[u64]) -> Vec<u8> {
        let request = |cost: &u64| match self {
            Self::Function => frame(cost.to_string().as_bytes()),
            Self::Operation(name) => {
                frame(format!("{{\"{name}\":{{\"micros\":{cost}}}}}").as_bytes())
            }
        };
        micros.iter().flat_map(request).collect()
    }

    /// Returns the reply to each of them.
    pub fn reply(self) -> Vec<u8> {
        match self {
            Self::Function => frame(b""),
            Self::Operation(name) => frame(format!("{{\"{name}\":null}}").as_bytes()),
        }
    }
}

/// Runs a function for each kind of function, and for those of a module, as the tests of a name.
///
/// The function takes a protocol and its [`Calls`], and then what is in parentheses.
///
/// ```ignore
/// each_work!(cheap_ones: is_fair(&[20]), dear_ones: is_fair(&[1_000]));
///
/// fn is_fair(protocol: impl ServerProtocol, calls: Calls, costs: &[u64]) {}
/// ```
#[macro_export]
macro_rules! each_work {
    ($($name:ident: $test:ident($($argument:expr),* $(,)?)),+ $(,)?) => {$(
        mod $name {
            use super::*;
            use $crate::work::{Calls, BlockingWork, ReadyWork, SyncWork, WaitingWork, works};

            #[test]
            fn sync() {
                $test(SyncWork, Calls::Function, $($argument),*);
            }

            #[test]
            fn ready_async() {
                $test(ReadyWork, Calls::Function, $($argument),*);
            }

            #[test]
            fn waiting() {
                $test(WaitingWork, Calls::Function, $($argument),*);
            }

            #[test]
            fn blocking() {
                $test(BlockingWork, Calls::Function, $($argument),*);
            }

            #[test]
            fn sync_of_a_module() {
                $test(works::Protocol, Calls::Operation("sync"), $($argument),*);
            }

            #[test]
            fn ready_async_of_a_module() {
                $test(works::Protocol, Calls::Operation("ready"), $($argument),*);
            }

            #[test]
            fn waiting_of_a_module() {
                $test(works::Protocol, Calls::Operation("waiting"), $($argument),*);
            }

            #[test]
            fn blocking_of_a_module() {
                $test(works::Protocol, Calls::Operation("blocks"), $($argument),*);
            }
        }
    )+};
}
