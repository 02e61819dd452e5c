//! The reference of the configuration, made from the table of its keys: for the terminal, the
//! manual and the man page.

use super::keys::{self, ALL, FORMS, Form, Key};
use crate::manual::reference::GENERATED;
use std::fmt::Write as _;

/// Which file counts, for people: the one table of the precedence.
const ORDER: &[(&str, &str, &str)] = &[
    ("default", "the program itself", "-"),
    ("vendor", "`/usr/lib/dm-gateway/*.toml`, by name", "whoever built the image"),
    ("admin", "`/etc/dm-gateway/dm-gateway.toml`", "the administrator"),
    ("drop-in", "`/etc/dm-gateway/conf.d/*.toml`, by name", "the administrator, packages, scripts"),
    (
        "provisioned",
        "`config/identity.toml` and `provisioned/config.toml` in the state directory",
        "`dm-gateway provision FILE`; `restore --take-identity`",
    ),
    (
        "applied",
        "`conf.d/90-applied.toml`, or `config/applied.toml` in the state directory",
        "`dm-gateway apply FILE`, confirmed",
    ),
    (
        "trial",
        "`config/trial.toml` in the state directory, instead of what was applied before",
        "`dm-gateway apply FILE`, until it is confirmed or its time is over",
    ),
    ("remote", "the store", "DM servers, through `./GwConfig`, unless the key is locked"),
];

/// What `config doc` prints of one key.
pub fn doc(key: &Key) -> String {
    let mut text = format!("{}\n  {}.\n\n", key.path(), key.what);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:9}{value}");
        }
    };
    line("section", &keys::form(key.section).map(ToString::to_string).unwrap_or_default());
    line("takes", key.kind.words());
    line("range", key.range);
    line("default", &key.default.to_string());
    line("applies", &format!("at {}", key.applies.name()));
    line("remote", key.node().unwrap_or_default());
    line("since", key.since());
    text
}

/// The chapter of the manual.
pub fn markdown() -> String {
    let mut text = format!(
        "{GENERATED}# Keys of the configuration\n\n\
         The configuration is TOML. `dm-gateway config check` tells everything that is wrong with \
         it at once,\n`dm-gateway config show --origin` which file sets what, and `dm-gateway \
         config doc KEY` what stands here.\n\n\
         ## Which value counts\n\n\
         Files are read in this order. A later row overrides an earlier one, key by key.\n\n\
         | origin | where | who |\n|---|---|---|\n",
    );
    for (origin, place, who) in ORDER {
        let _ = writeln!(text, "| `{origin}` | {place} | {who} |");
    }
    text.push_str(
        "\n- `[[lan]]`, `[[device]]` and `[[server]]` of the same `name` or `id` in several files \
         are the same one: a later\n  file may override single keys of it, or add another one. \
         It cannot take one away.\n\
         - A list overrides a list as a whole.\n\
         - What a file names in `[gateway] locked` no later file may set: that is an error. A DM \
         server that sets it is\n  refused with status 405, and what it set before does not \
         count as long as the lock is there.\n\
         - `--config FILE` names the main file; `conf.d` is beside it. The vendor's files are read \
         where the main file is\n  the usual one; `DM_GATEWAY_VENDOR=DIRECTORY` names others, and \
         an empty value none. Without a main file the\n  vendor's files count alone.\n\
         - Relative paths start at the directory of the main file, in a vendor's file at its \
         own.\n\n\
         ## What `reload` covers\n\n\
         `dm-gateway reload`, `systemctl reload dm-gateway` and SIGHUP are the same: all files \
         are read and checked, and\nthe files that they name. With any error nothing changes, and \
         the answer says where the error is. Else every\nkey that is marked *reload* below counts \
         at once; sessions, mappings and pushes that are held go on. Keys that\nare marked \
         *restart* keep their old value until the daemon starts anew; the answer lists them.\n\n\
         A section changes as a whole: if one of its keys needs a restart, the others of that \
         `[gateway]`, `[wan]` (with\n`[wan.http-push]`) or `[[lan]]` wait with it. A LAN that is \
         new or gone needs a restart. Certificates, keys, tokens\nand secrets are read again even \
         if the path is the same.\n\n\
         A change by a DM server that is on trial is neither confirmed nor ended by a reload.\n",
    );
    for form in FORMS {
        let _ = write!(text, "\n## `{form}`\n\n{}.\n\n", capital(form.what));
        text.push_str(
            "| key | takes | default | applies | since | what |\n|---|---|---|---|---|---|\n",
        );
        for key in of(form) {
            let _ = writeln!(text, "{}", row(key));
        }
    }
    text
}

