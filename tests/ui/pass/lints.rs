//! The expansions raise no lint: neither a warning of the compiler, nor one of strict users.
//!
//! They are warnings here, so that no later version of clippy, with more lints, makes errors of them.
//! `compile_errors.rs` makes errors of them for one version.

#![cfg_attr(
    clippy,
    warn(
        warnings,
        unused,
        future_incompatible,
        let_underscore,
        nonstandard_style,
        refining_impl_trait,
        rust_2018_idioms,
        rust_2021_compatibility,
        rust_2024_compatibility,
        missing_docs,
        missing_debug_implementations,
        unreachable_pub,
        unnameable_types,
        elided_lifetimes_in_paths,
        explicit_outlives_requirements,
        single_use_lifetimes,
        trivial_casts,
        unused_qualifications,
        unused_lifetimes,
        unused_results,
        variant_size_differences,
        let_underscore_drop
    )
)]
#![warn(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::cargo,
    clippy::exhaustive_structs,
    clippy::must_use_candidate,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::missing_docs_in_private_items,
    clippy::missing_inline_in_public_items,
    clippy::missing_trait_methods,
    clippy::pattern_type_mismatch,
    clippy::question_mark_used,
    clippy::ref_patterns,
    clippy::renamed_function_params,
    clippy::same_name_method,
    clippy::shadow_reuse,
    clippy::shadow_same,
    clippy::shadow_unrelated,
    clippy::single_call_fn,
    clippy::unimplemented,
    clippy::unwrap_used
)]
#![allow(
    clippy::cargo_common_metadata,
    clippy::multiple_crate_versions,
    reason = "they are about the package"
)]
#![allow(
    clippy::missing_inline_in_public_items,
    clippy::single_call_fn,
    reason = "they are about the functions below, which users write"
)]

use std::sync::Mutex;

use tcs::{
    Peer, Response, client_protocol,
    format::Encode,
    protocol::{FromContext, Push, Replies, Requests},
    server_protocol,
};

/// Greets nobody else.
#[server_protocol]
fn private(name: &str) -> String {
    name.to_owned()
}

/// Greets.
#[server_protocol]
pub fn documented(name: &str) -> &str {
    name
}

/// Waits for nothing.
///
/// # Errors
///
/// Never.
#[server_protocol(session = String::from(prefix), greeting = format!("{peer} {total:?}"))]
pub async fn everything<'n, T>(
    name: &'n str,
    #[state] total: &Mutex<u64>,
    #[state] prefix: &str,
    #[state] list: &[T],
    #[session] seen: &mut String,
    _peer: &Peer,
) -> Result<Response<&'n str>, String>
where
    T: std::fmt::Debug + ToString,
{
    if let Ok(mut guard) = total.lock() {
        *guard += 1;
    }
    seen.push_str(prefix);
    let _ = list;
    Ok(Response::ReplyAndClose(name))
}

/// Needs its states only for the options.
#[server_protocol(session = *start, greeting = welcome)]
pub fn add(
    number: u64,
    #[state] start: &u64,
    #[state] welcome: &str,
    #[session] sum: &mut u64,
) -> u64 {
    *sum += number;
    *sum
}

/// Takes and returns values of serde.
///
/// # Errors
///
/// When there is no text.
#[server_protocol(format = tcs::format::Json, greeting = first)]
pub fn values(pair: (u8, &str), #[state] first: &u8) -> Result<Option<u8>, String> {
    let (number, text) = pair;
    if text.is_empty() {
        Err(format!("{first}"))
    } else {
        Ok(Some(number))
    }
}

/// Asks for them.
#[client_protocol(server = Values, request = |number: u8, text: &str| (number, text))]
pub fn valued(reply: Result<Option<u8>, String>) -> Option<u8> {
    reply.unwrap_or_default()
}

/// Blocks.
#[server_protocol(blocking)]
pub fn blocked(text: String, #[state] small: &u8, #[state] path: &std::path::PathBuf) -> usize {
    text.len() + path.as_os_str().len() + usize::from(*small)
}

/// Words its rejections.
#[server_protocol(framing = tcs::framing::Lines, reject_with = in_words)]
pub fn rejected(name: &str) -> &str {
    name
}

/// Carries what a codec makes.
///
/// # Errors
///
/// Never.
#[server_protocol(framing = Text, format = Text, reject_with = in_words)]
pub fn carried(line: String) -> Result<String, String> {
    Ok(line)
}

/// Lines.
type Text = tcs::framing::Codec<tokio_util::codec::LinesCodec>;

/// Returns the message for a rejection.
fn in_words(rejection: &tcs::Rejection) -> &str {
    rejection.text()
}

/// Asks a codec.
#[client_protocol(framing = Text, format = Text, request = |line: &str| line)]
pub fn asked(reply: String) -> String {
    reply
}

/// Asks nothing.
#[client_protocol(request = "Ann")]
pub fn length(reply: &str) -> usize {
    reply.len()
}

/// Has fields.
#[client_protocol(request = |count: u32, name: &str| format!("{count} {name}"))]
pub async fn fields(reply: String, name: &str, only_here: u32) -> (String, usize, u32) {
    (reply, name.len(), only_here)
}

/// Ignores a field in its request.
#[client_protocol(server = Documented, request = "a")]
pub fn of_server(reply: &str, more: String) -> (usize, String) {
    (reply.len(), more)
}

