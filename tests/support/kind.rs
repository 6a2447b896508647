//! The kinds of functions, for which every promise of the connection loop holds alike.

use std::{future::poll_fn, task::Poll};

use tcs::ConnectionInfo;
use tokio::task::yield_now;

use crate::Gate;

/// How a function is called; its kinds are [`SyncFn`], [`ReadyFn`], [`WaitingFn`] and [`BlockingFn`].
pub trait Kind: Send + Sync + 'static {
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
                Act::Wait(_) => panic!("a plain function cannot wait"),
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
        };
        info.block(blocks).await
    }
}

/// Runs each of the named functions as a test for each [`Kind`], which is its type parameter.
///
/// | before the names | |
/// |---|---|
/// | `over_both:` | the functions take an [`Over`](crate::Over), and each test runs over TCP and in memory |
/// | `paused:` | the clock is paused |
/// | `no_runtime:` | the functions are plain ones, and no test has a runtime |
#[macro_export]
macro_rules! each_kind {
    (over_both: $($test:ident),+ $(,)?) => {
        $($crate::tests_of_kinds! { $test over_both [sync SyncFn, ready_async ReadyFn, waiting WaitingFn] [blocking BlockingFn] })+
    };
    (paused: $($test:ident),+ $(,)?) => {
        $($crate::tests_of_kinds! { $test paused [sync SyncFn, ready_async ReadyFn, waiting WaitingFn, blocking BlockingFn] [] })+
    };
    (no_runtime: $($test:ident),+ $(,)?) => {
        $($crate::tests_of_kinds! { $test no_runtime [sync SyncFn, ready_async ReadyFn, waiting WaitingFn, blocking BlockingFn] })+
    };
    ($($test:ident),+ $(,)?) => {
        $($crate::tests_of_kinds! { $test [sync SyncFn, ready_async ReadyFn, waiting WaitingFn] [blocking BlockingFn] })+
    };
}

/// Like [`each_kind!`] for functions that wait at a [`Gate`](crate::Gate): all but plain ones.
#[macro_export]
macro_rules! each_kind_that_waits {
    (over_both: $($test:ident),+ $(,)?) => {
        $($crate::tests_of_kinds! { $test over_both [ready_async ReadyFn, waiting WaitingFn] [blocking BlockingFn] })+
    };
    ($($test:ident),+ $(,)?) => {
        $($crate::tests_of_kinds! { $test [ready_async ReadyFn, waiting WaitingFn] [blocking BlockingFn] })+
    };
}

/// Like [`each_kind!`] for functions that can be dropped while they wait.
#[macro_export]
macro_rules! each_async_kind {
    (over_both: $($test:ident),+ $(,)?) => {
        $($crate::tests_of_kinds! { $test over_both [ready_async ReadyFn, waiting WaitingFn] [] })+
    };
    (paused: $($test:ident),+ $(,)?) => {
        $($crate::tests_of_kinds! { $test paused [ready_async ReadyFn, waiting WaitingFn] [] })+
    };
    ($($test:ident),+ $(,)?) => {
        $($crate::tests_of_kinds! { $test [ready_async ReadyFn, waiting WaitingFn] [] })+
    };
}

/// The tests of one function: those of the kinds that run on a thread, and of those that need several.
#[doc(hidden)]
#[macro_export]
macro_rules! tests_of_kinds {
    ($test:ident over_both $one:tt $several:tt) => {
        mod $test {
            mod over_tcp {
                use super::super::$test;
                $crate::tests_of_kinds! { @ $test ($crate::Over::Tcp) () $one }
                $crate::tests_of_kinds! { @ $test ($crate::Over::Tcp) (flavor = "multi_thread", worker_threads = 2) $several }
            }
            mod in_memory {
                use super::super::$test;
                $crate::tests_of_kinds! { @ $test ($crate::Over::Memory) () $one }
                $crate::tests_of_kinds! { @ $test ($crate::Over::Memory) (flavor = "multi_thread", worker_threads = 2) $several }
            }
        }
    };
    ($test:ident paused $one:tt $several:tt) => {
        mod $test {
            use super::$test;
            $crate::tests_of_kinds! { @ $test () (start_paused = true) $one }
            $crate::tests_of_kinds! { @ $test () (start_paused = true) $several }
        }
    };
    ($test:ident no_runtime [$($name:ident $kind:ident),*]) => {
        mod $test {
            $(#[test]
            fn $name() {
                super::$test::<$crate::$kind>();
            })*
        }
    };
    ($test:ident $one:tt $several:tt) => {
        mod $test {
            use super::$test;
            $crate::tests_of_kinds! { @ $test () () $one }
            $crate::tests_of_kinds! { @ $test () (flavor = "multi_thread", worker_threads = 2) $several }
        }
    };
    (@ $test:ident $arguments:tt $runtime:tt [$($name:ident $kind:ident),*]) => {$(
        #[tokio::test $runtime]
        async fn $name() {
            $test::<$crate::$kind> $arguments .await;
        }
    )*};
}
