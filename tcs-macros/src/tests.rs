//! Whatever is under an attribute, the macro does not panic, and its output is items.

use std::str::FromStr as _;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::{File, Item, ItemFn, ItemMod};

use crate::{attribute::expand_attribute, options::Side};

fn server_protocol(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_attribute(Side::Server, options, item)
}

fn client_protocol(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_attribute(Side::Client, options, item)
}

/// Options, and the item under them.
type Seed = (&'static str, &'static str);

const PLAIN_FUNCTION: Seed = ("", "fn greet(name: &str) -> String { name.to_owned() }");
const EVERYTHING: Seed = (
    "Name, framing = Lines, format = Plain, session = a + 1, greeting = \"x\", crate = a::b, \
     push = Event<'_>, is_push = a::b, replies = &(dyn A + 'static), requests = Chunk<'_>",
    "/// Docs.\n pub(crate) async fn f<'a, T: 'a + Store<'a>, const N: usize>(Pair(a, b): Pair<'a, '_>, \
         #[state] s: &'a T, #[state] t: &str, #[state] l: &[[u8; N]], #[state] d: &(dyn A + Send), \
         #[session] x: &mut Vec<u8>, peer: &Peer) -> Result<&'a str, for<'b> fn(&'b str) -> &'b str> \
         where &'a T: Into<u8>, T: 'a { body(); }",
);
const MEMBER: Seed = (
    "blocking",
    "unsafe extern \"C\" fn r#type(self: Box<Self>, _: impl Fn(&str) -> u8) -> !;",
);
const CLIENT_WITH_CLOSURE: Seed = (
    "request = |a: u8, b: &'a str| a + b, server = S<'_>",
    "fn f(reply: u8, a: u8) -> (u8, &str) {}",
);
const UNNAMED_FIELD: Seed = (
    "Name, request = \"Ann\"",
    "pub fn f(reply: &[u8], more: &'static str, _: u8) -> &'static str {}",
);
const REQUEST_HALF: Seed = (
    "reply = String",
    "fn f<'x>(name: &'x str, #[sate] n: u32) -> impl Into<&'x str> { name }",
);
const OPERATIONS: Seed = (
    "format = Json, framing = Lines, session = a, describe",
    "/// Docs.\n #[allow(x)] pub mod m { #![allow(y)] use super::{*, a as b}; pub struct S(u8); \
         #[idempotent] pub fn add(one: u8, #[state] s: &S, #[secret] r#type: &str) -> Option<&'static str> { None } \
         #[secret] #[blocking] pub fn wait<T: Clone, const N: usize>(#[state] t: &[T; N], #[session] x: &mut u8) \
         where T: Send {} \
         pub async fn find<'a>(a: &'a str, #[context] peer: &Peer, c: Cow<'a, str>) -> Found<'a> { x } \
         pub(crate) const unsafe extern \"C\" fn helper() {} macro_rules! m { () => {} } }",
);
const WRONG_OPERATIONS: Seed = (
    "format = Plain",
    "mod m { pub fn connect(_: impl A) -> ! {} pub fn _1(Request: Request); }",
);
const OTHER_SCRIPTS: Seed = (
    "Élan, format = Json",
    "mod größe { pub fn _٣(naïve: &str) -> 数 { 挨拶() } pub fn _·a() {} pub fn 挨拶() {} fn ا() {} }",
);
const DIGIT: Seed = (
    "replies = Row<'a>, pushes = str, requests",
    "fn _٣(数: &str) -> Größe { ا }",
);
const STRUCT: Seed = ("session = , = , , ::", "struct S<'a> { a: &'a str }");
const IMPL: Seed = (
    "framing(x), \"Name\", 'a', 1.5",
    "impl S { fn f(&mut self, x: str, y: &mut dyn A) }",
);

