//! What was probably meant by a word that is not an option.

use proc_macro2::Ident;
use syn::parse::ParseStream;

use super::Side;
use crate::syntax::{at_element_end, nearest, upper_camel};

/// What is set by methods of servers and clients.
const SETTINGS: &str = "\
    address at_capacity connect_timeout drain_timeout frame_timeout half_close_timeout handshake \
    handshake_timeout host idle_timeout keepalive_timeout lame_duck linger listener max_blocking \
    max_connection_age max_connections max_connections_per_address max_frame_len max_in_flight \
    max_in_flight_per_address max_pipelined_requests max_push_queue max_queue_time \
    max_queued_events max_reply_len max_request_rate_per_address max_requests_per_connection memory_budget notify_systemd on_accept \
    on_listening options port push_overflow reply_timeout request_timeout reuse_port \
    start_tls tls write_timeout";

/// The types of the library that are options by a single word.
const FORMATS: &str = "Json MessagePack Plain Postcard Protobuf";
const FRAMINGS: &str = "CodeLines ContentLength CrlfLines CrlfText Hex4 LengthPrefixed Lines Multiplexed Netstrings Raw UntilEof Varint Verbatim";

/// The options that declare messages beside the request and the reply, with other words for them.
const HANDLE_OPTIONS: &[(&str, &str)] = &[
    (
        "push",
        "event events notification notifications pushed pushes",
    ),
    ("replies", "item items reply row rows stream streams"),
    (
        "requests",
        "chunk chunks more receives request upload uploads",
    ),
];

/// Says what to write instead of a word that is neither an option nor the name, before `rest`. `name` is what was
/// given as the name before.
pub(super) fn unknown(
    side: Side,
    name: Option<&Ident>,
    word: &str,
    rest: ParseStream<'_>,
) -> String {
    let options: Vec<_> = side.options().iter().map(|option| option.text).collect();
    let (is_alone, attribute) = (at_element_end(rest), side.attribute());
    if is_alone && let Some((option, ty)) = library_type(word) {
        format!("`{ty}` is a {option}: write `{option} = {ty}`")
    } else if is_alone && word.starts_with(char::is_uppercase) {
        match name {
            Some(name) => format!("the type has the name `{name}` already: remove this one"),
            None => format!("the name comes first: write `{attribute}({word}, …)`"),
        }
    } else if SETTINGS.split(' ').any(|setting| setting == word) {
        format!("`{word}` is a setting: call `.{word}(…)` on the server or the client")
    } else if let Some(meant) = handle_option(word).filter(|meant| options.contains(meant)) {
        format!("did you mean `{meant}`?")
    } else if let Some(meant) = nearest(word, &options) {
        format!("did you mean `{meant}`?")
    } else {
        let known = options.join("`, `");
        // On a line of its own: the list alone is as long as a message may be.
        format!("unknown option `{word}`: write one of\n`{known}`")
    }
}

/// Returns the option that a word probably means, if it is one that declares messages for a handle.
pub(super) fn handle_option(word: &str) -> Option<&'static str> {
    let mut options = HANDLE_OPTIONS.iter();
    let (option, _) = options.find(|(_, words)| words.split(' ').any(|known| known == word))?;
    Some(option)
}

/// Returns the type of the library that a word means, also in lower case or by the name of its crate, and its option.
pub(super) fn library_type(word: &str) -> Option<(&'static str, &'static str)> {
    let camel = match word {
        // The crates behind them.
        "serde_json" => "Json".to_owned(),
        "rmp_serde" => "MessagePack".to_owned(),
        "prost" => "Protobuf".to_owned(),
        _ => upper_camel(word),
    };
    let find = |types: &'static str| types.split(' ').find(|ty| ty.eq_ignore_ascii_case(&camel));
    let format = find(FORMATS).map(|ty| ("format", ty));
    format.or_else(|| find(FRAMINGS).map(|ty| ("framing", ty)))
}
