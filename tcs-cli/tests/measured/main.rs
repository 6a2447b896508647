//! `tcs bench` and `tcs proxy`, as programs.

mod bench;
mod honest;
mod proxy;

use std::{fs, path::PathBuf, process::Stdio};

use tcs_tests::{process::Process, scratch_path};
use tokio::process::Command;

/// Starts `tcs` with these arguments.
fn tcs(arguments: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcs"));
    Process::run(command.args(arguments).stdin(Stdio::null()))
}

/// A file of a test, which is removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(text: &str) -> Self {
        let path = scratch_path("txt");
        fs::write(&path, text).expect("a file for a test");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).expect("it is there")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}
