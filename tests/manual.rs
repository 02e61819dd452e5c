//! The manual and the README say what is so: generated texts are compared, every link is followed,
//! every command is read by the command line, every configuration by its parser.
//!
//! `UPDATE_EXPECTED=1` writes the generated texts anew.

#![cfg(feature = "manual")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use dm_gateway::cli::definition::{self, Kind};
use dm_gateway::cli::{COMMANDS, client::Stop};
use dm_gateway::config::Config;
use dm_gateway::manual::{CHAPTERS, reference, terminal};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What every configuration needs, for sections that are shown alone.
const MINIMAL: &str = "
[gateway]
id = \"gw.example\"
state-dir = \"/var/lib/dm-gateway\"
";
const MINIMAL_LAN: &str = "
[[lan]]
name = \"first\"
interface = \"lo\"
listen = \"127.0.0.1:8080\"
";

/// A text with its path below the repository.
struct Page {
    path: String,
    text: String,
}

/// The README, what lies beside it for people, and all chapters.
fn pages() -> Vec<Page> {
    let mut pages = ["README.md", "yocto/meta-dm-gateway/README.md"].map(str::to_owned).to_vec();
    pages.extend(CHAPTERS.iter().map(|chapter| format!("src/manual/{}.md", chapter.topic)));
    let read = |path: String| Page { text: fs::read_to_string(root().join(&path)).unwrap(), path };
    pages.into_iter().map(read).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

#[test]
fn generated_chapters_are_what_the_code_says() {
    same("src/manual/codes.md", &reference::codes());
    same("src/manual/keys.md", &dm_gateway::config::reference::markdown());
    if cfg!(feature = "simulate") {
        same("src/manual/commands.md", &reference::commands(COMMANDS));
    }
    filled("src/manual/troubleshooting.md", "refusals", &reference::refusals());
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let figures = readme.split_once("\n## Figures\n\n").unwrap().1.split("\n## ").next().unwrap();
    let figures = figures.replace("](src/manual/", "](");
    filled("src/manual/numbers.md", "figures", figures.trim_start());
}

/// A file that holds a generated part between two comments.
fn filled(path: &str, name: &str, expected: &str) {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let (before, rest) = text.split_once(&format!("<!-- begin: {name}")).unwrap();
    let (begin, rest) = rest.split_once("-->\n").unwrap();
    let end = format!("<!-- end: {name} -->");
    let (_, after) = rest.split_once(&end).unwrap();
    same(path, &format!("{before}<!-- begin: {name}{begin}-->\n{expected}{end}{after}"));
}

fn same(path: &str, expected: &str) {
    let file = root().join(path);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&file, expected).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap();
    let differs = found.lines().zip(expected.lines()).position(|(found, made)| found != made);
    assert!(found == expected, "{path} differs at line {differs:?}; try: UPDATE_EXPECTED=1");
}

