//! Conversations of a DM session, as data: `tests/fixtures/session/*.txt`. Each file says who the
//! two sides are, what the server says, and what the client has to answer, element by element.
//!
//! ```text
//! # a comment
//! device IMEI:1                          who the client is
//! server com.example.dm http://dm.example/dm
//! session 1A client                      SessionID; `client` (Alert 1201) or `server` (1200)
//! encoding wbxml                         on the wire; in the file all is XML
//! client-account md5 gateway secret c0   scheme, name, secret, first nonce
//! server-account md5 server secret s0
//! devinfo ./DevInfo/DevId IMEI:1         a leaf of package 1
//! alert urn:example:type some data       a generic alert to deliver
//! leaf ./a 1                             a leaf of the tree; `x*20` is x twenty times
//!
//! client http://dm.example/dm            the message that the client posts there
//! mac algorithm=MD5, …                   its header x-syncml-hmac, or the server's
//! <SyncML> …
//! server                                 what the server answers
//! <SyncML> …
//! kept c1 s1                             the client made its changes and these nonces durable
//! lost c1 s1                             it wanted to, and could not
//! aborts                                 the gateway breaks the session off
//! no-answer 503                          HTTP status, or nothing
//! end nothing left to do                 the session is over, and why
//! executed Replace ./a 200               a command that was answered, in order
//! alerts 200 -                           what became of the alerts
//! tree ./a 2                             a leaf as it is in the end, `-` if there is none
//! nonces c1 s1                           the nonces as they are in the end
//! ```
//!
//! A nonce is text, `-` an empty one. Random octets of the client are the text
//! `fresh-nonce-0001` for the first message that it answers, and so on.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/tree.rs"]
mod tree;

use dm_gateway::proto::auth::{Scheme, Secret};
use dm_gateway::proto::session::client::{
    Account, ClientSession, Ending, Executed, Incoming, Nonces, Options, Outgoing, Step,
};
use dm_gateway::proto::syncml::{
    Alert, AlertCode, Data, Encoding, Item, Location, Meta, wbxml, xml,
};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use tree::Tree;

#[test]
fn conversations_go_as_they_are_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/session");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        Conversation::default().play(name, &parse(&text));
    }
}

/// A line that says something, with the XML below it.
struct Entry {
    line: usize,
    word: String,
    rest: String,
    xml: Vec<String>,
}

fn parse(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('<') {
            entries.last_mut().unwrap().xml.push(line.to_owned());
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (word, rest) = (word.to_owned(), rest.trim().to_owned());
        entries.push(Entry { line: index + 1, word, rest, xml: Vec::new() });
    }
    // A MAC stands above its message.
    for index in (1..entries.len()).rev() {
        if entries[index].word == "mac" {
            let xml = std::mem::take(&mut entries[index].xml);
            entries[index - 1].xml = xml;
        }
    }
    entries
}

/// A conversation on its way.
#[derive(Default)]
struct Conversation {
    options: Option<Options>,
    tree: Tree,
    session: Option<ClientSession>,
    /// What the client is about to post.
    outgoing: Option<Outgoing>,
    ending: Option<Ending>,
    executed: Vec<String>,
    pending: Option<Nonces>,
    answered: u32,
}

impl Conversation {
    fn play(mut self, name: &str, entries: &[Entry]) {
        for (index, entry) in entries.iter().enumerate() {
            let mac = entries.get(index + 1).filter(|next| next.word == "mac");
            let mac = mac.map(|next| &*next.rest);
            self.entry(&format!("{name}.txt:{}", entry.line), entry, mac);
        }
        assert!(self.ending.is_some(), "{name}: the session does not end");
        assert_eq!(self.executed, [""; 0], "{name}: executed, and not told");
    }