/// The parts of the random inputs.
const SEEDS: &[Seed] = &[
    PLAIN_FUNCTION,
    EVERYTHING,
    MEMBER,
    CLIENT_WITH_CLOSURE,
    UNNAMED_FIELD,
    REQUEST_HALF,
    OPERATIONS,
    WRONG_OPERATIONS,
    OTHER_SCRIPTS,
    DIGIT,
    STRUCT,
    IMPL,
    ("name = r#Name", "fn f(a: u8) {}"),
    (
        "replies = u8",
        "async fn _1(a: u8, out: Replies<'_, u8>) {}",
    ),
    (
        "replies = u8",
        "async fn __(a: u8, out: Replies<'_, __>) {}",
    ),
];

#[test]
fn no_input_makes_the_macro_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let seeds: Vec<(TokenStream, TokenStream)> = SEEDS
        .iter()
        .map(|(options, item)| (tokens(options), tokens(item)))
        .collect();
    let words: Vec<TokenTree> = seeds
        .iter()
        .flat_map(|(options, item)| [flatten(options), flatten(item)].concat())
        .collect();
    for round in 0..20_000 {
        let (options, item) = if let Some(seed) = seeds.get(round) {
            seed.clone()
        } else {
            let (options, _) = random.pick(&seeds);
            let (_, item) = random.pick(&seeds);
            (random.mutate(options, &words), random.mutate(item, &words))
        };
        let is_function = syn::parse2::<ItemFn>(item.clone()).is_ok();
        let is_module = syn::parse2::<ItemMod>(item.clone()).is_ok_and(|module| {
            let items = module.content.map(|(_, items)| items).unwrap_or_default();
            // The test cannot inspect syntax that only rustc's parser knows.
            !items.iter().any(|item| matches!(item, Item::Verbatim(_)))
        });
        for expand in [server_protocol, client_protocol] {
            let output = expand(options.clone(), item.clone());
            if is_function || is_module {
                let file = syn::parse2::<File>(output.clone())
                    .unwrap_or_else(|error| panic!("{error}\n#[x({options})]\n{item}\n{output}"));
                let is_kept = |item: &Item| match item {
                    Item::Fn(_) => is_function,
                    Item::Mod(_) => is_module,
                    _ => false,
                };
                assert!(file.items.iter().any(is_kept), "{output}");
            }
        }
    }
}

#[test]
fn seeds_reach_the_expansion() {
    // Without a mistake there is no `compile_error`, and the type is there.
    for (options, item) in [PLAIN_FUNCTION, EVERYTHING] {
        let output = server_protocol(tokens(options), tokens(item)).to_string();
        assert!(!output.contains("compile_error"), "{output}");
        assert!(output.contains("struct"), "{output}");
    }
    let (options, item) = OPERATIONS;
    let output = server_protocol(tokens(options), tokens(item)).to_string();
    assert!(!output.contains("compile_error"), "{output}");
    for generated in ["Client", "Contract", "Protocol", "Reply", "Request"] {
        assert!(
            output.contains(generated),
            "{generated} is missing: {output}"
        );
    }
    let output = client_protocol(tokens("format = Json"), tokens(item)).to_string();
    assert!(!output.contains("compile_error"), "{output}");
    assert!(!output.contains("Protocol"), "{output}");
    let (options, item) = UNNAMED_FIELD;
    let output = client_protocol(tokens(options), tokens(item)).to_string();
    assert!(
        output.contains("compile_error"),
        "a field has no name: {output}"
    );
}

#[test]
fn errors_of_a_function_are_in_the_order_of_the_source() {
    let wrong = "fn f(a: &mut u8) -> !";
    let function = server_protocol(TokenStream::new(), tokens(&format!("{wrong} {{}}")));
    let module = tokens(&format!("mod m {{ pub {wrong} {{}} }}"));
    for output in [function, server_protocol(tokens("format = Json"), module)] {
        let output = output.to_string();
        let [parameter, result] =
            ["remove `mut`", "instead of `!`"].map(|text| output.find(text).expect("an error"));
        assert!(parameter < result, "{output}");
    }
}

