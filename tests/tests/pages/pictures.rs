//! The pictures of the guide, which are drawn from text.

use std::{collections::BTreeMap, env, fmt::Write as _, fs};

use super::files;

/// How far the middles of boxes are from each other.
const COLUMN: i32 = 330;
const ROW: i32 = 90;
/// The height of a box.
const HEIGHT: i32 = 46;

/// A box: its middle, its width and its text.
#[derive(Clone, Copy)]
struct Cell<'a> {
    x: i32,
    y: i32,
    width: i32,
    text: &'a str,
}

impl<'a> Cell<'a> {
    fn new(column: &str, row: &str, text: &'a str) -> Self {
        let place = |number: &str| number.parse::<i32>().expect("a number");
        let longest = text.split(" / ").map(|line| line.chars().count()).max();
        Self {
            x: 140 + COLUMN * place(column),
            y: 40 + ROW * place(row),
            width: 24 + 7 * i32::try_from(longest.unwrap_or_default()).expect("a short text"),
            text,
        }
    }

    fn draw(&self, svg: &mut String) {
        let Self { x, y, width, text } = self;
        let is_question = text.ends_with('?');
        let (radius, fill) = if is_question {
            (23, "#fff8dc")
        } else {
            (6, "#eef3f8")
        };
        let (left, top) = (x - width / 2, y - HEIGHT / 2);
        rule(
            svg,
            &format!(
                r##"<rect x="{left}" y="{top}" width="{width}" height="{HEIGHT}" rx="{radius}" fill="{fill}" stroke="#555"/>"##
            ),
        );
        let lines: Vec<_> = text.split(" / ").collect();
        let first = y + 5 - 8 * (i32::try_from(lines.len()).expect("few lines") - 1);
        for (line, y) in lines.iter().zip((first..).step_by(16)) {
            rule(svg, &format!(r#"<text x="{x}" y="{y}">{line}</text>"#));
        }
    }
}

fn rule(svg: &mut String, line: &str) {
    writeln!(svg, "{line}").expect("a string takes everything");
}

/// Draws an arrow, with its label where it begins.
fn connect(from: &Cell<'_>, to: &Cell<'_>, label: &str, svg: &mut String) {
    let right = from.x + from.width / 2;
    let (path, x, y) = if from.y == to.y {
        let end = to.x - to.width / 2;
        (
            format!("M{right} {}H{end}", from.y),
            i32::midpoint(right, end),
            from.y - 6,
        )
    } else if from.x == to.x && to.y > from.y {
        let (start, end) = (from.y + HEIGHT / 2, to.y - HEIGHT / 2);
        (
            format!("M{} {start}V{end}", from.x),
            from.x,
            i32::midpoint(start, end) + 4,
        )
    } else if from.x == to.x {
        // Back, on the left of everything.
        let (start, end) = (from.x - from.width / 2, to.x - to.width / 2);
        (format!("M{start} {}H15V{}H{end}", from.y, to.y), 15, to.y)
    } else {
        let (start, end) = (from.y + HEIGHT / 2, to.x + to.width / 2);
        (format!("M{} {start}V{}H{end}", from.x, to.y), from.x, to.y)
    };
    rule(
        svg,
        &format!(r##"<path d="{path}" fill="none" stroke="#555" marker-end="url(#end)"/>"##),
    );
    if !label.is_empty() {
        rule(
            svg,
            &format!(r#"<text x="{x}" y="{y}" class="label">{label}</text>"#),
        );
    }
}

/// Draws what a text says: boxes, `name column row: text`, and arrows, `from -> to: label`.
fn draw(source: &str) -> String {
    let (mut cells, mut arrows) = (BTreeMap::new(), Vec::new());
    for line in source
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (head, text) = line.split_once(": ").unwrap_or((line, ""));
        match *head.split(' ').collect::<Vec<_>>().as_slice() {
            [from, "->", to] => arrows.push((from, to, text)),
            [name, column, row] => drop(cells.insert(name, Cell::new(column, row, text))),
            _ => panic!("neither a box nor an arrow: {line}"),
        }
    }
    let width = cells
        .values()
        .map(|cell| cell.x + cell.width / 2)
        .max()
        .expect("a box")
        + 15;
    let height = cells.values().map(|cell| cell.y).max().expect("a box") + 40;
    let mut svg = String::new();
    rule(
        &mut svg,
        &format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13" text-anchor="middle">"#
        ),
    );
    rule(
        &mut svg,
        "<style>.label { font-size: 12px; stroke: white; stroke-width: 4px; paint-order: stroke }</style>",
    );
    rule(
        &mut svg,
        r##"<marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker>"##,
    );
    rule(
        &mut svg,
        &format!(r#"<rect width="{width}" height="{height}" rx="8" fill="white"/>"#),
    );
    for (from, to, label) in arrows {
        connect(&cells[from], &cells[to], label, &mut svg);
    }
    for cell in cells.values() {
        cell.draw(&mut svg);
    }
    rule(&mut svg, "</svg>");
    svg
}

/// With `DRAW=1` in the environment, writes them instead.
#[test]
fn pictures_are_drawn_from_their_texts() {
    let sources = files("docs/guide/src/pictures", "txt");
    assert!(sources.len() >= 3);
    for source in sources {
        let drawn = draw(&fs::read_to_string(&source).expect("a text"));
        let picture = source.with_extension("svg");
        if env::var_os("DRAW").is_some() {
            fs::write(&picture, &drawn).expect("the picture is written");
        }
        let there = fs::read_to_string(&picture).unwrap_or_default();
        assert!(
            there == drawn,
            "{}: run this test with DRAW=1",
            picture.display()
        );
    }
}
