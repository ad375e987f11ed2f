//! Tables for people: columns two spaces apart, drawn by `comfy-table`, fitted to the terminal where there is one.
//!
//! Invariant: nothing is cut. What does not fit the terminal is wrapped, so that an ID can still be read and typed.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};
use unicode_width::UnicodeWidthStr;

/// The space between two columns.
const GAP: u16 = 2;

/// No column is made narrower than this by wrapping, nor narrower than its heading.
const LEAST_WIDTH: usize = 8;

/// The rows of a table.
pub struct Columns {
    table: Table,
    right_aligned: Vec<bool>,
    has_heading: bool,
}

impl Columns {
    /// A table with this heading, or without one; a heading that ends in `>` aligns its column to the right.
    pub fn new(heading: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING);
        if !heading.is_empty() {
            let names = heading.iter().map(|name| name.trim_end_matches('>'));
            table.set_header(names.collect::<Vec<_>>());
        }
        Columns {
            table,
            right_aligned: heading.iter().map(|name| name.ends_with('>')).collect(),
            has_heading: !heading.is_empty(),
        }
    }

    /// Adds a row.
    pub fn row<I>(&mut self, cells: I)
    where
        I: IntoIterator<Item = String>,
    {
        let cells = cells.into_iter().map(Cell::new_owned);
        self.table.add_row(cells.collect::<Vec<_>>());
    }

    /// Whether the first line is a heading.
    pub fn has_heading(&self) -> bool {
        self.has_heading
    }

    /// The lines, each ended by a line feed and without space before it; wrapped to `width` where one is given.
    pub fn render(mut self, width: Option<usize>) -> String {
        if self.table.is_empty() && !self.has_heading {
            return String::new();
        }
        self.align();
        match width.and_then(|width| u16::try_from(width).ok()) {
            Some(width) => self.fit(width),
            None => {
                self.table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        let mut text = self.table.trim_fmt();
        text.push('\n');
        text
    }

    fn align(&mut self) {
        let last = self.table.column_count().saturating_sub(1);
        for (place, column) in self.table.column_iter_mut().enumerate() {
            column.set_padding((0, if place == last { 0 } else { GAP }));
            if self.right_aligned.get(place) == Some(&true) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }

    fn fit(&mut self, width: u16) {
        let natural = self.table.column_max_content_widths();
        let headings = self.table.header().map_or_else(Vec::new, |heading| {
            heading.cell_iter().map(|cell| cell.content().width()).collect()
        });
        for (place, column) in self.table.column_iter_mut().enumerate() {
            let natural = natural.get(place).copied().unwrap_or_default();
            let heading = headings.get(place).copied().unwrap_or_default();
            let least = natural.min(u16::try_from(heading.max(LEAST_WIDTH)).unwrap_or(natural));
            let padding = column.padding_width();
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least + padding)));
        }
        self.table.set_content_arrangement(ContentArrangement::Dynamic);
        self.table.set_width(width);
    }
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
    fn what_does_not_fit_the_terminal_is_wrapped_and_not_cut() {
        let text = table().render(Some(30));
        assert!(text.lines().all(|line| line.width() <= 30), "{text}");
        let last_column = text.lines().skip(2).filter_map(|line| line.get(15..));
        assert_eq!(
            last_column.collect::<String>(),
            "DOE^JANE^OF^A^VERY^LONG^NAME",
            "{text}"
        );
    }

    #[test]
    fn a_narrow_terminal_leaves_headings_and_short_cells_whole() {
        let text = table().render(Some(3));
        assert!(text.contains("SITEB") && text.contains("IMAGES"), "{text}");
    }

    #[test]
    fn without_rows_and_heading_there_is_nothing() {
        assert_eq!(Columns::new(&[]).render(None), "");
    }
}