#[test]
fn operation_that_is_half_typed_leaves_the_others() {
    for half in [
        "pub fn ad",
        "pub fn add(on) {}",
        "pub fn add(one: , two: u8) {}",
        "pub fn add(one: u8) -> u8",
        "pub fn add(one: u8) -> ",
        "pub fn add(one: Vec<, two: u8) -> u8 { 1 }",
        "pub fn add(one: u8, two: ) -> u8 { 1 }",
        "pub fn add(&self, one: u8) -> u8 { self.one }",
        "#[blocking] pub fn add(one: u8, #[state] ) {}",
        "pub async",
        "pe",
        "use a::;",
        "struct",
    ] {
        let whole = "pub fn list() -> u8 { 1 }";
        for item in [
            format!("mod m {{ {half} {whole} }}"),
            format!("mod m {{ {whole} {half} }}"),
        ] {
            let output = server_protocol(tokens("format = Json"), tokens(&item)).to_string();
            for kept in ["fn list", "List", "Client", "Protocol", "unimplemented"] {
                assert!(output.contains(kept), "{item}: {kept} is missing: {output}");
            }
        }
    }
}

#[test]
fn function_that_is_half_typed_keeps_its_type() {
    for item in [
        "fn find(a: , #[state] b: &str) {}",
        "fn find(a: &str, #[state] b: &str, #[context] c) {}",
        "fn find(a: &str, #[state] b: &str, #[context]) {}",
        "fn find(a: std::, #[state] b: &str) {}",
        "fn find(#[state] b: &str, a: ) {}",
        "fn find(#[state] b: &str, a: Vec<) {}",
        "fn find(a: HashMap<u8, #[state] b: &str) {}",
        "fn find(a: &str, #[state] b: &str) -> {}",
        "fn find(a: &str, #[state] b: &str) -> Vec< {}",
        "fn find(a: &str, #[state] b: &str)",
        "fn find(a: &str, #[state] b: &str) { b. }",
    ] {
        let output = server_protocol(TokenStream::new(), tokens(item)).to_string();
        for kept in [
            "fn find",
            "struct Find",
            "b : :: std :: string :: String",
            "fn new",
        ] {
            assert!(output.contains(kept), "{item}: {kept} is missing: {output}");
        }
    }
}

/// rust-analyzer completes a word where it is in the expansion; rustc leaves the constant out.
#[test]
fn word_that_is_not_known_is_in_a_path_for_editors() {
    let function = "fn f(a: &str, #[stat] s: &u8) {}";
    let module = "mod m { pub fn f(#[stat] s: &u8) {} }";
    for (side, options, item, paths) in [
        (
            Side::Server,
            "fra",
            "fn f(a: u8) {}",
            &["server_protocol::fra"][..],
        ),
        (
            Side::Server,
            "A, format = B, c",
            "struct S;",
            &["server_protocol::c"],
        ),
        (
            Side::Server,
            "fra",
            "fn f(&self, a: u8) {}",
            &["server_protocol::fra"],
        ),
        (
            Side::Client,
            "re",
            "fn f(a: u8) {}",
            &["client_protocol::re"],
        ),
        (Side::Server, "", function, &["parameter::stat"]),
        (Side::Server, "format = Json", module, &["parameter::stat"]),
        (
            Side::Server,
            "fra",
            function,
            &["server_protocol::fra", "parameter::stat"],
        ),
        (Side::Server, "format = Json", "fn f(a: u8) {}", &[]),
    ] {
        let output = expand_attribute(side, tokens(options), tokens(item)).to_string();
        let mut rest = output.replace(' ', "");
        // The completions come first, for any item.
        for path in paths {
            let constant = format!(
                "#[cfg(false)]constCOMPLETED:()={{use::tcs::__private::options::{path};}};"
            );
            let Some(after) = rest.strip_prefix(&constant) else {
                panic!("{path} is missing: {rest}");
            };
            rest = after.to_owned();
        }
        assert!(!rest.contains("COMPLETED"), "{rest}");
        assert_eq!(rest.contains("compile_error"), !paths.is_empty(), "{rest}");
    }
    let inside = server_protocol(tokens("fra, crate = a::b"), tokens("mod m {}"));
    let path = "use a :: b :: __private :: options :: server_protocol :: fra ;";
    assert!(inside.to_string().contains(path), "{inside}");
}

