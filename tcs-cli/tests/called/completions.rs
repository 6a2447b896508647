//! Completion in a real shell.

use std::process::Stdio;

use tcs::ConcurrentServer;
use tcs_tests::{Scratch, patiently, process::is_missing, start, within};
use tokio::process::Command;

use crate::{describe::json_bank, listening, printed, ran, scripted};

/// Returns what bash completes a line with: the words, and whether file names may come after them.
async fn completed(line: &str) -> Vec<String> {
    let script = Scratch::new(&printed(ran(&["completions", "bash"]).await).join("\n"));
    // As readline does it: a colon and a space part words.
    let test = r#"source "$1"
        compopt() { echo "compopt $*"; }
        COMP_LINE=$2 COMP_POINT=${#2}
        read -ra COMP_WORDS <<< "${2//:/ : }"
        COMP_WORDS[0]=$3
        [[ $2 == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        function=$(complete -p tcs)
        function=${function#*-F }
        "${function%% *}" "$3" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", test, "bash", script.path(), line]);
    command.arg(env!("CARGO_BIN_EXE_tcs")).stdin(Stdio::null());
    let output = within(command.output()).await.expect("there is bash");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let words = String::from_utf8(output.stdout).expect("it prints text");
    words.lines().map(str::to_owned).collect()
}

const NO_FILES: &str = "compopt +o default +o bashdefault";

#[tokio::test]
async fn bash_completes_the_operations_of_a_server() {
    let server = start(ConcurrentServer::new(json_bank::Protocol)).await;
    let address = server.addr();
    for (line, expected) in [
        ("--format json -o ", &["withdraw", "balance"][..]),
        ("--operation ", &["withdraw", "balance"]),
        ("-f 'length-prefixed' -o wi", &["withdraw"]),
    ] {
        let line = format!("tcs call {address} {line}");
        let expected = [&[NO_FILES], expected].concat();
        // A second may be too short for a machine with much to do.
        let all = async { while completed(&line).await != expected {} };
        patiently(all).await;
    }
    let options = completed(&format!("tcs call {address} --oper")).await;
    assert_eq!(options, ["--operation"]);
    server.stopped().await;
}

/// Returns what zsh shows for a line, whose words are at its end, and for a tab.
async fn listed(line: &str) -> String {
    let script = Scratch::new(&printed(ran(&["completions", "zsh"]).await).join("\n"));
    // The last key is read once the list is there.
    let test = r#"zmodload zsh/zpty
        path=(${3:h} $path)
        zpty shell zsh -f -i
        zpty -w shell "autoload -Uz compinit; compinit -u -D; source $1; LISTMAX=0
            listed() { print 'LIST''ED' }; zle -N listed; bindkey '^X' listed '^I' list-choices"
        zpty -w -n shell "$2"$'\t\x18'
        zpty -r -m shell shown '*LISTED*'
        print -r -- "$shown""#;
    let mut command = Command::new("zsh");
    command.args(["-f", "-c", test, "zsh", script.path(), line]);
    command.arg(env!("CARGO_BIN_EXE_tcs")).stdin(Stdio::null());
    command.env("TERM", "dumb").kill_on_drop(true);
    let output = within(command.output()).await.expect("there is zsh");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn zsh_completes_the_operations_of_a_server_and_no_option_is_an_error() {
    if is_missing("zsh") {
        return;
    }
    let server = start(ConcurrentServer::new(json_bank::Protocol)).await;
    let line = format!("tcs call {} --format json -o ", server.addr());
    // A second may be too short for a machine with much to do.
    let all = async { while !listed(&line).await.contains("withdraw") {} };
    patiently(all).await;
    server.stopped().await;
    for option in ["--proxy", "--timeout", "--server-name"] {
        let shown = listed(&format!("tcs call localhost:1 {option} ")).await;
        assert!(!shown.contains("not found"), "{shown}");
    }
    // A colon would part the name of a value from the command that completes it.
    for line in printed(ran(&["completions", "zsh"]).await) {
        let option = line.strip_prefix('\'').filter(|it| !it.starts_with(':'));
        let option = option.and_then(|it| it.split_once("]:"));
        if let Some((_, of_value)) = option {
            let parts = of_value.replace("\\:", "").matches(':').count();
            assert_eq!(parts, 1, "{line}");
        }
    }
}

#[tokio::test]
async fn bash_is_silent_without_a_server_and_runs_nothing_of_it() {
    let (_listener, silent) = listening().await;
    for line in [
        "tcs call 127.0.0.1:1 -o ".to_owned(),
        format!("tcs call {silent} -o "),
        "tcs call -o ".to_owned(),
    ] {
        assert_eq!(completed(&line).await, [NO_FILES, ""], "{line}");
    }
    let run = Scratch::absent();
    let names = format!(
        r#"send {{"describe":"{{\"protocol\":\"Bank\",\"operations\":[{{\"name\":\"$(>{0})\"}},{{\"name\":\"`>{0}`\"}},{{\"name\":\"fine\"}}]}}"}}"#,
        run.path()
    );
    let peer = scripted(&format!("expect-any\n{names}"), &["--format", "json"]).await;
    let line = format!("tcs call {} --format json -o ", peer.address);
    assert_eq!(completed(&line).await, [NO_FILES, "fine"]);
    assert!(!run.exists());
    peer.followed().await;
}
