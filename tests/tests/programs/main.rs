//! The programs of this repository do what is said of them.

mod binary_protocols;
mod clients;
mod databases;
mod examples;
mod readme;
mod run;
mod serving;
mod text_protocols;