#[test]
fn request_that_is_half_typed_keeps_its_fields() {
    for request in [
        "request = |a: u8, b: &str| b.",
        "request = move |a: u8, c: , b: &str| a",
        "request = |a: u8, b: &str| f(a, .), framing = A",
        "framing = A, request = |b: &str, a: u8, c| { b + }",
    ] {
        let output = client_protocol(tokens(request), tokens("fn ask(reply: &str) {}")).to_string();
        for kept in ["a : u8", "b : & 'field str", "fn new"] {
            assert!(
                output.contains(kept),
                "{request}: {kept} is missing: {output}"
            );
        }
        assert_eq!(
            output.matches("compile_error").count(),
            1,
            "{request}: {output}"
        );
    }
}

/// rustc has reported that a type ends early, and would again if it were kept at the end of the parameters.
#[test]
fn parameter_that_ends_early_is_left_to_rustc() {
    for parameter in ["a: ", "a: &", "a: Vec<", "a: std::", "#[state] a: &Vec<"] {
        let item = format!("fn find(_: u8, {parameter}) {{ body(a) }}");
        let output = server_protocol(TokenStream::new(), tokens(&item)).to_string();
        assert!(!output.contains("compile_error"), "{item}: {output}");
        let file = syn::parse2::<File>(tokens(&output));
        assert!(file.is_ok(), "{item}: {output}");
    }
}

#[test]
fn what_does_not_parse_is_one_error() {
    for (side, options, item) in [
        (Side::Server, "", "fn f(a: &str) -> impl {}"),
        (
            Side::Server,
            "",
            "fn f(a: &str) -> Box<dyn Future<Output = >> {}",
        ),
        (Side::Server, "", "fn f(a: impl, #[state] b: &impl) {}"),
        (
            Side::Server,
            "format = Json",
            "mod m { pub fn f(a: impl) -> u8 { 1 } }",
        ),
        (
            Side::Server,
            "format = Json",
            "mod m { pub fn f() -> impl {} }",
        ),
        (Side::Client, "reply = u8", "fn f(a: impl) -> u8 { 1 }"),
        (Side::Client, "request = 1", "fn f(a: impl) -> u8 { 1 }"),
        (
            Side::Client,
            "request = |a: u8| a",
            "fn f(r: u8, a: Vec<>>) {}",
        ),
    ] {
        let output = expand_attribute(side, tokens(options), tokens(item)).to_string();
        // Each parameter that does not parse is an error of its own.
        let wrong = item.matches("impl").count().max(1);
        assert_eq!(
            output.matches("compile_error").count(),
            wrong,
            "{item}: {output}"
        );
    }
}

/// rustc parses an item before it expands the attribute, so it has reported the name.
#[test]
fn function_without_a_name_is_left_to_rustc() {
    for half in [
        "pub fn () {}",
        "pub fn type() {}",
        "fn _() {}",
        "pub async fn",
    ] {
        let module = tokens(&format!("mod m {{ {half} pub fn list() -> u8 {{ 1 }} }}"));
        for output in [
            server_protocol(tokens("format = Json"), module),
            server_protocol(TokenStream::new(), tokens(half)),
        ] {
            let output = output.to_string();
            assert!(!output.contains("compile_error"), "{output}");
            assert!(output.contains(&tokens(half).to_string()), "{output}");
        }
    }
}

/// The request may be the parameter that is not complete.
#[test]
fn request_is_not_missing_beside_a_parameter_that_is_half_typed() {
    for (side, options, item) in [
        (Side::Server, "", "fn f(a) {}"),
        (Side::Server, "", "fn f(#[state] b: &u8, a) {}"),
        (Side::Client, "request = 1", "fn f(a) {}"),
    ] {
        let output = expand_attribute(side, tokens(options), tokens(item)).to_string();
        assert!(!output.contains("compile_error"), "{item}: {output}");
    }
    let missing = server_protocol(TokenStream::new(), tokens("fn f(#[state] b: &u8) {}"));
    assert!(missing.to_string().contains("the request is missing"));
}

