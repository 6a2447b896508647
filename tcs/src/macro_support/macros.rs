//! Macros that write what every module of operations has.

/// Writes code that needs a format for operations.
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __operations {
    (@check) => {};
    ($($tokens:tt)*) => { $($tokens)* };
}

/// Leaves out code that needs a format: there is none. Each module checks once, and so has one error.
#[cfg(not(any(feature = "json", feature = "messagepack", feature = "postcard")))]
#[doc(hidden)]
#[macro_export]
macro_rules! __operations {
    (@check) => {
        ::core::compile_error!(
            "operations need a format: add the feature `json`, `postcard` or `messagepack` to `tcs`"
        );
    };
    ($($tokens:tt)*) => {};
}

/// Declares the client of operations. Each operation is described once, as `__client_method` reads it.
#[doc(hidden)]
#[macro_export]
macro_rules! __client {
    (
        $client:ident, $framing:ty, $contract:ident, $docs:literal,
        [$($events:tt)?] $($operation:tt)*
    ) => {
        #[doc = $docs]
        ///
        /// Over a `Connection`, as `connect` makes it, one call follows the other, and a reply may
        /// borrow from the connection. Over a `Channel`, many tasks call at a time, each with a clone; a
        /// reply that borrows is processed by a closure. A channel of `Channel::connect` or
        /// `ChannelOptions` reconnects; that of `into_channel` does not.
        ///
        /// A server's greeting is waited for and dropped by the first call over a `Connection`; so call
        /// once before `into_channel`, or receive it yourself and hand the connection to `over`.
        ///
        /// Over a `blocking::Connection` or a `blocking::Channel`, calls block their thread.
        ///
        /// The events of the option `push` come from `next_event` over a `Connection`, and from `Channel::subscribe` over a
        /// `Channel`: `client.clone().into_inner().subscribe::<Contract>(request)`.
        ///
        /// An `impl Into<…>` argument is converted before the request is sent.
        ///
        /// A call fails as `Connection::call` does: then its result is `Err`. Otherwise it is what
        /// the function returned, which may be a `Result` of its own.
        #[derive(Clone, Debug)]
        #[allow(unreachable_pub, reason = "it is as visible as the module")]
        #[must_use]
        pub struct $client<C = $crate::__private::Connection<$framing>> {
            connection: C,
        }

        #[allow(dead_code, unreachable_pub, reason = "each client has it")]
        impl $client {
            /// Connects with the default options; for others, see [`over`](Self::over).
            ///
            /// # Errors
            ///
            /// Those of `ConnectOptions::connect`.
            pub async fn connect(
                address: impl ::core::convert::Into<$crate::__private::Address>,
            ) -> $crate::__private::Result<Self> {
                let connection = $crate::__private::Connection::connect(address).await?;
                ::core::result::Result::Ok(Self { connection })
            }
        }

        #[allow(
            dead_code,
            unreachable_pub,
            clippy::missing_const_for_fn,
            reason = "each client has them, and a connection may have something to drop"
        )]
        impl<C> $client<C> {
            /// Calls over an open `Connection` or `Channel`.
            pub fn over(
                connection: C,
            ) -> $client<<C as $crate::__private::WithFraming>::With<$framing>>
            where
                C: $crate::__private::CallsOver<$framing>,
            {
                let connection = $crate::__private::CallsOver::over(connection);
                $client { connection }
            }

            /// Returns the connection.
            #[must_use]
            pub fn into_inner(self) -> C {
                self.connection
            }
        }

        #[allow(dead_code, unreachable_pub, reason = "each client has it")]
        impl $client<$crate::__private::Connection<$framing>> {
            /// Lets many tasks call over this connection, each with a clone.
            ///
            /// It does not reconnect: once the connection has ended, all calls fail. For a client that
            /// does, use [`over`](Self::over) with a channel of `Channel::connect` or `ChannelOptions`.
            ///
            /// # Errors
            ///
            /// Those of `Connection::into_channel`.
            pub fn into_channel(
                self,
            ) -> $crate::__private::Result<$client<$crate::__private::Channel<$framing>>> {
                let connection = self.connection.into_channel()?;
                ::core::result::Result::Ok($client { connection })
            }
        }

        $crate::__client_methods! {
            connection [async .await] [], $framing, $contract,
            $client<$crate::__private::Connection<$framing>>, { deadline } $($events)? $($operation)*
        }
        $crate::__client_methods! {
            channel [async .await] [], $framing, $contract,
            $client<$crate::__private::Channel<$framing>>, { deadline } $($operation)*
        }
        $crate::__client_methods! {
            connection [] [blocking::], $framing, $contract,
            $client<$crate::__private::blocking::Connection<$framing>>, { deadline } $($events)? $($operation)*
        }
        $crate::__client_methods! {
            channel [] [blocking::], $framing, $contract,
            $client<$crate::__private::blocking::Channel<$framing>>, { deadline } $($operation)*
        }
    };
}

