//! Markdown for a terminal: plain text, lines of at most 100 columns, tables that fit.

/// Columns of a line.
pub const WIDTH: usize = 100;
/// Columns between two columns of a table.
const GAP: usize = 2;
/// Least columns of a column that has to be wrapped.
const LEAST: usize = 12;

/// What a chapter looks like on a terminal.
pub fn render(markdown: &str) -> String {
    let mut out = String::new();
    let mut fence = None;
    let mut table: Vec<Vec<String>> = Vec::new();
    let mut text = String::new();
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(end) = fence {
            match line == end {
                true => fence = None,
                false => push(&mut out, &format!("    {line}")),
            }
            continue;
        }
        let is_text = !line.is_empty() && !line.starts_with(['|', '#', '<', '`', '~', '['])
            || line.starts_with('`') && !line.starts_with("```")
            || line.starts_with('[') && !is_definition(line);
        if !is_text || is_item(line) {
            paragraph(&mut out, &std::mem::take(&mut text));
        }
        if is_text {
            // The lines of a paragraph are one; what is further in belongs to the item above.
            match text.is_empty() {
                true => text.push_str(line),
                false => text.push_str(&format!(" {}", line.trim_start())),
            }
        } else if line.starts_with('|') {
            // The row of dashes says nothing.
            if !line.trim_start_matches(['|', '-', ':', ' ']).is_empty() {
                table.push(cells(line));
            }
            if !lines.peek().is_some_and(|next| next.starts_with('|')) {
                columns(&mut out, &std::mem::take(&mut table));
            }
        } else if line.starts_with("```") || line.starts_with("~~~") {
            fence = line.get(..3);
        } else if let Some(title) = line.strip_prefix("# ") {
            heading(&mut out, title, '=');
        } else if let Some(title) = line.strip_prefix("## ") {
            heading(&mut out, title, '-');
        } else if line.starts_with('#') {
            push(&mut out, &inline(line.trim_start_matches(['#', ' '])));
        } else if line.is_empty() {
            push(&mut out, "");
        }
    }
    paragraph(&mut out, &text);
    format!("{}\n", out.trim())
}

/// Whether a line begins an item of a list.
fn is_item(line: &str) -> bool {
    let text = line.trim_start();
    text.starts_with("- ") || text.split_once(". ").is_some_and(|(it, _)| it.parse::<u8>().is_ok())
}

/// A line, without a second empty one.
fn push(out: &mut String, line: &str) {
    if !line.is_empty() || !out.ends_with("\n\n") {
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn heading(out: &mut String, title: &str, under: char) {
    let title = inline(title);
    push(out, "");
    push(out, &title);
    push(out, &under.to_string().repeat(title.chars().count()));
}

/// A paragraph or an item of a list, wrapped, as far in as it begins.
fn paragraph(out: &mut String, line: &str) {
    let text = line.trim_start();
    let before = line.len() - text.len();
    let indent = match text.split_once(' ') {
        Some((mark, _)) if is_item(text) => before + mark.len() + 1,
        _ => before,
    };
    for (index, part) in wrapped(&inline(text), WIDTH - indent).iter().enumerate() {
        let indent = if index == 0 { before } else { indent };
        push(out, &format!("{:indent$}{part}", ""));
    }
}

/// `[policies]: policies.md`
fn is_definition(line: &str) -> bool {
    line.strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .is_some_and(|(label, _)| !label.contains([']', ' ']))
}

/// Text without the marks of Markdown; a link to a chapter names it.
fn inline(text: &str) -> String {
    let mut out = String::new();
    let (mut in_code, mut in_emphasis) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let behind = &rest[c.len_utf8()..];
        let is_open = !in_code && c == '*' && !in_emphasis && !behind.starts_with([' ', ')']);
        if c == '`' {
            in_code = !in_code;
        }
        if in_code || c == '`' {
            out.push(c);
            rest = behind;
        } else if let Some((text, target, behind)) = link(rest) {
            out.push_str(&inline(text));
            if !target.contains(['.', '/', '#']) && !target.eq_ignore_ascii_case(text) {
                out.push_str(&format!(" (manual {target})"));
            }
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("**") {
            rest = behind;
        } else if is_open || c == '*' && in_emphasis {
            in_emphasis = is_open;
            rest = behind;
        } else if c == '\\' && behind.starts_with(|c: char| c.is_ascii_punctuation()) {
            out.extend(behind.chars().next());
            rest = &behind[1..];
        } else {
            out.push(c);
            rest = behind;
        }
    }
    out
}

/// `[text][target]` or `[text](target)` at the beginning: both, and what stands behind.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (label, rest) = text.strip_prefix('[')?.split_once(']')?;
    let (target, behind) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => rest.strip_prefix('(')?.split_once(')')?,
    };
    Some((label, target, behind))
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|');
    let line = line.strip_suffix('|').unwrap_or(line);
    let line = line.replace("\\|", "\u{1}");
    line.split('|').map(|cell| inline(&cell.replace('\u{1}', "|")).trim().to_owned()).collect()
}