#[test]
fn idempotent_operation_may_be_repeated_over_channels() {
    let module = tokens("mod m { #[idempotent] pub fn f() {} pub fn g() {} }");
    for expand in [server_protocol, client_protocol] {
        let output = expand(tokens("format = Json"), module.clone()).to_string();
        // The library adds the call to the methods over channels.
        let method = output.split("f () -> (()) ,").nth(1).expect("a method");
        let (f, g) = method.split_once("g () -> (()) ,").expect("two methods");
        assert!(f.contains("[. idempotent ()]"), "{f}");
        assert!(!g.contains("idempotent"), "{g}");
        // rustc would not know it.
        assert!(!output.contains("# [idempotent]"), "{output}");
    }
}

#[test]
fn private_function_stays_at_a_client_if_it_is_named() {
    for (item, stays) in [
        ("struct S { #[serde(default = \"one\")] a: u8 }", true),
        ("struct S { #[serde(default = \"self::one\")] a: u8 }", true),
        ("struct S { #[serde(default = \"one::<u8>\")] a: u8 }", true),
        ("#[serde(default = r\"one\")] struct S(u8);", true),
        ("#[serde(default = \"one::other\")] struct S(u8);", false),
        ("const WORD: &str = \"one\";", false),
        ("fn two() { log(\"one\"); }", false),
        ("impl S { #[allow(x)] fn two() { log(\"one\"); } }", false),
        ("impl S { fn two() { self::one() } }", true),
        ("const ONE: fn() -> u8 = one;", true),
        ("fn two() -> u8 { one() }", false),
        (
            "fn two() -> u8 { one() } impl S { fn three() { two() } }",
            true,
        ),
        ("/// It's \"one.\n struct S;", false),
        ("struct S { one: u8 }", false),
        ("impl S { fn two(&self) { self.one; self.one() } }", false),
        ("impl S { fn two(one: u8) {} }", false),
        ("impl S { fn two() { 0..one(); } }", true),
        ("impl S { fn two() { one::<u8>() } }", true),
        ("impl S { fn two() { Self { a: one() } } }", true),
    ] {
        let module = format!("mod m {{ {item} fn one() -> u8 {{ 1 }} pub fn add() {{}} }}");
        let output = client_protocol(tokens("format = Json"), tokens(&module)).to_string();
        assert_eq!(output.contains("fn one ()"), stays, "{item}");
    }
}

/// The enums, the contract and the options name it there too.
#[test]
fn private_function_stays_at_a_client_if_a_message_or_an_option_names_it() {
    for (options, operation, stays) in [
        ("", "pub fn f(a: [u8; one()]) {}", true),
        ("", "pub fn f() -> [u8; one()] {}", true),
        ("", "#[replies([u8; one()])] pub async fn f() {}", true),
        ("", "#[requests([u8; one()])] pub async fn f() {}", true),
        ("framing = Delimited<{ one() }>", "pub fn f() {}", true),
        ("push = [u8; one()]", "pub fn f() {}", true),
        ("push = u8, is_push = one", "pub fn f() {}", true),
        // A client has none of these.
        ("", "pub fn f(#[state] a: &[u8; one()]) {}", false),
        ("", "pub fn f(one: u8) { one() }", false),
    ] {
        let module = format!("mod m {{ const fn one() -> usize {{ 1 }} {operation} }}");
        let options = format!("format = Json, {options}");
        let output = client_protocol(tokens(&options), tokens(&module)).to_string();
        let is_there = output.contains("const fn one ()");
        assert_eq!(is_there, stays, "{options}: {operation}");
    }
}

