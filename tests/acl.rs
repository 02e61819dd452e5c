//! ACLs against a reference model: slow, textual, written from the rules of TND 1.2.1, 7.7.1,
//! and from nothing of the implementation.

#![allow(clippy::unwrap_used, clippy::panic)]

use dm_gateway::proto::syncml::{Data, Encoding, StatusCode, Verb};
use dm_gateway::proto::tree::{Caller, NoProvider, Request, Subject, Tree};
use proptest::prelude::*;
use std::collections::BTreeMap;

const SERVERS: [&str; 3] = ["alpha", "beta.example", "urn:x:gamma"];
const COMMANDS: [&str; 5] = ["Add", "Delete", "Exec", "Get", "Replace"];

#[derive(Clone, Debug)]
struct ModelNode {
    is_leaf: bool,
    /// Command to ids; the text as it was set, taken apart.
    acl: Option<BTreeMap<String, Vec<String>>>,
}

/// Every node by its path as a list of names; the root is the empty list.
#[derive(Clone, Debug)]
struct Model(BTreeMap<Vec<String>, ModelNode>);

impl Model {
    fn new() -> Self {
        let acl = Some(taken_apart("Add=*&Get=*"));
        Self(BTreeMap::from([(Vec::new(), ModelNode { is_leaf: false, acl })]))
    }

    /// The nearest list from the node up, as a whole.
    fn allows(&self, path: &[String], command: &str, server: &str) -> bool {
        let mut path = path.to_vec();
        loop {
            if let Some(acl) = self.0.get(&path).and_then(|node| node.acl.as_ref()) {
                let ids = acl.get(command).cloned().unwrap_or_default();
                return ids.iter().any(|id| id == "*" || id == server);
            }
            path.pop().expect("the root has a list");
        }
    }

    fn apply(&mut self, step: &Step) -> u16 {
        let server = SERVERS[step.server];
        let path: Vec<String> = step.path.iter().map(|name| name.to_string()).collect();
        let parent = path[..path.len().saturating_sub(1)].to_vec();
        let node = self.0.get(&path).cloned();
        match &step.what {
            What::Add { is_leaf } => {
                if node.is_some() {
                    return 418;
                }
                let mut above = parent.clone();
                while !self.0.contains_key(&above) {
                    above.pop();
                }
                if self.0[&above].is_leaf {
                    return 405;
                }
                if !self.allows(&above, "Add", server) {
                    return 425;
                }
                for length in above.len() + 1..=path.len() {
                    let is_leaf = *is_leaf && length == path.len();
                    let own = !is_leaf && !self.allows(&path[..length - 1], "Replace", server);
                    let text = format!("Add={server}&Delete={server}&Replace={server}");
                    let acl = own.then(|| taken_apart(&text));
                    self.0.insert(path[..length].to_vec(), ModelNode { is_leaf, acl });
                }
                200
            }
            What::Get => match node {
                None => 404,
                Some(_) if !self.allows(&path, "Get", server) => 425,
                Some(_) => 200,
            },
            What::Replace => match node {
                None => 404,
                Some(node) if !node.is_leaf => 405,
                Some(_) if !self.allows(&path, "Replace", server) => 425,
                Some(_) => 200,
            },
            What::Delete => match node {
                None => 404,
                Some(_) if path.is_empty() => 405,
                Some(_) if !self.allows(&path, "Delete", server) => 425,
                Some(_) => {
                    self.0.retain(|other, _| !other.starts_with(&path));
                    200
                }
            },
            What::SetAcl(text) => {
                let Some(node) = node else {
                    return 404;
                };
                let own = !node.is_leaf && self.allows(&path, "Replace", server);
                let above = !path.is_empty() && self.allows(&parent, "Replace", server);
                if !own && !above {
                    return 425;
                }
                if path.is_empty() && text.is_empty() {
                    return 405;
                }
                let acl = (!text.is_empty()).then(|| taken_apart(text));
                self.0.get_mut(&path).unwrap().acl = acl;
                200
            }
            What::Forget(gone) => {
                for (path, node) in &mut self.0 {
                    let Some(acl) = &mut node.acl else { continue };
                    if !acl.values().flatten().any(|id| id == SERVERS[*gone]) {
                        continue;
                    }
                    let lost: Vec<String> = acl
                        .iter_mut()
                        .filter_map(|(command, ids)| {
                            ids.retain(|id| id != SERVERS[*gone]);
                            ids.is_empty().then(|| command.clone())
                        })
                        .collect();
                    acl.retain(|_, ids| !ids.is_empty());
                    if !path.is_empty() {
                        if acl.is_empty() {
                            node.acl = None;
                        }
                        continue;
                    }
                    for command in lost.iter().filter(|it| ["Add", "Get"].contains(&&***it)) {
                        acl.insert(command.clone(), vec!["*".into()]);
                    }
                    if acl.is_empty() {
                        *acl = taken_apart("Add=*&Get=*");
                    }
                }
                200
            }
        }
    }
}

