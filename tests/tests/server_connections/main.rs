//! When connections and servers end, and what they wait for.

mod clocks;
mod drain;
mod draining;
mod endless_input;
mod half_close;
mod hang_ups;
mod held_back;
mod lame_duck;
mod lifetimes;
mod limits;
mod limits_of_sizes;
mod limits_page;
mod memory_budget;
mod misuse;
mod own_streams;
mod peers;
mod queues;
mod retirement;
mod settings;
mod started;
mod stats;