#[test]
fn check_of_an_option_is_made_once() {
    for (side, options, item, check) in [
        (Side::Server, "framing = A", FUNCTION, "server_error"),
        (Side::Server, "format = A", FUNCTION, "server_error"),
        (Side::Server, "format = A", STATE, "server_error"),
        (Side::Server, "format = A", GENERIC, "server_error"),
        (Side::Server, "framing = A", STATE, "server_error"),
        (
            Side::Server,
            "reject_with = a",
            FUNCTION,
            "reject_with_error",
        ),
        (Side::Server, "reject_with = a", STATE, "reject_with_error"),
        (
            Side::Server,
            "reject_with = a",
            GENERIC,
            "reject_with_error",
        ),
        (
            Side::Server,
            "format = A, reject_with = a",
            STATE,
            "reject_with_error",
        ),
        (
            Side::Client,
            "format = A, request = 1",
            "fn f(r: u8) {}",
            "client_error",
        ),
        (
            Side::Client,
            "format = A, request = |a: S| a",
            "fn f(r: u8) {}",
            "client_error",
        ),
    ] {
        let output = expand_attribute(side, tokens(options), tokens(item)).to_string();
        assert!(!output.contains("compile_error"), "{output}");
        let found = output.matches(&format!(":: {check} :: <")).count();
        assert_eq!(found, 1, "{options}: {item}: {output}");
    }
}

const FUNCTION: &str = "fn f(a: u8) {}";
const STATE: &str = "fn f(a: u8, #[state] s: &S) {}";
const GENERIC: &str = "fn f<S: Store>(a: u8, #[state] s: &S) {}";

/// A connection keeps the memory of the handle.
#[test]
fn session_has_the_handle_for_events_if_it_names_it() {
    for (session, parameter, has_handle) in [
        ("User::new(push)", "", true),
        ("User { push }", "", true),
        ("User { events: push.clone() }", "", true),
        ("{ let all = ..push; all }", "", true),
        ("{ let mut v = Vec::new(); v.push(0); v }", "", false),
        ("a.push.b", "", false),
        ("queue::push()", "", false),
        // The state hides it, as one of the name `peer` hides the peer.
        ("User::new(push)", "#[state] push: &S,", false),
    ] {
        let options = format!("push = u8, session = {session}");
        let function = format!("fn f(a: u8, {parameter} #[session] s: &mut User) {{}}");
        let output = server_protocol(tokens(&options), tokens(&function)).to_string();
        assert!(!output.contains("compile_error"), "{output}");
        let found = output.contains("ConnectionInfo :: push ::");
        assert_eq!(found, has_handle, "{options}: {output}");
    }
}

/// Each check is work for the compiler.
#[test]
fn argument_that_is_data_is_not_checked() {
    for (ty, is_checked) in [
        ("u8", false),
        ("String", false),
        ("&str", false),
        ("&Own", false),
        ("SocketAddr", false),
        ("Own", true),
        ("Vec<u8>", true),
    ] {
        let module = tokens(&format!("mod m {{ pub fn f(a: {ty}) {{}} }}"));
        let output = server_protocol(tokens("format = Json"), module).to_string();
        assert_eq!(output.contains("ExtractorCheck"), is_checked, "{ty}");
    }
}

#[test]
fn name_of_a_generated_type_is_refused_where_it_means_one() {
    let by_a_path = "name yours by a path";
    let parameter = "rename the parameter";
    for (operation, errors) in [
        ("f(#[state] s: &dyn Handler<Reply = String>)", &[][..]),
        ("f(#[state] s: &(dyn Handler<Reply: Send> + Send))", &[]),
        ("f<S: Service<Request = u8>>(#[state] s: &S)", &[]),
        ("f<S>(#[state] s: &S) where S: Service<Request = u8>", &[]),
        ("f(#[state] s: &dyn Handler<Reply = Reply>)", &[by_a_path]),
        ("f(a: Vec<Request>) -> Reply", &[by_a_path, by_a_path]),
        ("f<S>(#[state] s: &S) where Client: Into<S>", &[by_a_path]),
        ("f(Request: u8)", &[parameter]),
        ("f(Request: Reply)", &[parameter, by_a_path]),
        ("f<Client>(#[state] s: &Client)", &[parameter]),
        ("f<Client: Clone>(#[state] s: &Client)", &[parameter]),
        (
            "f<S, Reply>(#[state] s: &(S, Reply)) where Reply: Send",
            &[parameter],
        ),
    ] {
        let module = tokens(&format!("mod m {{ pub fn {operation} {{}} }}"));
        for expand in [server_protocol, client_protocol] {
            let output = expand(tokens("format = Json"), module.clone()).to_string();
            let found = output.matches("compile_error").count();
            assert_eq!(found, errors.len(), "{operation}: {output}");
            for error in errors {
                assert!(output.contains(error), "{operation}: {error}: {output}");
            }
        }
    }
}

