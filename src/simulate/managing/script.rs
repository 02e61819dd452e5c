//! What a simulated DM server does in a session, as text: one command a line.
//!
//! ```text
//! # the first message of commands
//! get ./DevInfo/DevId
//! replace ./Gw/Name chr kitchen gateway
//! add ./Gw/Key bin 00ff10
//! atomic
//!   delete ./Gw/Old
//!   copy ./Gw/Name ./Gw/Label
//! end
//! send                    the next message begins
//! exec ./Gw/Restart now
//! alert 1101 MINDT=10     an alert for a user; its text follows in `text`
//! more                    the message ends, its package does not
//! large 14 replace ./Gw/Banner chr Welcome     the first chunk of an object of 14 octets
//! more
//! chunk replace ./Gw/Banner chr to             one in the middle
//! more
//! replace ./Gw/Banner chr here!                the last one
//! abort                   Alert 1223
//! ```

use crate::proto::syncml::{
    Alert, AlertCode, Command, Data, Group, Item, Location, Meta, Operation, Verb,
};

/// The messages of a session, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub(super) Vec<Page>);

/// The commands of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) commands: Vec<Command<'static>>,
    pub(super) is_final: bool,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// The number of the line that is none, and the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pages = Vec::new();
        // The message, and the groups open in it.
        let mut open: Vec<(Option<bool>, Vec<Command<'static>>)> = vec![(None, Vec::new())];
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || format!("line {}: {line}", index + 1);
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            match (word, open.len()) {
                ("send" | "more", 1) => {
                    let commands = open.pop().map(|(_, commands)| commands).unwrap_or_default();
                    pages.push(Page { commands, is_final: word == "send" });
                    open.push((None, Vec::new()));
                }
                ("atomic" | "sequence", _) => open.push((Some(word == "atomic"), Vec::new())),
                ("end", 2..) => {
                    let (Some((Some(atomic), commands)), Some((_, outer))) =
                        (open.pop(), open.last_mut())
                    else {
                        return Err(wrong());
                    };
                    let (command_id, meta) = (String::new().into(), Meta::default());
                    outer.push(Command::Group(Group { atomic, command_id, meta, commands }));
                }
                _ => {
                    let command = command(word, rest.trim()).ok_or_else(wrong)?;
                    open.last_mut().ok_or_else(wrong)?.1.push(command);
                }
            }
        }
        match (open.pop(), open.is_empty()) {
            (Some((_, commands)), true) if commands.is_empty() => {}
            (Some((_, commands)), true) => pages.push(Page { commands, is_final: true }),
            _ => return Err("a group is not ended".to_owned()),
        }
        Ok(Self(pages))
    }
}

fn command(word: &str, rest: &str) -> Option<Command<'static>> {
    let verb = match word {
        "large" => {
            let (size, rest) = rest.split_once(char::is_whitespace)?;
            return chunk(Some(size.parse().ok()?), rest.trim());
        }
        "chunk" => return chunk(None, rest),
        "add" => Verb::Add,
        "copy" => Verb::Copy,
        "delete" => Verb::Delete,
        "exec" => Verb::Exec,
        "get" => Verb::Get,
        "replace" => Verb::Replace,
        "alert" => return alert(rest),
        "abort" => {
            let code = Some(AlertCode::SESSION_ABORT);
            return Some(Command::Alert(Alert { code, ..Alert::default() }));
        }
        _ => return None,
    };
    let (uri, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let place = |uri: &str| Some(Location { uri: uri.to_owned().into(), name: None });
    let value = value.trim();
    let mut item = Item { target: place(uri).filter(|_| !uri.is_empty()), ..Item::default() };
    match verb {
        Verb::Get | Verb::Delete if value.is_empty() => {}
        Verb::Get | Verb::Delete => return None,
        Verb::Copy => {
            item.source = item.target.take();
            item.target = place(value).filter(|_| !value.is_empty());
        }
        Verb::Exec => item.data = Some(text(value)).filter(|_| !value.is_empty()),
        Verb::Add | Verb::Replace => {
            let (format, value) = value.split_once(' ').unwrap_or((value, ""));
            item.meta.format = Some(format.to_owned().into()).filter(|_| !format.is_empty());
            item.data = match format {
                "node" | "null" => None,
                "bin" => Some(Data::Binary(octets(value)?.into())),
                _ => Some(text(value)),
            };
        }
    }
    item.target.as_ref()?;
    Some(Command::Operation(Operation {
        verb,
        command_id: String::new().into(),
        meta: Meta::default(),
        correlator: None,
        items: vec![item],
    }))
}

/// A command whose data goes on in the next message. `size` is that of the whole object.
fn chunk(size: Option<u64>, rest: &str) -> Option<Command<'static>> {
    let (word, rest) = rest.split_once(char::is_whitespace)?;
    let is_data = matches!(word, "add" | "replace" | "exec");
    let Command::Operation(mut operation) = command(word, rest.trim()).filter(|_| is_data)? else {
        return None;
    };
    let item = operation.items.first_mut()?;
    item.meta.size = size;
    item.more_data = true;
    Some(Command::Operation(operation))
}

fn alert(rest: &str) -> Option<Command<'static>> {
    let (code, options) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let item = |value: &str| Item { data: Some(text(value)), ..Item::default() };
    Some(Command::Alert(Alert {
        code: Some(AlertCode(code.parse().ok()?)),
        items: vec![item(options.trim()), item("A question of the server")],
        ..Alert::default()
    }))
}

fn text(value: &str) -> Data<'static> {
    Data::Text(value.to_owned().into())
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
    let octet = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    };
    digits?.chunks(2).map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_messages_of_commands_with_groups_in_them() {
        let script = Script::parse(
            "# first\nget ./DevInfo/DevId\natomic\n add ./a bin 00fF\n sequence\n  delete ./b\n end\nend\n\
             more\nreplace ./a chr two words\nsend\ncopy ./a ./b\nexec ./c\nalert 1101 MINDT=1\nabort\n",
        )
        .unwrap();
        let names = |page: &Page| page.commands.iter().map(|it| it.name()).collect::<Vec<_>>();
        let [one, two, three] = script.0.as_slice() else { unreachable!() };
        assert_eq!((names(one), one.is_final), (vec!["Get", "Atomic"], false));
        assert_eq!((names(two), two.is_final), (vec!["Replace"], true));
        assert_eq!(names(three), ["Copy", "Exec", "Alert", "Alert"]);
        let Command::Group(atomic) = &one.commands[1] else { unreachable!() };
        assert_eq!(atomic.commands.len(), 2);
        assert_eq!(Script::parse("\n#\n"), Ok(Script::default()));
        let large = Script::parse("large 4 add ./a chr ab\nmore\nchunk add ./a chr c\n").unwrap();
        let item = |page: usize| match &large.0[page].commands[0] {
            Command::Operation(operation) => {
                (operation.items[0].meta.size, operation.items[0].more_data)
            }
            _ => unreachable!(),
        };
        assert_eq!([item(0), item(1)], [(Some(4), true), (None, true)]);
        for bad in [
            "large x add ./a chr x",
            "large 4 get ./a",
            "chunk",
            "chunk delete ./a",
            "fly ./a",
            "get",
            "get ./a b",
            "copy ./a",
            "add ./a bin 0",
            "atomic",
            "end",
            "alert x",
        ] {
            assert!(Script::parse(bad).is_err(), "{bad}");
        }
    }
}
