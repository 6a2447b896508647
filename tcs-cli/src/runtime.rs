//! The runtimes of the commands.

use tokio::runtime::Builder;

use crate::failure::Failure;

type Result<T> = std::result::Result<T, Failure>;

/// Runs a command on this thread.
pub(crate) fn run_async<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    run_on(Builder::new_current_thread(), command)
}

/// Runs a command whose connections use all cores.
pub(crate) fn run_on_threads<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    run_on(Builder::new_multi_thread(), command)
}

fn run_on<T>(mut builder: Builder, command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = builder.enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::usage(format_args!("cannot start a tokio runtime: {error}")))?;
    let result = runtime.block_on(command);
    // A read of the terminal cannot be ended.
    runtime.shutdown_background();
    result
}