#[test]
fn handle_is_named_after_its_protocol() {
    for (items, wrong) in [
        ("pub fn follow(push: Push<Protocol>) {}", 0),
        ("pub fn follow(push: Push<Follow>) {}", 1),
        ("pub fn follow(push: Push<M>) {}", 1),
        ("pub fn follow(push: Push<&str>) {}", 1),
        ("pub fn follow(push: Push<follow>) {}", 1),
        ("pub fn f(#[state] all: &Mutex<Vec<PushGroup<M>>>) {}", 1),
        ("pub fn f() {} fn tell(all: &PushGroup<M>) {}", 1),
        // Another protocol.
        (
            "use super::Follow; pub fn follow(#[state] all: &PushGroup<Follow>) {}",
            0,
        ),
        (
            "use super::*; pub fn follow(#[state] all: &PushGroup<Follow>) {}",
            0,
        ),
        (
            "use super::{*, Db}; pub fn follow(#[state] all: &PushGroup<Follow>) {}",
            0,
        ),
        (
            "pub fn follow(#[state] all: &PushGroup<super::Follow>) {}",
            0,
        ),
        (
            "#[replies(u8)] pub async fn rows(out: Replies<'_, Rows>) {}",
            0,
        ),
        (
            "#[replies(u8)] pub async fn rows(out: Replies<'_, u8>) {}",
            1,
        ),
        (
            "#[replies(u8)] pub async fn rows(out: Replies<'_, Protocol>) {}",
            1,
        ),
    ] {
        let module = tokens(&format!("mod m {{ {items} }}"));
        let output = server_protocol(tokens("format = Json, push = &str"), module).to_string();
        let found = output.matches("compile_error").count();
        assert_eq!(found, wrong, "{items}: {output}");
        assert_eq!(output.matches("is named after").count(), wrong, "{output}");
    }
}

#[test]
fn type_named_like_a_generated_one_is_refused_once() {
    for (items, found) in [
        (
            "enum Reply { Yes } fn yes() -> Reply { Reply::Yes } pub fn f() -> Reply { yes() }",
            1,
        ),
        ("struct Client; trait Protocol {} pub fn f() {}", 2),
        ("struct Client; pub fn f(Reply: Client) {}", 2),
        ("mod Contract {} union Reply { a: u8 } pub fn f() {}", 2),
        (
            "mod inner { pub struct Reply; } pub fn f() -> inner::Reply { inner::Reply }",
            0,
        ),
    ] {
        let module = tokens(&format!("mod m {{ {items} }}"));
        let output = server_protocol(tokens("format = Json"), module).to_string();
        assert_eq!(
            output.matches("compile_error").count(),
            found,
            "{items}: {output}"
        );
    }
}

#[test]
fn half_close_is_for_async_functions_in_modules_too() {
    for (operations, is_refused) in [
        ("pub fn f() {}", true),
        ("#[blocking] pub fn f() {} pub fn g() {}", true),
        ("pub fn f() {} async fn helper() {}", true),
        ("pub fn f() {} pub async fn g() {}", false),
    ] {
        let module = tokens(&format!("mod m {{ {operations} }}"));
        let output = server_protocol(tokens("format = Json, half_close = ends"), module);
        let output = output.to_string();
        assert_eq!(output.contains("compile_error"), is_refused, "{operations}");
        assert_eq!(
            output.contains("`half_close` is for"),
            is_refused,
            "{output}"
        );
    }
}