    fn entry(&mut self, at: &str, entry: &Entry, mac: Option<&str>) {
        let rest = &*entry.rest;
        match &*entry.word {
            "client" => self.client(at, entry, mac),
            "server" if self.session.is_some() => self.server(at, entry, mac),
            "mac" => {}
            "kept" | "lost" => {
                let nonces = self.pending.take().unwrap_or_else(|| panic!("{at}: no commit"));
                assert_eq!(nonces, nonces_of(rest), "{at}");
                let step = self.session.as_mut().unwrap().committed(entry.word == "kept");
                self.step(step);
            }
            "aborts" => {
                let message = self.session.as_mut().unwrap().abort().unwrap();
                self.step(Step::Send(message));
            }
            "no-answer" => {
                let status = rest.parse().ok();
                let ending = self.session.as_mut().unwrap().no_answer(status);
                self.step(Step::End(ending));
            }
            "end" => assert_eq!(self.ended(at).why.to_string(), rest, "{at}"),
            "nonces" => assert_eq!(self.ended(at).nonces, nonces_of(rest), "{at}"),
            "alerts" => {
                let outcome =
                    |code: Option<u16>| code.map_or_else(|| "-".to_owned(), |it| it.to_string());
                let alerts = &self.ended(at).alerts;
                let alerts: Vec<_> = alerts.iter().map(|it| outcome(it.map(|it| it.0))).collect();
                assert_eq!(alerts.join(" "), rest, "{at}");
            }
            "executed" => {
                assert!(!self.executed.is_empty(), "{at}: nothing more was executed");
                assert_eq!(self.executed.remove(0), rest, "{at}");
            }
            "tree" => {
                let (uri, value) = rest.split_once(' ').unwrap();
                let value = Some(value).filter(|it| *it != "-");
                assert_eq!(self.tree.text(uri), value, "{at}");
            }
            "leaf" => {
                let (uri, value) = rest.split_once(' ').unwrap();
                let value = value.split_once('*').map_or_else(
                    || value.to_owned(),
                    |(text, times)| text.repeat(times.parse().unwrap()),
                );
                self.tree.leaves.insert(uri.to_owned(), Data::Text(value.into()));
            }
            word => self.set(at, word, rest),
        }
    }

    /// Who the two are.
    fn set(&mut self, at: &str, word: &str, rest: &str) {
        let options = self.options.get_or_insert_with(options);
        let words: Vec<_> = rest.split(' ').collect();
        match (word, &*words) {
            ("device", [id]) => options.device_id = (*id).to_owned(),
            ("server", [id, uri]) => {
                (options.server_id, options.uri) = ((*id).to_owned(), (*uri).to_owned());
            }
            ("session", [id, who]) => {
                options.session_id = u16::from_str_radix(id, 16).unwrap();
                options.server_initiated = *who == "server";
            }
            ("encoding", ["xml"]) => options.encoding = Encoding::Xml,
            ("encoding", ["wbxml"]) => options.encoding = Encoding::Wbxml,
            ("client-account", [scheme, name, secret, nonce]) => {
                options.client = account(scheme, name, secret);
                options.nonces.client = octets(nonce);
            }
            ("server-account", [scheme, name, secret, nonce]) => {
                options.server = account(scheme, name, secret);
                options.nonces.server = octets(nonce);
            }
            ("devinfo", [uri, ..]) => options.device_info.push(Item {
                source: Some(Location { uri: (*uri).to_owned().into(), name: None }),
                data: text(&words[1..]),
                ..Item::default()
            }),
            ("alert", [kind, ..]) => {
                let meta = Meta { kind: Some((*kind).to_owned().into()), ..Meta::default() };
                let items = vec![Item { meta, data: text(&words[1..]), ..Item::default() }];
                let code = Some(AlertCode::GENERIC);
                options.alerts.push(Alert { code, items, ..Alert::default() });
            }
            _ => panic!("{at}: {word} {rest}"),
        }
    }

    /// What the client posts has to be what is written.
    fn client(&mut self, at: &str, entry: &Entry, mac: Option<&str>) {
        if self.session.is_none() {
            let options = self.options.clone().unwrap();
            let (session, outgoing) = ClientSession::start(options).unwrap();
            (self.session, self.outgoing) = (Some(session), Some(outgoing));
        }
        let sent = self.outgoing.take().unwrap_or_else(|| panic!("{at}: it posts nothing"));
        assert_eq!(sent.uri, entry.rest, "{at}");
        assert_eq!(sent.mac.as_deref(), mac, "{at}");
        assert_eq!(sent.encoding, self.options.as_ref().unwrap().encoding);
        let found = lines(&xml::encode(&sent.encoding.decode(&sent.body).unwrap()));
        if found != entry.xml {
            let found = indented(&found);
            panic!("{at}: expected\n{}but it posts\n{found}", indented(&entry.xml));
        }
        self.executed.extend(sent.executed.iter().map(executed));
    }

