//! The kinds of functions, for which every promise of the connection loop holds alike.

use std::{future::poll_fn, task::Poll};

use tcs::ConnectionInfo;
use tokio::task::yield_now;

use crate::Gate;

/// How a function is called; its kinds are [`SyncFn`], [`ReadyFn`], [`WaitingFn`] and [`BlockingFn`].
pub trait Kind: Send + Sync + 'static {
    /// [`ServerProtocol::WAITS`](tcs::protocol::ServerProtocol) as the attributes set it.
    const WAITS: bool = true;

    /// Calls a function as a protocol of this kind does.
    ///
    /// # Panics
    ///
    /// When a [`SyncFn`] is to wait at the gate.
    fn process<T: Send>(
        info: &ConnectionInfo,
        gate: &Gate,
        function: impl FnOnce() -> Act<T> + Send,
    ) -> impl Future<Output = T> + Send;
}

/// What a function does.
#[derive(Debug)]
pub enum Act<T> {
    Return(T),
    /// Waits at the gate, and then returns.
    Wait(T),
    /// Waits at the gate, and then panics.
    WaitAndPanic,
}

/// The panic of [`Act::WaitAndPanic`].
fn panic_after_the_wait() -> ! {
    panic!("a panic after the wait")
}

/// A plain function: its future is ready when it is first polled.
#[derive(Debug)]
pub enum SyncFn {}

/// An `async` function that waits at its gate only.
#[derive(Debug)]
pub enum ReadyFn {}

/// An `async` function that is not ready at once, whatever it does.
#[derive(Debug)]
pub enum WaitingFn {}

/// A plain function under `blocking`.
#[derive(Debug)]
pub enum BlockingFn {}

impl Kind for SyncFn {
    const WAITS: bool = false;

    fn process<T: Send>(
        _info: &ConnectionInfo,
        _gate: &Gate,
        function: impl FnOnce() -> Act<T> + Send,
    ) -> impl Future<Output = T> + Send {
        let mut function = Some(function);
        poll_fn(move |_| {
            let function = function.take().expect("it is not polled again");
            match function() {
                Act::Return(value) => Poll::Ready(value),
                Act::Wait(_) | Act::WaitAndPanic => panic!("a plain function cannot wait"),
            }
        })
    }
}

impl Kind for ReadyFn {
    async fn process<T: Send>(
        _info: &ConnectionInfo,
        gate: &Gate,
        function: impl FnOnce() -> Act<T> + Send,
    ) -> T {
        match function() {
            Act::Return(value) => value,
            Act::Wait(value) => {
                gate.pass().await;
                value
            }
            Act::WaitAndPanic => {
                gate.pass().await;
                panic_after_the_wait()
            }
        }
    }
}

impl Kind for WaitingFn {
    async fn process<T: Send>(
        info: &ConnectionInfo,
        gate: &Gate,
        function: impl FnOnce() -> Act<T> + Send,
    ) -> T {
        yield_now().await;
        ReadyFn::process(info, gate, function).await
    }
}

impl Kind for BlockingFn {
    async fn process<T: Send>(
        info: &ConnectionInfo,
        gate: &Gate,
        function: impl FnOnce() -> Act<T> + Send,
    ) -> T {
        let blocks = || match function() {
            Act::Return(value) => value,
            Act::Wait(value) => {
                gate.block();
                value
            }
            Act::WaitAndPanic => {
                gate.block();
                panic_after_the_wait()
            }
        };
        info.block(blocks).await.expect("no limit for the wait")
    }
}

/// Runs each of the named functions as a test for each [`Kind`], which is its type parameter.
///
/// A list of kinds restricts the test to them: a function that waits at a [`Gate`] is not `sync`, and one that
/// can be dropped while it waits is not `blocking` either. The word after it says how the tests run:
///
/// | word | |
/// |---|---|
/// | none | on a runtime |
/// | `over_each:` | over TCP, Unix sockets, TLS and in memory: the functions take an [`Over`](crate::Over) |
/// | `paused:` | with a paused clock |
/// | `no_runtime:` | without a runtime: the functions are plain ones |
///
/// ```ignore
/// each_kind!([ready_async, waiting] over_each: function_is_dropped);
///
/// async fn function_is_dropped<K: Kind>(over: Over) {}
/// ```
///
/// makes the tests `function_is_dropped::over_tcp::ready_async`, `…::over_tcp::waiting`, and the same in `…::over_unix`,
/// `…::over_tls` and `…::in_memory`.
#[macro_export]
macro_rules! each_kind {
    ($how:ident: $($test:ident),+ $(,)?) => {
        $crate::each_kind! { [sync, ready_async, waiting, blocking] $how: $($test),+ }
    };
    ($kinds:tt $how:ident: $($test:ident),+ $(,)?) => {
        $($crate::tests_of_kinds! { $how $test $kinds })+
    };
    ($kinds:tt $($test:ident),+ $(,)?) => {
        $crate::each_kind! { $kinds on_a_runtime: $($test),+ }
    };
    ($($test:ident),+ $(,)?) => {
        $crate::each_kind! { on_a_runtime: $($test),+ }
    };
}

/// The module with the tests of one function. The rules with `@` make one test, and those with `@@` make it
/// once its kind is looked up.
#[doc(hidden)]
#[macro_export]
macro_rules! tests_of_kinds {
    (over_each $test:ident $kinds:tt) => {
        mod $test {
            $crate::tests_of_kinds! { in over_tcp (Tcp) $test $kinds }
            #[cfg(unix)]
            $crate::tests_of_kinds! { in over_unix (Unix) $test $kinds }
            #[cfg(target_os = "linux")]
            $crate::tests_of_kinds! { in over_tls (Tls) $test $kinds }
            $crate::tests_of_kinds! { in in_memory (Memory) $test $kinds }
        }
    };
    (in $module:ident ($over:ident) $test:ident [$($kind:ident),+]) => {
        mod $module {
            use super::super::$test;
            $($crate::tests_of_kinds! { @ $kind ($crate::Over::$over) $test })+
        }
    };
    ($how:ident $test:ident [$($kind:ident),+]) => {
        mod $test {
            use super::$test;
            $($crate::tests_of_kinds! { @ $kind $how $test })+
        }
    };
    (@ sync $($how:tt)+) => { $crate::tests_of_kinds! { @@ sync SyncFn () $($how)+ } };
    (@ ready_async $($how:tt)+) => { $crate::tests_of_kinds! { @@ ready_async ReadyFn () $($how)+ } };
    (@ waiting $($how:tt)+) => { $crate::tests_of_kinds! { @@ waiting WaitingFn () $($how)+ } };
    (@ blocking $($how:tt)+) => {
        $crate::tests_of_kinds! { @@ blocking BlockingFn (flavor = "multi_thread", worker_threads = 2) $($how)+ }
    };
    (@@ $name:ident $kind:ident $runtime:tt no_runtime $test:ident) => {
        #[test]
        fn $name() {
            $test::<$crate::$kind>();
        }
    };
    // The clock can be paused on one thread only.
    (@@ $name:ident $kind:ident $runtime:tt paused $test:ident) => {
        $crate::tests_of_kinds! { @@ $name $kind (start_paused = true) () $test }
    };
    (@@ $name:ident $kind:ident $runtime:tt on_a_runtime $test:ident) => {
        $crate::tests_of_kinds! { @@ $name $kind $runtime () $test }
    };
    (@@ $name:ident $kind:ident $runtime:tt $arguments:tt $test:ident) => {
        #[tokio::test $runtime]
        async fn $name() {
            $test::<$crate::$kind> $arguments .await;
        }
    };
}