#[test]
fn handle_that_waits_is_for_an_async_function() {
    for (option, function, is_refused) in [
        ("replies = u8", "fn f(a: u8, out: Replies<'_, F>) {}", true),
        (
            "requests = u8",
            "fn f(a: u8, more: p::Requests<'_, F>) {}",
            true,
        ),
        (
            "replies = u8",
            "async fn f(a: u8, out: Replies<'_, F>) {}",
            false,
        ),
        // A blocking function may wait, because it has its own thread.
        (
            "replies = u8, blocking",
            "fn f(a: u8, out: Replies<'_, F>) {}",
            false,
        ),
        (
            "replies = u8",
            "fn f(a: u8, out: Replies<'_, Other>) {}",
            false,
        ),
        // rustc reports it.
        (
            "replies = u8",
            "fn f(a: u8, out: Replies<'_, F>) { out.send(a).await; }",
            false,
        ),
        ("push = u8", "fn f(a: u8, push: Push<F>) {}", false),
    ] {
        let output = server_protocol(tokens(option), tokens(function)).to_string();
        assert_eq!(
            output.contains("waits for the peer"),
            is_refused,
            "{output}"
        );
    }
    let module = tokens("mod m { #[replies(u8)] pub fn f(out: Replies<'_, F>) {} }");
    let output = server_protocol(tokens("format = Json"), module).to_string();
    assert!(output.contains("`Replies` waits for the peer"), "{output}");
    // A client only declares it.
    let module = tokens("mod m { #[replies(u8)] pub fn f(out: Replies<'_, F>) {} }");
    let output = client_protocol(tokens("format = Json"), module).to_string();
    assert!(!output.contains("waits for the peer"), "{output}");
}

#[test]
fn operation_with_chunks_keeps_its_framing() {
    for (operations, is_refused) in [
        (
            "#[requests(u8)] pub async fn f(#[framing] a: &mut A) {}",
            true,
        ),
        (
            "#[requests(u8)] pub async fn f() {} pub fn g(#[framing] a: &mut A) {}",
            false,
        ),
    ] {
        let module = tokens(&format!("mod m {{ {operations} }}"));
        let output = server_protocol(tokens("format = Json, framing = A"), module).to_string();
        assert_eq!(output.contains("compile_error"), is_refused, "{operations}");
        assert_eq!(
            output.contains("chunks are read while"),
            is_refused,
            "{output}"
        );
    }
}

/// rustc knows them, so they stay at the parameter and are no helper attributes.
#[test]
fn attribute_of_rust_stays_at_its_parameter() {
    for attr in [
        "allow(unused)",
        "deny(unused)",
        "doc = \"text\"",
        "expect(unused)",
        "forbid(unused)",
        "warn(unused)",
        "cfg_attr(unix, allow(unused))",
    ] {
        let function = format!("fn f(a: u8, #[{attr}] #[state] b: &u8) {{}}");
        let output = server_protocol(TokenStream::new(), tokens(&function)).to_string();
        assert!(!output.contains("compile_error"), "{output}");
        let kept = tokens(&format!("#[{attr}] b: &u8")).to_string();
        assert!(output.contains(&kept), "{kept} is missing: {output}");
    }
}

fn tokens(text: &str) -> TokenStream {
    TokenStream::from_str(text).expect("tokens")
}

/// Returns all tokens, those inside of groups too.
fn flatten(tokens: &TokenStream) -> Vec<TokenTree> {
    tokens
        .clone()
        .into_iter()
        .flat_map(|token| {
            let mut all = vec![token.clone()];
            if let TokenTree::Group(group) = &token {
                all.extend(flatten(&group.stream()));
            }
            all
        })
        .collect()
}

/// A generator that gives the same inputs on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn pick<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.below(list.len())]
    }

    /// Removes, repeats, replaces and inserts a few tokens, at any depth.
    fn mutate(&mut self, tokens: &TokenStream, words: &[TokenTree]) -> TokenStream {
        let mut output = Vec::new();
        for token in tokens.clone() {
            match self.below(40) {
                0 => {}
                1 => output.extend([token.clone(), token]),
                2 => output.push(self.pick(words).clone()),
                3 => output.extend([self.pick(words).clone(), token]),
                4 => output.push(TokenTree::Group(Group::new(Delimiter::None, token.into()))),
                _ => output.push(match token {
                    TokenTree::Group(group) => {
                        let inner = self.mutate(&group.stream(), words);
                        TokenTree::Group(Group::new(group.delimiter(), inner))
                    }
                    other => other,
                }),
            }
        }
        output.into_iter().collect()
    }
}
