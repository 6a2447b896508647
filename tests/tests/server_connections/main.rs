//! When connections and servers end, and what they wait for.

mod clocks;
mod drain;
mod endless_input;
mod half_close;
mod hang_ups;
mod held_back;
mod lifetimes;
mod limits;
mod limits_of_sizes;
mod misuse;
mod own_streams;
mod started;
