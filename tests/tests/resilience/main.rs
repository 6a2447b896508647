//! What a channel that lasts promises while servers fail, stop, and come back.

mod cancellations;
mod cuts;
mod planted_faults;
#[cfg(unix)]
mod restarts;
mod stampede;
mod testing_kit;
