//! Mistakes are reported once, where they are, with their cure; what is accepted compiles.

#[test]
fn mistakes_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/macro_errors/*.rs");
    cases.compile_fail("ui/trait_errors/*.rs");
}