/// The man page `dm-gateway.toml(5)`.
pub fn roff() -> String {
    let mut text = format!(
        ".\\\" Made from src/config/keys.rs: UPDATE_EXPECTED=1 cargo test --test config\n\
         .TH DM\\-GATEWAY.TOML 5 \"\" \"dm\\-gateway {}\" \"dm\\-gateway\"\n\
         .SH NAME\ndm\\-gateway.toml \\- configuration of the DM gateway\n\
         .SH SYNOPSIS\n",
        env!("CARGO_PKG_VERSION")
    );
    for (_, place, _) in ORDER.iter().filter(|row| row.1.starts_with("`/")) {
        let _ = writeln!(text, ".br\n{}", escaped(&place.replace('`', "")));
    }
    text.push_str(
        ".SH DESCRIPTION\nTOML. Values count in this order, the last one first to ask:\n",
    );
    for (origin, place, who) in ORDER {
        let (place, who) = (place.replace('`', ""), who.replace('`', ""));
        let _ =
            writeln!(text, ".TP\n.B {}\n{}; {}", escaped(origin), escaped(&place), escaped(&who));
    }
    for form in FORMS {
        let _ = write!(
            text,
            ".SH \"{}\"\n{}.\n",
            escaped(&form.to_string()),
            escaped(&capital(form.what))
        );
        for key in of(form) {
            let _ = write!(
                text,
                ".TP\n.B {}\n{}.\nTakes: {}",
                escaped(key.name),
                escaped(&capital(key.what)),
                escaped(key.kind.words())
            );
            if !key.range.is_empty() {
                let _ = write!(text, " ({})", escaped(key.range));
            }
            let default = key.default.to_string();
            let _ = writeln!(
                text,
                ".\nDefault: {}.\nApplies at {}.",
                escaped(&default),
                key.applies.name()
            );
        }
    }
    text.push_str(
        ".SH \"SEE ALSO\"\n.BR dm\\-gateway (1),\n.B dm\\-gateway config check\n.SH FILES\n\
         /etc/dm\\-gateway/dm\\-gateway.toml, /etc/dm\\-gateway/conf.d, /usr/lib/dm\\-gateway\n",
    );
    text
}

fn of(form: &'static Form) -> impl Iterator<Item = &'static Key> {
    ALL.iter().filter(|key| key.section == form.name)
}

fn row(key: &Key) -> String {
    let mut takes = key.kind.words().to_owned();
    if !key.range.is_empty() {
        takes = format!("{takes}: {}", key.range);
    }
    let default = match key.default {
        keys::Default::Value(value) => format!("`{value}`"),
        keys::Default::Required(example) => format!("required, such as `{example}`"),
        keys::Default::Words(words) => words.to_owned(),
    };
    let remote = key.node().map_or_else(String::new, |node| format!(" (DM servers: `{node}`)"));
    let (applies, since) = (key.applies.name().to_owned(), key.since().to_owned());
    let cells = [format!("`{}`", key.name), takes, default, applies, since];
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} | {}{remote} |", cells.join(" | "), key.what.replace('|', "\\|"))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Text for a line of roff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('`', "");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