    /// Hands the server's words to the client, in the encoding of the session.
    fn server(&mut self, at: &str, entry: &Entry, mac: Option<&str>) {
        assert!(self.outgoing.is_none() && self.pending.is_none(), "{at}: the client is not done");
        let text = entry.xml.concat();
        let message = xml::decode(text.as_bytes());
        let message = message.unwrap_or_else(|error| panic!("{at}: {error}"));
        let encoding = self.options.as_ref().unwrap().encoding;
        let body = match encoding {
            Encoding::Xml => text.clone().into_bytes(),
            Encoding::Wbxml => wbxml::encode(&message),
        };
        self.answered += 1;
        let fresh = format!("fresh-nonce-{:04}", self.answered);
        let fresh = fresh.as_bytes().try_into().unwrap();
        let incoming = Incoming { encoding, body: &body, mac };
        let step = self.session.as_mut().unwrap().receive(&incoming, fresh, &mut self.tree);
        self.step(step);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(message) => self.outgoing = Some(message),
            Step::Commit(nonces) => self.pending = Some(nonces),
            Step::End(ending) => self.ending = Some(ending),
        }
    }

    fn ended(&self, at: &str) -> &Ending {
        self.ending.as_ref().unwrap_or_else(|| panic!("{at}: the session goes on"))
    }
}

fn options() -> Options {
    Options {
        device_id: String::new(),
        server_id: String::new(),
        uri: String::new(),
        hosts: Vec::new(),
        session_id: 0,
        server_initiated: false,
        encoding: Encoding::Xml,
        secure: false,
        client: None,
        server: None,
        nonces: Nonces::default(),
        max_message_size: 16_384,
        max_object_size: 100_000,
        device_info: Vec::new(),
        alerts: Vec::new(),
    }
}

fn account(scheme: &str, name: &str, secret: &str) -> Option<Account> {
    let scheme = Scheme::of_name(&format!("syncml:auth-{scheme}")).unwrap();
    Some(Account { scheme, name: name.to_owned(), secret: Secret::new(secret) })
}

fn text(words: &[&str]) -> Option<Data<'static>> {
    Some(Data::Text(words.join(" ").into()))
}

fn nonces_of(text: &str) -> Nonces {
    let (client, server) = text.split_once(' ').unwrap();
    Nonces { client: octets(client), server: octets(server) }
}

fn octets(text: &str) -> Vec<u8> {
    if text == "-" { Vec::new() } else { text.into() }
}

fn executed(executed: &Executed) -> String {
    let Executed { command, uri, code } = executed;
    format!("{command} {uri} {}", code.0).replace("  ", " ")
}

/// An element a line, without the declaration and namespaces.
fn lines(octets: &[u8]) -> Vec<String> {
    let mut text = String::from_utf8(octets.to_vec()).unwrap();
    if let Some(end) = text.find("?>").filter(|_| text.starts_with("<?")) {
        text.drain(..end + 2);
    }
    while let Some(start) = text.find(" xmlns=\"") {
        let length = text[start + 8..].find('"').unwrap();
        text.drain(start..start + 8 + length + 1);
    }
    text.trim().replace("><", ">\n<").lines().map(str::to_owned).collect()
}

fn indented(lines: &[String]) -> String {
    let (mut out, mut depth) = (String::new(), 0_usize);
    for line in lines {
        let closes = line.starts_with("</");
        depth = depth.saturating_sub(usize::from(closes));
        writeln!(out, "{:width$}{line}", "", width = 2 * depth).unwrap();
        let opens = !closes && !line.contains("</") && !line.ends_with("/>");
        depth += usize::from(opens);
    }
    out
}
