//! The words that an attribute knows, for editors to complete.
//!
//! Where a word is not known, the expansion has a path to it in one of these modules, under a condition that never
//! holds. The compiler drops it, and rust-analyzer completes the word as an item of the module. `crate` is missing,
//! because no item can have this name.

/// Declares a module for each list of words.
macro_rules! words {
    ($($list:ident { $($(#[$docs:meta])* $word:ident,)* })*) => {
        $(pub mod $list {
            $($(#[$docs])* pub mod $word {})*
        })*
    };
}

words! {
    server_protocol {
        /// `framing = tcs::framing::Lines`: how the stream is split into messages. Default: `LengthPrefixed`.
        framing,
        /// `format = tcs::format::Json`: how messages are encoded. Default: `Plain`.
        format,
        /// `session = EXPRESSION`: the session of a new connection. Default: `Default::default()`.
        session,
        /// `greeting = EXPRESSION`: a message that the server sends when a connection opens.
        greeting,
        /// `reject_with = path`: a function that formats rejections.
        reject_with,
        /// `push = Event<'_>`: the server pushes events of this type.
        push,
        /// `is_push = path`: a function that tells a client whether a message is an event.
        is_push,
        /// `replies = Row<'_>`: the reply is a stream of items of this type, followed by the result.
        replies,
        /// `requests = Chunk<'_>`: the request is followed by a stream of chunks of this type.
        requests,
        /// `blocking`: the `fn` may block its thread.
        blocking,
        /// `half_close = ends`: a peer that closes its sending half is taken to have left.
        half_close,
        /// `concurrent = 16`: up to this many requests of a connection are processed concurrently.
        concurrent,
        /// `unordered`, with `concurrent`: each reply is sent as soon as it is ready.
        unordered,
        /// `describe`: a module has an operation that describes it.
        describe,
    }
    client_protocol {
        /// `server = Type`: take framing, format and messages from this server protocol or contract.
        server,
        /// `request = EXPRESSION`, or a closure with fields of the type: the request. The function processes the reply.
        request,
        /// `reply = Type`: the reply. The function makes the request.
        reply,
        /// `framing = tcs::framing::Lines`: how the stream is split into messages. Default: `LengthPrefixed`.
        framing,
        /// `format = tcs::format::Json`: how messages are encoded. Default: `Plain`.
        format,
        /// `greeting`: the server begins each connection with a message.
        greeting,
        /// `push = Event<'_>`, on a module: the server pushes events of this type.
        push,
        /// `is_push = path`, on a module: a function that tells whether a message is an event.
        is_push,
        /// `describe`, on a module: the server describes itself, and the client has a method `describe`.
        describe,
    }
    parameter {
        /// `#[state] name: &T`: shared by all connections.
        state,
        /// `#[session] name: &mut T`, or `&T`: kept by one connection.
        session,
        /// `#[framing] name: &mut T`: the framing of the connection, to change it.
        framing,
        /// `#[context] name: T`: taken from the connection.
        context,
        /// `#[secret] name: T`, in a module: `Debug` of a request does not show the argument.
        secret,
    }
}