/// Makes the request.
#[client_protocol(reply = u8)]
pub fn question(name: &str) -> String {
    name.to_owned()
}

/// Makes the request of a server.
#[client_protocol(server = Documented, reply = String)]
pub fn question_of_server(name: &str) -> &str {
    name
}

/// What is kept for all.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Shared;

/// Several operations.
#[server_protocol(format = tcs::format::Json, framing = tcs::framing::Lines, session = *start, greeting = start, reject_with = in_words, describe)]
pub mod several {
    use super::{Peer, Shared, in_words};

    /// Borrows everything.
    ///
    /// # Errors
    ///
    /// When there is no text.
    pub async fn borrowed<'a>(
        text: &'a str,
        #[state] shared: &Shared,
        #[state] start: &u64,
        #[session] sum: &mut u64,
        #[context] _peer: &Peer,
    ) -> Result<&'a str, String> {
        *sum += *start;
        if text.is_empty() {
            let _: &Shared = shared;
            Err(help())
        } else {
            Ok(text)
        }
    }

    /// Has parameters.
    pub fn generic<T: ToString, const N: usize>(
        #[state] value: &[T; N],
        many: usize,
        list: Vec<usize>,
    ) -> Option<String> {
        value.get(list.len() + many).map(ToString::to_string)
    }

    /// Hides what it takes.
    #[idempotent]
    #[must_use]
    pub fn hidden(name: String, #[secret] password: &str) -> bool {
        name == password
    }

    /// Blocks.
    #[deprecated]
    #[secret]
    #[blocking]
    pub fn blocks(number: u64, #[session] sum: &u64) -> u64 {
        number + *sum
    }

    /// Helps.
    fn help() -> String {
        "none".to_owned()
    }
}

/// Several operations, none of which waits.
#[server_protocol(format = tcs::format::Postcard)]
pub mod alone {
    /// Says nothing.
    pub const fn nothing() {}
}

/// What a client has of them.
#[client_protocol(format = tcs::format::Json, framing = tcs::framing::Lines)]
pub mod contract {
    use super::{Peer, Shared};

    /// Borrows everything.
    ///
    /// # Errors
    ///
    /// When there is no text.
    pub async fn borrowed<'a>(text: &'a str, #[state] _shared: &Shared) -> Result<&'a str, String> {
        Ok(text)
    }
}

/// Messages beside the request and the reply.
#[server_protocol(
    Conversing,
    push = &str,
    is_push = is_event,
    replies = &'_ str,
    requests = u64,
    session = Some(push)
)]
pub async fn converses(
    name: &str,
    #[state] shared: &Shared,
    #[session] push: &Option<Push<Conversing>>,
    mut out: Replies<'_, Conversing>,
) -> bool {
    let _ = shared;
    push.as_ref().is_some_and(|own| own.try_send(name).is_ok()) && out.send(name).await.is_ok()
}

/// Tells events.
const fn is_event(message: &[u8]) -> bool {
    message.is_empty()
}

/// Operations with messages beside their requests and replies.
#[server_protocol(format = tcs::format::Json, push = &str, is_push = is_event)]
pub mod conversing {
    use super::{Push, Replies, Requests};

    /// Pushes.
    pub fn pushes(name: &str, #[context] push: Push<Protocol>) -> bool {
        push.try_send(name).is_ok()
    }

    /// Streams.
    #[replies(&str)]
    pub async fn streams(name: &str, #[context] mut out: Replies<'_, Streams>) -> bool {
        out.send(name).await.is_ok()
    }

    /// Receives.
    #[requests(&str)]
    pub async fn receives(#[context] mut more: Requests<'_, Receives>) -> bool {
        more.next().await.is_ok()
    }

    /// Tells events.
    const fn is_event(message: &[u8]) -> bool {
        message.is_empty()
    }
}

/// Uses the names above as users do.
fn main() {
    const fn both<T: FromContext<'static>, U: Encode<tcs::format::Plain>>() {}
    both::<&Peer, &str>();
    assert_eq!(format!("{Private:?} {Documented:?}"), "Private Documented");
    assert_eq!(private(documented("a")), "a");
    let everything = Everything::new(Mutex::new(1), String::new(), vec![1]);
    assert_eq!(format!("{everything:?}"), "Everything");
    let several = several::Protocol::new(Shared, 1, [1, 2]);
    assert_eq!((several.start, several.value), (1, [1, 2]));
    assert_eq!(
        format!(
            "{:?} {:?}",
            alone::Request::Nothing {},
            alone::Reply::Nothing(())
        ),
        "Nothing Nothing(())"
    );
    assert_eq!(
        format!("{:?}", several::generic(&[1], 0, vec![])),
        "Some(\"1\")"
    );
    assert_eq!(
        format!("{:?}", contract::Request::Borrowed { text: "a" }),
        r#"Borrowed { text: "a" }"#
    );
    assert_eq!(Blocked::new(1, "a".into()).small, 1);
    assert_eq!(Fields::new(1, "a", 2).only_here, 2);
    assert_eq!((Values::new(1).first, Valued::new(2, "a").number), (1, 2));
    assert_eq!(OfServer::new("a".to_owned()).more, "a");
    assert_eq!(
        (Question::new("a").name, QuestionOfServer { name: "b" }.name),
        ("a", "b")
    );
    assert_eq!(
        (length("abc"), format!("{Length:?}")),
        (3, "Length".to_owned())
    );
}