/// Implements the client over one kind of connection.
#[doc(hidden)]
#[macro_export]
macro_rules! __client_methods {
    (
        $kind:ident $wait:tt $blocking:tt, $framing:ty, $contract:ident,
        $client:ty, $($operation:tt)*
    ) => {
        #[automatically_derived]
        #[allow(
            dead_code,
            deprecated,
            private_interfaces,
            unreachable_pub,
            unreachable_patterns,
            clippy::all,
            clippy::pedantic,
            clippy::nursery,
            reason = "their shape follows the signatures"
        )]
        impl $client {
            $($crate::__client_method! { $kind $wait $blocking, $framing, $contract, $operation })*
        }
    };
}

/// Declares one method of a client. Over a `connection`, which is exclusive, the reply may borrow from it. Over a
/// `channel`, which is shared, a closure processes a reply that borrows.
///
/// An operation is `{ KIND [attributes] name(parameters) -> (Type), request, Reply::Variant, [.idempotent()] }`.
#[doc(hidden)]
#[macro_export]
macro_rules! __client_method {
    (connection $wait:tt $blocking:tt, $framing:ty, $contract:ident, { deadline }) => {
        /// Limits the next call, as in `client.deadline(limit).operation()`.
        pub fn deadline(&mut self, limit: ::core::time::Duration) -> &mut Self {
            self.connection.deadline(limit);
            self
        }
    };
    (channel $wait:tt $blocking:tt, $framing:ty, $contract:ident, { deadline }) => {
        /// Returns a client each of whose calls has this limit, as in
        /// `client.deadline(limit).operation()`.
        pub fn deadline(&self, limit: ::core::time::Duration) -> Self {
            let connection = self.connection.deadline(limit);
            Self { connection }
        }
    };
    (
        connection [$($async:ident $($await:tt)*)?] $blocking:tt, $framing:ty, $contract:ident,
        { events }
    ) => {
        /// Waits for an event that the server pushes, as `Connection::next_event` does. Events that
        /// have arrived during a call were kept, and are returned first.
        ///
        /// # Errors
        ///
        /// Those of `Connection::next_event`.
        pub $($async)? fn next_event(
            &mut self,
        ) -> $crate::__private::Result<<$contract as $crate::__private::Pushes>::Event<'_>>
        where
            for<'__e> <$contract as $crate::__private::Pushes>::Event<'__e>:
                $crate::__private::Decode<'__e, <$contract as $crate::__private::Pushes>::Format>,
        {
            self.connection.next_event::<$contract>()$($($await)*)?
        }
    };
    (
        connection [$($async:ident $($await:tt)*)?] $blocking:tt, $framing:ty, $contract:ident,
        {
            reply $owned:ident [$($attrs:tt)*] $name:ident($($parameters:tt)*) -> ($ty:ty),
            $request:expr, $reply:path, [$($idempotent:tt)*]
        }
    ) => {
        $($attrs)*
        pub $($async)? fn $name(&mut self, $($parameters)*) -> $crate::__private::Result<$ty> {
            let request = $request;
            self.connection
                .call_for::<$contract, _>(request, |reply| match reply {
                    $reply(reply) => ::core::option::Option::Some(reply),
                    _ => ::core::option::Option::None,
                })
                $($($await)*)?
        }
    };
    (
        channel [$($async:ident $($await:tt)*)?] $blocking:tt, $framing:ty, $contract:ident,
        {
            reply owned [$($attrs:tt)*] $name:ident($($parameters:tt)*) -> ($ty:ty),
            $request:expr, $reply:path, [$($idempotent:tt)*]
        }
    ) => {
        $($attrs)*
        pub $($async)? fn $name(&self, $($parameters)*) -> $crate::__private::Result<$ty> {
            let request = $request;
            self.connection
                $($idempotent)*
                .call_for::<$contract, _>(request, |reply| match reply {
                    $reply(reply) => ::core::option::Option::Some(reply),
                    _ => ::core::option::Option::None,
                })
                $($($await)*)?
        }
    };
    (
        channel [$($async:ident $($await:tt)*)?] $blocking:tt, $framing:ty, $contract:ident,
        {
            reply borrowed [$($attrs:tt)*] $name:ident($($parameters:tt)*) -> ($ty:ty),
            $request:expr, $reply:path, [$($idempotent:tt)*]
        }
    ) => {
        $($attrs)*
        ///
        /// Returns what `process` makes of the reply, which borrows.
        pub $($async)? fn $name<__T>(
            &self,
            $($parameters)*
            process: impl ::core::ops::FnOnce($ty) -> __T,
        ) -> $crate::__private::Result<__T> {
            let request = $request;
            self.connection
                $($idempotent)*
                .call_for::<$contract, _>(request, |reply| match reply {
                    $reply(reply) => ::core::option::Option::Some(process(reply)),
                    _ => ::core::option::Option::None,
                })
                $($($await)*)?
        }
    };
    (
        connection [$($async:ident $($await:tt)*)?] [$($blocking:tt)*], $framing:ty, $contract:ident,
        {
            items [$($attrs:tt)*] $name:ident($($parameters:tt)*) -> ($ty:ty),
            $request:expr, $($rest:tt)*
        }
    ) => {
        $($attrs)*
        ///
        /// Returns the items of its reply, as `stream` does.
        pub $($async)? fn $name(
            &mut self,
            $($parameters)*
        ) -> $crate::__private::Result<$crate::__private::$($blocking)*Items<'_, $ty>> {
            let request = $request;
            self.connection.stream::<$ty>(request)$($($await)*)?
        }
    };
    (
        channel [$($async:ident $($await:tt)*)?] [$($blocking:tt)*], $framing:ty, $contract:ident,
        {
            items [$($attrs:tt)*] $name:ident($($parameters:tt)*) -> ($ty:ty),
            $request:expr, $($rest:tt)*
        }
    ) => {
        $($attrs)*
        ///
        /// Returns the items of its reply, as `stream` does.
        pub $($async)? fn $name(
            &self,
            $($parameters)*
        ) -> $crate::__private::Result<$crate::__private::$($blocking)*ChannelItems<$ty>>
        where
            // With the lifetime, rustc checks the bound where the method is called, and not here.
            for<'__c> $framing: $crate::__private::HasIds,
        {
            let request = $request;
            self.connection.stream::<$ty>(request)$($($await)*)?
        }
    };
    (
        connection [$($async:ident $($await:tt)*)?] [$($blocking:tt)*], $framing:ty, $contract:ident,
        {
            chunks [$($attrs:tt)*] $name:ident($($parameters:tt)*) -> ($ty:ty),
            $request:expr, $($rest:tt)*
        }
    ) => {
        $($attrs)*
        ///
        /// Returns what sends its chunks, as `Connection::upload` does.
        pub $($async)? fn $name(
            &mut self,
            $($parameters)*
        ) -> $crate::__private::Result<$crate::__private::$($blocking)*Upload<'_, $ty>> {
            let request = $request;
            self.connection.upload::<$ty>(request)$($($await)*)?
        }
    };
    // A channel has no method for chunks, because they would hold up all calls after them.
    ($kind:ident $wait:tt $blocking:tt, $framing:ty, $contract:ident, { $($operation:tt)* }) => {};
}

