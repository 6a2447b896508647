//! The corpora of the fuzz targets: each input keeps the promises, also the ones that have once found a fault.

use std::path::Path;

use tcs_fuzz_checks as checks;

/// Replays the inputs of a target.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(target);
    let inputs = std::fs::read_dir(folder).expect("each target has a corpus");
    let mut count = 0;
    for input in inputs {
        let path = input.expect("it can be listed").path();
        // The harness prints it if the check fails.
        println!("{}", path.display());
        check(&std::fs::read(path).expect("it can be read"));
        count += 1;
    }
    assert!(count > 0, "the corpus of `{target}` is empty");
}

macro_rules! corpora {
    ($($target:ident),+ $(,)?) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target), checks::$target::check);
        })+

        #[test]
        fn each_target_is_replayed() {
            let manifest = include_str!("../../Cargo.toml");
            let targets = manifest.lines().filter(|line| *line == "[[bin]]").count();
            assert_eq!(targets, [$(stringify!($target)),+].len());
        }
    };
}

corpora!(
    attributes,
    client,
    formats,
    framings,
    multiplexed,
    proxy,
    server
);
