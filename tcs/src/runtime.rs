//! Whose runtime things run on.

use tokio::runtime::{Builder, Handle, Runtime};

use crate::{Error, Result, error::Repr};

/// Refuses to go on where there is no runtime.
pub(crate) fn inside_runtime(called: &'static str, instead: Instead) -> Result<()> {
    if Handle::try_current().is_ok() {
        return Ok(());
    }
    let instead = match instead {
        Instead::Run => ": call `run()`, which brings its own",
        Instead::Nothing => "",
    };
    Err(Repr::OutsideRuntime { called, instead }.into())
}

/// What to call where there is no runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instead {
    Run,
    Nothing,
}

/// Starts a runtime of this library's own, unless there is one already, where `instead` is called.
pub(crate) fn new_runtime(instead: &'static str, builder: fn() -> Builder) -> Result<Runtime> {
    if Handle::try_current().is_ok() {
        return Err(Repr::InsideRuntime { instead }.into());
    }
    builder()
        .enable_all()
        .build()
        .map_err(|source| Error::from(Repr::Start { source }))
}
