//! Each framing carries each format.

mod framing_formats;
mod served_formats;
