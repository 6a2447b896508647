//! What pages link to, and the files that they name.

use super::{FOLDERS, check_link, files, links, read, root};

#[test]
fn links_and_files_of_each_page_exist() {
    let mut found = 0;
    for page in FOLDERS.iter().flat_map(|folder| files(folder, "md")) {
        let text = read(&page);
        let code = text.split('`').skip(1).step_by(2);
        for name in code.filter(|code| code.starts_with("examples/")) {
            assert!(root().join(name).exists(), "{}: {name}", page.display());
            found += 1;
        }
        for link in links(&text) {
            check_link(&page, link);
            found += 1;
        }
    }
    assert!(found >= 200, "only {found}");
}

#[test]
fn each_example_is_in_the_list() {
    let list = read(&root().join("examples/README.md"));
    for example in files("examples", "rs") {
        let name = example.file_stem().expect("a name").to_string_lossy();
        assert!(
            name == "lib" || list.contains(&format!("`{name}`")),
            "{name}"
        );
    }
}
