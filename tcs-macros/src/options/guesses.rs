//! Guesses the meaning of a word that is not an option.

use proc_macro2::Ident;
use syn::{Token, parse::ParseStream};

use super::{Side, spec::OptionSpec};
use crate::syntax::{at_element_end, nearest, upper_camel};

/// The settings, which are methods of servers and clients.
const SETTINGS: &str = "\
    address at_capacity connect_timeout drain_timeout frame_timeout half_close_timeout handshake \
    handshake_timeout host idle_timeout keepalive_timeout lame_duck linger listener max_blocking \
    max_connection_age max_connections max_connections_per_address max_frame_len max_in_flight \
    max_in_flight_per_address max_pipelined_requests max_push_queue max_queue_time \
    max_queued_events max_reply_len max_request_rate_per_address max_requests_per_connection memory_budget notify_systemd on_accept \
    on_listening options port push_overflow reply_timeout request_timeout reuse_port \
    start_tls tls write_timeout";

/// The types of the library that a single word names.
const FORMATS: &str = "Json MessagePack Plain Postcard Protobuf";
const FRAMINGS: &str = "CodeLines ContentLength CrlfLines CrlfText Hex4 LengthPrefixed Lines Multiplexed Netstrings Raw UntilEof Varint Verbatim";

/// Other words for the options that declare messages beside the request and the reply.
const SYNONYMS: &[(&str, &str)] = &[
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

/// The helper attributes of parameters that have no option of their name.
const HELPERS: &[&str] = &["context", "secret", "state"];

/// Returns the option that a word before `rest` probably means.
pub(super) fn meant(side: Side, word: &str, rest: ParseStream<'_>) -> Option<&'static OptionSpec> {
    if SETTINGS.split(' ').any(|setting| setting == word) || HELPERS.contains(&word) {
        return None;
    }
    if at_element_end(rest)
        && let Some((option, _)) = library_type(word)
    {
        return side.option(option);
    }
    let names: Vec<_> = side.options().iter().map(|option| option.text).collect();
    let is_meant = |(option, words): &&(_, &str)| {
        names.contains(option) && words.split(' ').any(|other| other == word)
    };
    let synonym = SYNONYMS.iter().find(is_meant).map(|(option, _)| *option);
    let near = synonym.or_else(|| nearest(word, &names));
    let name = near.or_else(|| library_value(&rest.fork()))?;
    side.option(name)
}

/// Returns the option that a value `= Json` is for.
fn library_value(input: ParseStream<'_>) -> Option<&'static str> {
    input.parse::<Token![=]>().ok()?;
    let value: Ident = input.parse().ok()?;
    let (option, _) = library_type(&value.to_string())?;
    at_element_end(input).then_some(option)
}

/// Returns the error for a word before `rest` that is neither an option nor the name. `name` is an earlier word that
/// was taken for the name, and `meant` is the option that the word probably means.
pub(super) fn unknown(
    side: Side,
    name: Option<&Ident>,
    word: &str,
    meant: Option<&OptionSpec>,
    rest: ParseStream<'_>,
) -> String {
    let is_option = |side: &Side| side.option(word).is_some();
    let is_option = [Side::Server, Side::Client].iter().any(is_option);
    let end = format!("_{word}");
    let is_setting = |setting: &&str| !is_option && setting.ends_with(&end);
    let is_common = |setting: &&str| setting.starts_with("request_");
    let settings = SETTINGS.split(' ');
    let (is_alone, attribute) = (at_element_end(rest), side.attribute());
    if is_alone && let Some((option, ty)) = library_type(word) {
        format!("`{ty}` is a {option}: write `{option} = {ty}`")
    } else if is_alone && word.starts_with(char::is_uppercase) {
        match name {
            Some(name) => format!("the type has the name `{name}` already: remove this one"),
            None => format!("the name comes first: write `{attribute}({word}, …)`"),
        }
    } else if HELPERS.contains(&word) {
        format!("`{word}` is for a parameter: write `#[{word}]` before it")
    } else if let Some(meant) = meant {
        format!("did you mean `{}`?", meant.text)
    } else if settings.clone().any(|setting| setting == word) {
        format!("`{word}` is a setting: call `.{word}(…)` on the server or the client")
    } else if let Some(setting) = settings.filter(is_setting).max_by_key(is_common) {
        format!(
            "a setting is a method: call `.{setting}(…)` or the like on the server or the client"
        )
    } else {
        let options: Vec<_> = side.options().iter().map(|option| option.text).collect();
        let known = options.join("`, `");
        // The list has its own line, because it alone is as long as a message may be.
        format!("unknown option `{word}`: write one of\n`{known}`")
    }
}

/// Returns the type of the library that a word means, also in lower case or by the name of its crate, and its option.
pub(super) fn library_type(word: &str) -> Option<(&'static str, &'static str)> {
    let camel = match word {
        // The crates of these formats.
        "serde_json" => "Json".to_owned(),
        "rmp_serde" => "MessagePack".to_owned(),
        "prost" => "Protobuf".to_owned(),
        _ => upper_camel(word),
    };
    let find = |types: &'static str| types.split(' ').find(|ty| ty.eq_ignore_ascii_case(&camel));
    let format = find(FORMATS).map(|ty| ("format", ty));
    format.or_else(|| find(FRAMINGS).map(|ty| ("framing", ty)))
}
