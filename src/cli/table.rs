//! Tables for people: columns two spaces apart, fitted to the terminal where there is one.
//!
//! Invariant: without a width nothing is cut. It is ours, and not a library's, because a thousand rows must not cost
//! more than reading them: what a general one did with each cell was half of `station list`.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The space between two columns.
const GAP: usize = 2;

/// No column is cut below so many characters.
const LEAST_WIDTH: usize = 8;

/// The rows of a table.
pub struct Columns {
    right_aligned: Vec<bool>,
    has_heading: bool,
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// A table with this heading, or without one; a heading that ends in `>` aligns its column to the right.
    pub fn new(heading: &[&str]) -> Self {
        let name = |name: &&str| name.trim_end_matches('>').to_owned();
        Columns {
            right_aligned: heading.iter().map(|name| name.ends_with('>')).collect(),
            has_heading: !heading.is_empty(),
            rows: Vec::from_iter((!heading.is_empty()).then(|| heading.iter().map(name).collect())),
        }
    }

    /// Adds a row.
    pub fn row<I>(&mut self, cells: I)
    where
        I: IntoIterator<Item = String>,
    {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether the first line is a heading.
    pub fn has_heading(&self) -> bool {
        self.has_heading
    }

    /// The lines, each ended by a line feed and without space before it; cut to `width` where one is given.
    pub fn render(&self, width: Option<usize>) -> String {
        let mut widths = self.widths();
        if let Some(width) = width {
            fit(&mut widths, width);
        }
        let mut text =
            String::with_capacity(self.rows.len() * (widths.iter().sum::<usize>() + GAP * widths.len()));
        for row in &self.rows {
            self.render_row(row, &widths, &mut text);
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        widths
    }

    fn render_row(&self, row: &[String], widths: &[usize], text: &mut String) {
        let start = text.len();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let cell_width = cell.width();
            let space = width.saturating_sub(cell_width);
            if self.right_aligned.get(column) == Some(&true) {
                text.extend(std::iter::repeat_n(' ', space));
            }
            if cell_width <= *width {
                text.push_str(cell);
            } else {
                push_cut(cell, *width, text);
            }
            if self.right_aligned.get(column) != Some(&true) {
                text.extend(std::iter::repeat_n(' ', space));
            }
            text.extend(std::iter::repeat_n(' ', GAP));
        }
        text.truncate(start + text.get(start..).map_or(0, |line| line.trim_end().len()));
        text.push('\n');
    }
}

/// Takes from the widest columns until all fit into `width`, or none can be cut further.
fn fit(widths: &mut [usize], width: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        match widths.iter_mut().max() {
            Some(widest) if *widest > LEAST_WIDTH => *widest -= 1,
            _ => break,
        }
    }
}

/// As much of `cell` as fits into `width` with an ellipsis after it, and the space that is left.
fn push_cut(cell: &str, width: usize, text: &mut String) {
    let mut left = width.saturating_sub(1);
    for character in cell.chars() {
        let needed = character.width().unwrap_or(0);
        if needed > left {
            break;
        }
        left -= needed;
        text.push(character);
    }
    text.push('…');
    text.extend(std::iter::repeat_n(' ', left));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Columns {
        let mut table = Columns::new(&["NAME", "IMAGES>", "PATIENT"]);
        table.row(["SITEB", "3", "山田^太郎"].map(str::to_owned));
        table.row(["A", "412", "DOE^JANE^OF^A^VERY^LONG^NAME"].map(str::to_owned));
        table
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let expected =
            "NAME   IMAGES  PATIENT\nSITEB       3  山田^太郎\nA         412  DOE^JANE^OF^A^VERY^LONG^NAME\n";
        assert_eq!(table().render(None), expected);
    }

    #[test]
    fn the_widest_column_is_cut_to_the_terminal() {
        let text = table().render(Some(30));
        assert!(text.lines().all(|line| line.width() <= 30), "{text}");
        assert!(text.contains("A         412  DOE^JANE^OF^A^…"), "{text}");
    }

    #[test]
    fn a_narrow_terminal_does_not_cut_to_nothing() {
        assert!(table().render(Some(3)).contains("SITEB"));
    }
}