/// Implements `Message` and serde's traits for an enum of requests or replies. The arms of two `match`es
/// read and write the variants.
#[doc(hidden)]
#[macro_export]
macro_rules! __message {
    (
        impl<$de:lifetime> for $message:ty,
        name = $name:literal,
        operations = [$($operation:literal),*],
        numbered = $numbered:literal,
        read($from:ident) { $($read:tt)* }
        write($this:ident, $to:ident) { $($write:tt)* }
    ) => {
        #[automatically_derived]
        impl<$de> $crate::__private::Message<$de> for $message {
            const NAME: &'static str = $name;
            const OPERATIONS: &'static [&'static str] = &[$($operation),*];
            const NUMBERED: usize = $numbered;

            #[inline]
            fn read<__A: $crate::__private::serde::de::VariantAccess<$de>>(
                operation: usize,
                $from: __A,
            ) -> ::core::result::Result<Self, __A::Error> {
                match operation {
                    $($read)*
                    _ => ::core::result::Result::Err($crate::__private::no_such_item()),
                }
            }

            #[inline]
            fn write<__S: $crate::__private::serde::Serializer>(
                &$this,
                $to: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                match $this {
                    $($write)*
                }
            }
        }

        #[automatically_derived]
        impl<$de> $crate::__private::serde::Serialize for $message {
            fn serialize<__S: $crate::__private::serde::Serializer>(
                &self,
                to: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                $crate::__private::Message::write(self, to)
            }
        }

        #[automatically_derived]
        impl<$de> $crate::__private::serde::Deserialize<$de> for $message {
            fn deserialize<__D: $crate::__private::serde::Deserializer<$de>>(
                from: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                $crate::__private::read_message(from)
            }
        }
    };
}