#[test]
fn every_file_of_the_manual_is_a_chapter() {
    let topics: BTreeSet<_> =
        CHAPTERS.iter().map(|chapter| format!("{}.md", chapter.topic)).collect();
    let mut files: BTreeSet<_> = fs::read_dir(root().join("src/manual"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md"))
        .collect();
    assert!(files.remove("links.md"));
    assert_eq!(files, topics);
    let links = fs::read_to_string(root().join("src/manual/links.md")).unwrap();
    for chapter in CHAPTERS {
        let module = chapter.topic.replace('-', "_");
        let line = format!("[{}]: mod@crate::manual::{module}\n", chapter.topic);
        assert!(links.contains(&line), "{line}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        let is_mark = |line: &str| line.starts_with("<<<<<<<") || line.starts_with(">>>>>>>");
        assert!(!page.text.lines().any(is_mark), "{}: a merge is not done", page.path);
        let folder = root().join(&page.path).parent().unwrap().to_path_buf();
        let prose = without_code(&page.text);
        let mut defined = BTreeSet::new();
        for line in prose.lines() {
            let Some((label, target)) = definition_of(line) else { continue };
            assert_eq!(target, format!("{label}.md"), "{}: {line}", page.path);
            assert!(folder.join(target).exists(), "{}: {line}", page.path);
            defined.insert(label.to_owned());
        }
        let mut used = BTreeSet::new();
        for (index, _) in prose.match_indices("][") {
            let label = prose[index + 2..].split(']').next().unwrap();
            assert!(defined.contains(label), "{}: [{label}] is not defined", page.path);
            used.insert(label.to_owned());
        }
        assert_eq!(used, defined, "{}: defined and not used", page.path);
        for (index, _) in prose.match_indices("](") {
            let target = prose[index + 2..].split(')').next().unwrap();
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { root().join(&page.path) } else { folder.join(file) };
            assert!(path.exists(), "{}: {target}", page.path);
            if !anchor.is_empty() {
                let text = fs::read_to_string(&path).unwrap();
                let there =
                    text.lines().filter(|it| it.starts_with('#')).any(|it| slug(it) == anchor);
                assert!(there, "{}: no heading {anchor}", page.path);
            }
        }
    }
}

fn definition_of(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('[')?.split_once("]: ")
}

/// As hosts of repositories make anchors of headings.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches(['#', ' ']).to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

/// Code spans and fences are left out: brackets mean something else there.
fn without_code(text: &str) -> String {
    let mut out = String::new();
    let mut fence = None;
    for line in text.lines() {
        match fence {
            Some(end) if line == end => fence = None,
            Some(_) => {}
            None if line.starts_with("```") || line.starts_with("~~~") => fence = line.get(..3),
            None => {
                for (index, part) in line.split('`').enumerate() {
                    out.push_str(if index % 2 == 0 { part } else { "" });
                }
                out.push('\n');
            }
        }
    }
    out
}

/// The fenced blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<(String, String)> = None;
    for line in text.lines() {
        let ends = block.is_some() && (line == "```" || line == "~~~");
        match &mut block {
            _ if ends => {
                blocks.extend(block.take().filter(|(of, _)| of == language).map(|(_, text)| text));
            }
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
            None if line.starts_with("```") || line.starts_with("~~~") => {
                block = Some((line[3..].to_owned(), String::new()));
            }
            None => {}
        }
    }
    blocks
}

#[test]
fn every_command_that_is_shown_is_one() {
    let mut seen = 0;
    for page in pages() {
        for (line, is_typed) in command_lines(&page.text) {
            let line = line.replace("; ", " ; ");
            let words: Vec<_> = line.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| {
                *word == "dm-gateway" || word.ends_with("/dm-gateway") && !word.starts_with('-')
            }) else {
                continue;
            };
            // `install -D … target/release/dm-gateway /usr/bin/dm-gateway` runs something else.
            if words[..at]
                .iter()
                .any(|it| ["install", "systemctl", "journalctl", "usermod"].contains(it))
            {
                continue;
            }
            let rest = &words[at + 1..];
            let end = rest.iter().position(|word| word.ends_with(';'));
            let arguments: Vec<String> = rest[..end.map_or(rest.len(), |end| end + 1)]
                .iter()
                .take_while(|word| !["|", "&", "&&", ">", "2>", ";", "||"].contains(word))
                .map(|word| {
                    word.trim_end_matches(';').trim_matches(['"', '\'', '[', ']']).to_owned()
                })
                .filter(|word| !word.is_empty() && word != "…")
                .collect();
            // The program itself, as in `… is dm-gateway`.
            if arguments.is_empty() || ["COMMAND", "--version", "--help"].contains(&&*arguments[0])
            {
                continue;
            }
            seen += 1;
            match read(&arguments) {
                Ok(_) | Err((_, Stop::Help)) => {}
                // Text may speak of a command without saying on what.
                Err((_, Stop::Usage(text)))
                    if !is_typed && (text.ends_with("is missing") || text.contains(" what: ")) => {}
                Err((_, stop)) => panic!("{}: `{line}`: {stop:?}", page.path),
            }
        }
    }
    assert!(seen > 60, "{seen}");
}

/// Reads arguments as the program does; without simulators those of the simulators pass.
fn read(
    arguments: &[String],
) -> Result<definition::Given, (Vec<&'static definition::Command>, Stop)> {
    let simulated = ["demo", "simulate", "web"].contains(&&*arguments[0]);
    if simulated && !cfg!(feature = "simulate") {
        return Err((Vec::new(), Stop::Help));
    }
    definition::read(COMMANDS, lexopt::Parser::from_args(placed(arguments)))
}

/// Words in capitals stand for something that the command takes.
fn placed(arguments: &[String]) -> Vec<String> {
    let mut placed: Vec<String> = Vec::new();
    for word in arguments {
        let is_place = word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
        let option = placed.last().and_then(|before| before.strip_prefix("--"));
        let words = option.and_then(|long| words_of(COMMANDS, long));
        placed.push(match words {
            Some(words) if is_place => words[0].to_owned(),
            _ => word.clone(),
        });
    }
    placed
}

fn words_of(commands: &[definition::Command], long: &str) -> Option<&'static [&'static str]> {
    commands.iter().find_map(|command| {
        let mut choices = command.options.iter().copied().flatten();
        let own = choices.find_map(|choice| match choice.value {
            Some((_, Kind::Words(words))) if choice.long == long => Some(words),
            _ => None,
        });
        own.or_else(|| words_of(command.commands, long))
    })
}

