//! The programs of this repository do what is said of them.

mod examples;
mod protocols;
mod readme;
mod run;