/// Implements `Arguments` for a tuple struct of options. The arms of a `match` read the arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __arguments {
    (
        impl<$de:lifetime> for $arguments:ty,
        operation = $operation:literal,
        names = [$($name:literal),*],
        positions = [$($position:tt),*],
        read($this:ident, $from:ident) { $($read:tt)* }
    ) => {
        #[automatically_derived]
        impl<$de> $crate::__private::Arguments<$de> for $arguments {
            const OPERATION: &'static str = $operation;
            const NAMES: &'static [&'static str] = &[$($name),*];

            #[inline]
            fn has(&self, position: usize) -> bool {
                match position {
                    $($position => self.$position.is_some(),)*
                    _ => false,
                }
            }

            #[inline]
            fn read<__D: $crate::__private::serde::Deserializer<$de>>(
                &mut $this,
                position: usize,
                $from: __D,
            ) -> ::core::result::Result<(), __D::Error> {
                match position {
                    $($read)*
                    _ => ::core::result::Result::Err($crate::__private::no_such_item()),
                }
            }
        }
    };
}

/// Implements `ServerProtocol` for a type whose attribute is an error, which is reported there alone.
#[doc(hidden)]
#[macro_export]
macro_rules! __unserved {
    ($ty:ty) => {
        #[automatically_derived]
        impl $crate::__private::ServerProtocol for $ty {
            type Framing = $crate::framing::LengthPrefixed;
            type Format = $crate::format::Plain;
            type Session = ();
            type Request<'exchange> = ();
            type Reply<'exchange> = ();

            fn open_session(&self, _info: &$crate::ConnectionInfo) {}

            async fn process_request(
                &self,
                _context: $crate::protocol::Context<'_, ()>,
                (): (),
            ) -> ::core::result::Result<(), $crate::Rejection> {
                ::core::result::Result::Ok(())
            }
        }
    };
}
