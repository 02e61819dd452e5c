//! Text for people: tables in aligned columns, ages, and other people's words made harmless.

use std::fmt::Write as _;

/// What stands where there is nothing to say.
pub(crate) const NOTHING: &str = "-";

/// Most characters of one cell; the rest is cut off, and whole in `--json`. Real identities and
/// server ids are shorter, and one device must not spoil the table of all.
const CELL: usize = 64;

/// Most characters of a cell in the last column, which nothing stands behind: reasons and values.
const LAST_CELL: usize = 240;

/// Columns of a terminal that a table may fill.
pub(crate) const WIDTH: usize = 100;

/// Columns below which nothing is wrapped or cut: what is narrower reads worse than a line of its
/// own.
const NARROW: usize = 30;

/// Columns by which that is indented.
const BELOW: usize = 4;

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
        aligned(&self.rows, true, WIDTH)
    }
}

/// Rows whose columns line up, without a head, each after `indent` blanks.
pub(crate) fn columns<const N: usize>(indent: usize, rows: &[[String; N]]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|text| cell(text, LAST_CELL)).collect()).collect();
    let width = WIDTH.saturating_sub(indent);
    let indent = " ".repeat(indent);
    aligned(&rows, false, width)
        .lines()
        .fold(String::new(), |all, line| all + &indent + line + "\n")
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
    cut(&text, most)
}

/// At most `most` columns wide: the widest cells are cut, all but the last of a row; that one is
/// wrapped, or told below the row where there is too little room beside it.
fn aligned(rows: &[Vec<String>], has_head: bool, most: usize) -> String {
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
    widths.pop();
    let used = |widths: &[usize]| widths.iter().map(|width| width + GAP.len()).sum::<usize>();
    while used(&widths) > most + GAP.len() {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > 1) else { break };
        *widest -= 1;
    }
    let room = most.saturating_sub(used(&widths));
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let Some((last, others)) = row.split_last() else { continue };
        let mut line = String::new();
        for (text, width) in others.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{:width$}{GAP}", cut(text, *width));
        }
        if last.chars().count() <= room || room >= NARROW {
            line.push_str(&folded(last, used(&widths), room));
        } else if last != NOTHING && (index > 0 || !has_head) {
            line.truncate(line.trim_end().len());
            let below = folded(last, BELOW, most.saturating_sub(BELOW));
            line.push_str(&format!("\n{:BELOW$}{below}", ""));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `text` in lines of at most `width` characters, broken at blanks where there are any; all but
/// the first line indented. No line end at its end.
pub(crate) fn folded(text: &str, indent: usize, width: usize) -> String {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let (has, more) = (line.chars().count(), word.chars().count());
        if has > 0 && has + 1 + more > width {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            if line.chars().count() >= width.max(1) {
                lines.push(std::mem::take(&mut line));
            }
            line.push(character);
        }
    }
    lines.push(line);
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// The beginning of a text that is longer than `most` characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
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
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&table.render()).contains(reason.trim()));
        table.row(["b", &"x".repeat(70_000)]);
        let text = table.render();
        assert!(text.chars().count() < 1_000);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn a_table_fits_a_terminal_and_no_further_line_begins_like_a_row() {
        let mut table = Table::new(&["ID", "SERVER", "STATE", "NOTES"]);
        let long = "x".repeat(64);
        table.row([&*long, "dms.example", "away", "what is odd about it"]);
        table.row(["b", &long, "here", ""]);
        let text = table.render();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(lines[2], "    what is odd about it");
        assert!(
            lines[0].ends_with("STATE") && lines[1].ends_with("…  dms.example  away") || {
                // Whichever of two equally wide columns is cut first.
                lines[1].contains('…') && lines[3].contains('…')
            }
        );
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(folded("one two three", 2, 7), "one two\n  three");
        assert_eq!(folded("abcdefgh", 1, 3), "abc\n def\n gh");
    }

    #[test]
    fn numbers_agree_with_their_nouns() {
        assert_eq!(
            [0u64, 1, 2].map(|n| count(n, "device")),
            ["0 devices", "1 device", "2 devices"]
        );
    }
}
