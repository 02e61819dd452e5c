//! Text for people: tables in aligned columns, ages, and other people's words made harmless.

use std::fmt::Write as _;

/// What stands where there is nothing to say.
pub(crate) const NOTHING: &str = "-";

/// Most characters of one cell; the rest is cut off, and whole in `--json`. Real identities and
/// server ids are shorter, and one device must not spoil the table of all.
const CELL: usize = 64;

/// Most characters of a cell in the last column, which nothing stands behind: reasons and values.
const LAST_CELL: usize = 240;

/// Blanks between columns.
const GAP: &str = "  ";

/// A table with a head.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Adds a row; whatever is in it may come from strangers.
    pub(crate) fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let last = self.rows.first().map_or(0, Vec::len).saturating_sub(1);
        let most = |index| if index == last { LAST_CELL } else { CELL };
        let cells = cells.into_iter().enumerate();
        self.rows.push(cells.map(|(index, text)| cell(text.as_ref(), most(index))).collect());
    }

    /// The table, every line ended.
    pub(crate) fn render(&self) -> String {
        aligned(&self.rows)
    }
}

/// Rows whose columns line up, without a head, each after `indent` blanks.
pub(crate) fn columns<const N: usize>(indent: usize, rows: &[[String; N]]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|text| cell(text, CELL)).collect()).collect();
    let indent = " ".repeat(indent);
    aligned(&rows).lines().fold(String::new(), |all, line| all + &indent + line + "\n")
}

/// How long something lasts, in its largest unit: `40 s`, `3 m`, `2 h`, `5 d`.
pub(crate) fn age(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} m", seconds / MINUTE),
        // A day and a half is told better in hours.
        HOUR..=172_799 => format!("{} h", seconds / HOUR),
        _ => format!("{} d", seconds / DAY),
    }
}

/// `text` with nothing in it that moves a cursor, starts a line, or turns the direction of
/// writing: such characters are shown as escapes.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmless(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }
    shown
}

/// `1 device`, `2 devices`.
pub(crate) fn count(number: impl Into<u128>, one: &str) -> String {
    match number.into() {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    }
}

fn is_harmless(character: char) -> bool {
    let steers = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !character.is_control() && !steers
}

fn cell(text: &str, most: usize) -> String {
    let text = printable(text.trim());
    if text.is_empty() {
        return NOTHING.to_owned();
    }
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
        None => text,
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(index) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:width$}{GAP}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_their_largest_unit() {
        let ages = [0, 59, 60, 3_599, 3_600, 2 * 86_400 - 1, 2 * 86_400, u64::MAX].map(age);
        assert_eq!(ages[..4], ["0 s", "59 s", "1 m", "59 m"]);
        assert_eq!(ages[4..], ["1 h", "47 h", "2 d", "213503982334601 d"]);
    }

    #[test]
    fn terminal_escapes_and_line_breaks_are_shown_not_obeyed() {
        assert_eq!(printable("a\u{1b}[31m\n\r\tb\u{9b}2J\u{7f}"), {
            r"a\u{1b}[31m\n\r\tb\u{9b}2J\u{7f}"
        });
        assert_eq!(printable("IMEI:1\u{202e}\u{2066}\u{200b}"), r"IMEI:1\u{202e}\u{2066}\u{200b}");
        assert_eq!(printable("Žluťoučký 車 mac:00-…"), "Žluťoučký 車 mac:00-…");
    }

    #[test]
    fn columns_line_up_and_nothing_is_a_hyphen() {
        let mut table = Table::new(&["ID", "STATE", "NOTES"]);
        table.row(["IMEI:490154203237518", "attached 3 m", ""]);
        table.row(["é", " ", "conflict!\n"]);
        assert_eq!(
            table.render(),
            "ID                    STATE         NOTES\n\
             IMEI:490154203237518  attached 3 m  -\n\
             é                     -             conflict!\n"
        );
    }

    #[test]
    fn one_long_identity_does_not_widen_the_table_without_bound() {
        let mut table = Table::new(&["ID", "LAN"]);
        table.row(["x".repeat(255).as_str(), "depot"]);
        let text = table.render();
        assert!(text.lines().all(|line| line.chars().count() <= CELL + 7), "{text}");
        assert!(text.contains("x…  depot"));
    }

    #[test]
    fn a_reason_in_the_last_column_is_told_to_its_end() {
        let mut table = Table::new(&["ID", "NOTES"]);
        let reason = "no secure connection: ".repeat(10);
        table.row(["a", &reason]);
        assert!(table.render().contains(reason.trim()));
        table.row(["b", &"x".repeat(70_000)]);
        assert!(table.render().lines().all(|line| line.chars().count() <= LAST_CELL + 4));
    }

    #[test]
    fn numbers_agree_with_their_nouns() {
        assert_eq!(
            [0u64, 1, 2].map(|n| count(n, "device")),
            ["0 devices", "1 device", "2 devices"]
        );
    }
}