/// Lines of consoles (true), and code in the text that begins with the name of the program.
fn command_lines(text: &str) -> Vec<(String, bool)> {
    let mut lines = Vec::new();
    for block in blocks(text, "console") {
        let block = block.replace("\\\n", " ");
        lines.extend(
            block
                .lines()
                .filter_map(|it| it.strip_prefix("$ ").or_else(|| it.strip_prefix("# ")))
                .map(|it| (it.split("  # ").next().unwrap().to_owned(), true)),
        );
    }
    let mut outside = String::new();
    let mut fence = None;
    for line in text.lines() {
        match fence {
            Some(end) if line == end => fence = None,
            Some(_) => {}
            None if line.starts_with("```") || line.starts_with("~~~") => fence = line.get(..3),
            None => outside.push_str(&format!("{line}\n")),
        }
    }
    for paragraph in outside.split("\n\n") {
        let spans = paragraph.split('`').skip(1).step_by(2);
        lines.extend(
            spans
                .map(|span| span.replace('\n', " ").replace("\\|", "|"))
                .filter(|span| span.starts_with("dm-gateway "))
                .map(|span| (span, false)),
        );
    }
    lines
}

#[test]
fn every_configuration_that_is_shown_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = root().join("tests/fixtures/config/valid/secrets");
    for (from, to) in [
        ("push.pem", "gateway.pem"),
        ("push.key", "gateway.key"),
        ("push-clients.pem", "dm-servers-ca.pem"),
        ("push-clients.pem", "fleet-ca.pem"),
        ("push-token", "push.token"),
        ("push-token", "user-pin"),
        ("push-token", "network-pin"),
        ("push-token", "tablet-7"),
        ("push-token", "tablet-7-us"),
    ] {
        let path = directory.path().join(to);
        fs::copy(secrets.join(from), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut seen = 0;
    for page in pages() {
        for block in blocks(&page.text, "toml") {
            let mut text = block.replace("/run/credentials/dm-gateway.service/", "");
            if !text.contains("[gateway]") {
                text.insert_str(0, MINIMAL);
            }
            if !text.contains("[[lan]]") {
                text.push_str(MINIMAL_LAN);
            }
            let config = Config::parse(&text, &directory.path().join("dm-gateway.toml"));
            let config =
                config.map_err(|error| format!("{}: {error}\n{block}", page.path)).unwrap();
            assert_eq!(config.warnings, Vec::<String>::new(), "{}: {block}", page.path);
            seen += 1;
        }
    }
    assert!(seen >= 7, "{seen}");
}

#[test]
fn every_chapter_can_be_read_on_a_terminal() {
    for chapter in CHAPTERS {
        let Some(text) = chapter.text else { continue };
        let text = terminal::render(text);
        for line in text.lines().filter(|line| !line.starts_with("    ")) {
            let columns = line.chars().count();
            assert!(columns <= terminal::WIDTH, "{}: {columns}: {line}", chapter.topic);
            let marks = ["][", "](", "**", "|---"].iter().any(|mark| line.contains(mark));
            assert!(!marks, "{}: {line}", chapter.topic);
        }
    }
}