fn taken_apart(text: &str) -> BTreeMap<String, Vec<String>> {
    text.split('&')
        .map(|part| {
            let (command, ids) = part.split_once('=').unwrap();
            (command.to_owned(), ids.split('+').map(String::from).collect())
        })
        .collect()
}

#[derive(Clone, Debug)]
enum What {
    Add { is_leaf: bool },
    Get,
    Replace,
    Delete,
    SetAcl(String),
    Forget(usize),
}

#[derive(Clone, Debug)]
struct Step {
    server: usize,
    path: Vec<&'static str>,
    what: What,
}

fn acl_text() -> impl Strategy<Value = String> {
    let ids = prop_oneof![
        1 => Just("*".to_owned()),
        3 => proptest::sample::subsequence(SERVERS.to_vec(), 1..=3).prop_map(|ids| ids.join("+")),
    ];
    proptest::sample::subsequence(COMMANDS.to_vec(), 0..=5).prop_flat_map(move |commands| {
        let count = commands.len();
        proptest::collection::vec(ids.clone(), count).prop_map(move |ids| {
            let parts = commands.iter().zip(&ids).map(|(command, ids)| format!("{command}={ids}"));
            parts.collect::<Vec<_>>().join("&")
        })
    })
}

fn step() -> impl Strategy<Value = Step> {
    let path = proptest::collection::vec(proptest::sample::select(vec!["a", "b", "c"]), 0..=4);
    let what = prop_oneof![
        4 => any::<bool>().prop_map(|is_leaf| What::Add { is_leaf }),
        2 => Just(What::Get),
        2 => Just(What::Replace),
        1 => Just(What::Delete),
        4 => acl_text().prop_map(What::SetAcl),
        1 => (0..SERVERS.len()).prop_map(What::Forget),
    ];
    (0..SERVERS.len(), path, what).prop_map(|(server, path, what)| {
        let path =
            if matches!(what, What::Add { .. }) && path.is_empty() { vec!["a"] } else { path };
        Step { server, path, what }
    })
}

fn uri(path: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { ".".to_owned() } else { format!("./{}", names.join("/")) }
}

fn run(tree: &mut Tree, step: &Step) -> u16 {
    let mut uri = uri(&step.path);
    let mut transaction = tree.begin();
    let (verb, text, format) = match &step.what {
        What::Add { is_leaf: true } => (Verb::Add, Some("v"), Some("chr")),
        What::Add { is_leaf: false } => (Verb::Add, None, Some("node")),
        What::Get => (Verb::Get, None, None),
        What::Replace => (Verb::Replace, Some("w"), None),
        What::Delete => (Verb::Delete, None, None),
        What::SetAcl(text) => {
            uri += "?prop=ACL";
            (Verb::Replace, Some(text.as_str()), None)
        }
        What::Forget(gone) => {
            tree.forget_server(SERVERS[*gone], 1, &mut transaction);
            tree.keep(transaction);
            return 200;
        }
    };
    let data = text.map(|text| Data::Text(text.into()));
    let request =
        Request { verb, uri: &uri, source: None, kind: None, format, data: data.as_ref() };
    let subject = Subject::Server(SERVERS[step.server]);
    let caller = Caller { subject, now: 1, encoding: Encoding::Xml };
    let StatusCode(status) =
        tree.execute(&request, &caller, &mut NoProvider, &mut transaction).status;
    if status == 200 {
        tree.keep(transaction);
    } else {
        assert!(transaction.is_empty(), "a refused command leaves nothing");
        assert!(transaction.changes(tree).is_empty());
        tree.undo(transaction, &mut NoProvider);
    }
    status
}

