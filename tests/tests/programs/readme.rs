//! The README and the pages of `docs` show the programs that there are, and these print what the pages say.
//!
//! The programs of the README are compiled as documentation tests of the crate as well.

use tcs_tests::process::{Process, connect, is_missing, port_1234};

const README: &str = include_str!("../../../README.md");
const TARPC: &str = include_str!("../../../docs/tarpc.md");
const ADDRESS: (&str, u16) = ("127.0.0.1", 1234);

/// Returns the fenced blocks of a page: the language and the text of each.
fn blocks(page: &'static str) -> Vec<(&'static str, &'static str)> {
    let fenced = page.split("```").skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').expect("a language"))
        .collect()
}

/// Returns the lines of the first block after the one with the text `before`.
fn block_after(page: &'static str, before: &str) -> Vec<&'static str> {
    let blocks = blocks(page);
    let place = blocks.iter().position(|(_, text)| *text == before);
    let (_, text) = blocks[place.unwrap_or_else(|| panic!("no block {before:?}")) + 1];
    text.lines().collect()
}

#[test]
fn programs_are_those_of_the_examples() {
    let pages = [
        (
            README,
            vec![
                include_str!("../../../examples/greet_server.rs"),
                include_str!("../../../examples/channel.rs"),
                include_str!("../../../examples/greet_client.rs"),
                include_str!("../../../examples/shop.rs"),
                include_str!("../../../examples/room.rs"),
            ],
        ),
        (
            TARPC,
            vec![
                include_str!("../../../examples/world.rs"),
                include_str!("../../../benches/peers/examples/world.rs"),
            ],
        ),
    ];
    for (page, programs) in pages {
        let programs: Vec<_> = programs
            .iter()
            .map(|program| {
                let header = program.lines().take_while(|line| !line.is_empty());
                let header: usize = header.map(|line| line.len() + 1).sum();
                &program[header + 1..]
            })
            .collect();
        let shown: Vec<_> = blocks(page)
            .into_iter()
            .filter(|(language, _)| language.starts_with("rust"))
            .map(|(_, text)| text)
            .collect();
        assert_eq!(shown, programs);
    }
}

#[test]
fn programs_are_short() {
    for (name, most) in [
        ("greet", 10),
        ("print_reply", 10),
        ("greeting", 15),
        ("room", 25),
    ] {
        let blocks = blocks(README);
        let function = format!("\nfn {name}(");
        let (_, text) = blocks
            .iter()
            .find(|(_, text)| text.contains(&function))
            .expect("it is shown");
        let code = text.lines().filter(|line| !line.trim().is_empty());
        assert!(code.count() <= most, "{text}");
    }
}

#[tokio::test]
async fn hello_prints_what_is_shown() {
    let printed = Process::example("hello").finished().await.succeeded();
    assert_eq!(printed, block_after(README, "cargo run --example hello\n"));
}

#[tokio::test]
async fn client_prints_what_is_shown() {
    let _port = port_1234().await;
    let server = Process::example("greet_server");
    drop(connect(ADDRESS).await);
    let client = Process::example("greet_client");
    let program = include_str!("../../../examples/greet_client.rs");
    let (_, program) = program.split_once("\n\n").expect("a header");
    assert_eq!(
        client.finished().await.succeeded(),
        block_after(README, program)
    );
    server.interrupt().await;
    server.finished().await.succeeded();
}

#[tokio::test]
async fn nc_prints_what_is_shown() {
    const COMMAND: &str = "printf 'Ann\\n' | nc -N localhost 1234";
    assert!(include_str!("../../../examples/lines.rs").contains(COMMAND));
    if is_missing("nc") {
        return;
    }
    let _port = port_1234().await;
    let server = Process::example("lines");
    drop(connect(ADDRESS).await);
    let printed = Process::start("sh", ["-c", COMMAND]).finished().await;
    assert_eq!(printed.succeeded(), ["Hello, Ann!"]);
    server.interrupt().await;
    server.finished().await.succeeded();
}