/// A table whose columns fit into the width.
fn columns(out: &mut String, rows: &[Vec<String>]) {
    let number = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widest = |index: usize| {
        rows.iter().filter_map(|row| row.get(index)).map(|it| it.chars().count()).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..number).map(widest).collect();
    let room = WIDTH.saturating_sub(GAP * number.saturating_sub(1));
    // What is wider than its share gives, widest first.
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max().filter(|width| **width > LEAST) else { break };
        *widest -= 1;
    }
    for (index, row) in rows.iter().enumerate() {
        let parts: Vec<Vec<String>> =
            row.iter().zip(&widths).map(|(cell, width)| wrapped(cell, *width)).collect();
        let height = parts.iter().map(Vec::len).max().unwrap_or_default();
        for line in 0..height {
            let mut text = String::new();
            for (part, width) in parts.iter().zip(&widths) {
                let part = part.get(line).map_or("", String::as_str);
                text.push_str(&format!("{part:width$}{:GAP$}", ""));
            }
            push(out, text.trim_end());
        }
        if index == 0 {
            let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            push(out, &rule.join(&" ".repeat(GAP)));
        }
    }
}

/// Words in lines of at most `width` columns; a longer word is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut column = 0;
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(width.max(1)) {
            let length = piece.len();
            if column > 0 && column + 1 + length > width {
                lines.push(String::new());
                column = 0;
            }
            let Some(line) = lines.last_mut() else { break };
            if column > 0 {
                line.push(' ');
                column += 1;
            }
            line.extend(piece);
            column += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_and_what_they_mark_stays() {
        assert_eq!(
            inline("**a** and *b*, `*c*` [d][policies]"),
            "a and b, `*c*` d (manual policies)"
        );
        assert_eq!(inline("[pushes][pushes] and [x](y.md) 2 * 3 \\<z>"), "pushes and x 2 * 3 <z>");
        assert_eq!(inline("[[lan]]"), "[[lan]]");
    }

    #[test]
    fn a_chapter_has_no_line_that_is_too_long() {
        let text = render(
            "<!-- made -->\n# A\n\nText.\n\n| a | b |\n|---|---|\n| `x\\|y` | some words |\n\n\
             ```toml\n[gateway]\n# b\n```\n\n[policies]: policies.md\n",
        );
        let expected = "\
A
=

Text.

a      b
-----  ----------
`x|y`  some words

    [gateway]
    # b
";
        assert_eq!(text, expected);
        let wide = format!(
            "| a | b |\n|---|---|\n| {} | {} |\n",
            "one two ".repeat(20),
            "three ".repeat(30)
        );
        let text = render(&wide);
        assert!(text.lines().count() > 4 && text.lines().all(|it| it.chars().count() <= WIDTH));
        let text = render(&format!("- {}\n", "word ".repeat(40)));
        assert!(text.lines().skip(1).all(|it| it.starts_with("  word")), "{text}");
        let text =
            render("one\n*two\nthree* [four\nfive][six] seven\n\n1. eight\n   nine\n2. ten\n");
        assert_eq!(text, "one two three four five (manual six) seven\n\n1. eight nine\n2. ten\n");
    }
}