/// The lists are the same node by node, and so is every decision.
fn compare(tree: &Tree, model: &Model) {
    assert_eq!(tree.len(), model.0.len());
    for (path, node) in &model.0 {
        let uri = uri(path);
        let facts = tree.facts(&uri).unwrap_or_else(|| panic!("{uri} is missing"));
        assert_eq!(facts.is_interior(), !node.is_leaf, "{uri}");
        let acl = facts.acl.as_ref().map(|acl| taken_apart(&acl.to_string()));
        let sorted = |acl: &Option<BTreeMap<String, Vec<String>>>| {
            acl.clone().map(|mut acl| {
                acl.values_mut().for_each(|ids| ids.sort());
                acl
            })
        };
        assert_eq!(sorted(&acl), sorted(&node.acl), "{uri}");
        for server in SERVERS.into_iter().chain(["stranger"]) {
            for command in COMMANDS {
                let right = dm_gateway::proto::tree::Rights::parse(command).unwrap();
                assert_eq!(
                    tree.allows(&uri, server, right),
                    model.allows(path, command, server),
                    "{command} of {uri} for {server}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2 * ProptestConfig::default().cases))]

    #[test]
    fn every_decision_is_that_of_the_reference_model(
        root in acl_text(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut tree = Tree::new(&[]).unwrap();
        let mut model = Model::new();
        // From the factory no server may replace anything at the root.
        let root = if root.is_empty() { "Add=*&Get=*&Replace=alpha".to_owned() } else { root };
        let mut transaction = tree.begin();
        tree.write_acl(".", &root, 1, &mut transaction).unwrap();
        tree.keep(transaction);
        model.0.get_mut(&Vec::new()).unwrap().acl = Some(taken_apart(&root));
        for step in &steps {
            let before = model.clone();
            let expected = model.apply(step);
            prop_assert_eq!(run(&mut tree, step), expected, "{:?}", step);
            if expected != 200 {
                model = before;
            }
            compare(&tree, &model);
        }
    }
}

fn server(tree: &mut Tree, server: &str, verb: Verb, uri: &str, text: &str, format: &str) -> u16 {
    let data = Data::Text(text.into());
    let request =
        Request { verb, uri, source: None, kind: None, format: Some(format), data: Some(&data) };
    let caller = Caller { subject: Subject::Server(server), now: 1, encoding: Encoding::Xml };
    let mut transaction = tree.begin();
    let outcome = tree.execute(&request, &caller, &mut NoProvider, &mut transaction);
    tree.keep(transaction);
    outcome.status.0
}

fn acl(tree: &Tree, uri: &str) -> String {
    tree.facts(uri).unwrap().acl.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn a_list_is_inherited_as_a_whole_and_never_merged() {
    let mut tree = Tree::new(&[]).unwrap();
    assert_eq!(server(&mut tree, "a", Verb::Add, "./x", "", "node"), 200);
    assert_eq!(acl(&tree, "./x"), "Add=a&Delete=a&Replace=a");
    // The root gives Get to all; the list of the node does not.
    assert_eq!(server(&mut tree, "a", Verb::Get, "./x", "", "chr"), 425);
    assert_eq!(
        server(&mut tree, "a", Verb::Replace, "./x?prop=ACL", "Get=*&Replace=a", "chr"),
        200
    );
    assert_eq!(server(&mut tree, "b", Verb::Get, "./x", "", "chr"), 200);
    assert_eq!(server(&mut tree, "a", Verb::Add, "./x/y", "1", "chr"), 425);
}

#[test]
fn the_holder_of_replace_on_the_parent_takes_over_in_two_steps() {
    let mut tree = Tree::new(&[]).unwrap();
    assert_eq!(server(&mut tree, "a", Verb::Add, "./x", "", "node"), 200);
    assert_eq!(
        server(&mut tree, "a", Verb::Replace, "./x?prop=ACL", "Add=b&Get=b&Replace=a", "chr"),
        200
    );
    assert_eq!(server(&mut tree, "b", Verb::Add, "./x/y", "", "node"), 200);
    assert_eq!(server(&mut tree, "a", Verb::Add, "./x/y/z", "1", "chr"), 425);
    assert_eq!(server(&mut tree, "a", Verb::Replace, "./x/y?prop=ACL", "Add=a", "chr"), 200);
    assert_eq!(server(&mut tree, "a", Verb::Add, "./x/y/z", "1", "chr"), 200);
}

#[test]
fn replace_on_a_leaf_does_not_reach_its_list() {
    let mut tree = Tree::new(&[]).unwrap();
    let mut transaction = tree.begin();
    tree.write("./x/leaf", Default::default(), b"1", 1, &mut transaction).unwrap();
    tree.write_acl("./x/leaf", "Get=a&Replace=a", 1, &mut transaction).unwrap();
    tree.write_acl("./x", "Get=a", 1, &mut transaction).unwrap();
    tree.keep(transaction);
    assert_eq!(server(&mut tree, "a", Verb::Replace, "./x/leaf", "2", "chr"), 200);
    assert_eq!(server(&mut tree, "a", Verb::Replace, "./x/leaf?prop=Title", "t", "chr"), 200);
    assert_eq!(server(&mut tree, "a", Verb::Replace, "./x/leaf?prop=ACL", "Get=*", "chr"), 425);
}
