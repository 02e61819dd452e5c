//! Bounds of the management tree, and transactions on it: undone to any mark, and the changes
//! that the store is told.

#![allow(clippy::unwrap_used, clippy::panic)]

use dm_gateway::limits;
use dm_gateway::proto::syncml::{Data, Encoding, StatusCode, Verb};
use dm_gateway::proto::tree::{Caller, Format, NoProvider, Request, Subject, Transaction, Tree};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NOW: u64 = 1_800_000_000;

fn request<'a>(verb: Verb, uri: &'a str) -> Request<'a> {
    Request { verb, uri, source: None, kind: None, format: None, data: None }
}

/// Every record of the tree by its path.
fn snapshot(tree: &Tree) -> BTreeMap<String, Vec<u8>> {
    let mut records = BTreeMap::new();
    let mut open = vec![".".to_owned()];
    while let Some(uri) = open.pop() {
        open.extend(tree.children(&uri).map(|name| format!("{uri}/{name}")));
        records.insert(uri.clone(), tree.facts(&uri).unwrap().encode());
    }
    assert_eq!(records.len(), tree.len());
    records
}

// --- Bounds -------------------------------------------------------------------------------------

#[test]
fn a_tree_that_is_full_says_so_and_has_room_again_after_a_delete() {
    let mut tree = Tree::new(&[]).unwrap();
    let mut transaction = tree.begin();
    let mut written = 0;
    let status = loop {
        let uri = format!("./many/{}/{written}", written / 1000);
        match tree.write(&uri, Format::Chr, b"v", NOW, &mut transaction) {
            Ok(()) => written += 1,
            Err(status) => break status,
        }
    };
    assert_eq!(status, StatusCode::DEVICE_FULL);
    assert_eq!(tree.len(), limits::TREE_NODES);
    tree.keep(transaction);
    let mut transaction = tree.begin();
    tree.remove("./many/0", &mut transaction).unwrap();
    tree.write("./many/x", Format::Chr, b"v", NOW, &mut transaction).unwrap();
    tree.keep(transaction);
    assert_eq!(tree.len(), limits::TREE_NODES - 1000);
}

#[test]
fn values_children_and_answers_are_bounded() {
    let mut tree = Tree::new(&[]).unwrap();
    let mut transaction = tree.begin();
    let value = vec![b'x'; limits::TREE_VALUE];
    let mut written = 0;
    while tree
        .write(&format!("./big/{written}"), Format::Chr, &value, NOW, &mut transaction)
        .is_ok()
    {
        written += 1;
    }
    assert_eq!(written, limits::TREE_OCTETS / limits::TREE_VALUE - 1);
    tree.undo(transaction, &mut NoProvider);
    let mut transaction = tree.begin();
    for child in 0..limits::TREE_CHILDREN {
        tree.write(&format!("./many/{child}"), Format::Chr, b"", NOW, &mut transaction).unwrap();
    }
    let full = tree.write("./many/more", Format::Chr, b"", NOW, &mut transaction);
    assert_eq!(full, Err(StatusCode::DEVICE_FULL));
    tree.keep(transaction);
    let caller = Caller { subject: Subject::Server("x"), now: NOW, encoding: Encoding::Wbxml };
    for query in ["Struct", "StructData", "TNDS"] {
        let uri = format!("./many?list={query}");
        let mut transaction = tree.begin();
        let outcome =
            tree.execute(&request(Verb::Get, &uri), &caller, &mut NoProvider, &mut transaction);
        assert_eq!(outcome.status, StatusCode::TOO_LARGE, "{query}");
        tree.keep(transaction);
    }
}

// --- Transactions -------------------------------------------------------------------------------

#[derive(Clone, Debug)]
struct Step {
    verb: Verb,
    path: Vec<&'static str>,
    source: Vec<&'static str>,
    property: &'static str,
    text: &'static str,
    kind: Option<&'static str>,
    format: Option<&'static str>,
}

const TNDS: &str = "<MgmtTree><VerDTD>1.2</VerDTD><Node><NodeName>b</NodeName><Node><NodeName>a\
    </NodeName><Value>1</Value></Node><Node><NodeName>c</NodeName><RTProperties><ACL>Get=*</ACL>\
    <Format><node/></Format></RTProperties></Node></Node></MgmtTree>";

fn step() -> impl Strategy<Value = Step> {
    let path = || proptest::collection::vec(proptest::sample::select(vec!["a", "b", "c"]), 1..=3);
    let verbs = vec![
        Verb::Add,
        Verb::Add,
        Verb::Add,
        Verb::Replace,
        Verb::Replace,
        Verb::Delete,
        Verb::Copy,
    ];
    let texts = vec!["a", "b", "d", "", "Get=*", "1", TNDS];
    (
        proptest::sample::select(verbs),
        path(),
        path(),
        proptest::sample::select(vec!["", "", "", "?prop=Name", "?prop=ACL", "?prop=Title"]),
        proptest::sample::select(texts),
        proptest::sample::select(vec![None, None, Some("application/vnd.syncml.dmtnds+xml")]),
        proptest::sample::select(vec![None, Some("chr"), Some("node"), Some("int")]),
    )
        .prop_map(|(verb, path, source, property, text, kind, format)| Step {
            verb,
            path,
            source,
            property,
            text,
            kind,
            format,
        })
}

fn execute(tree: &mut Tree, step: &Step, transaction: &mut Transaction) -> u16 {
    let property = if step.verb == Verb::Replace { step.property } else { "" };
    let uri = format!("./{}{property}", step.path.join("/"));
    let source = step.source.join("/");
    let data = Data::Text(step.text.into());
    let request = Request {
        verb: step.verb,
        uri: &uri,
        source: Some(&source),
        kind: step.kind,
        format: step.format,
        data: Some(&data),
    };
    let caller = Caller { subject: Subject::Server("one"), now: NOW, encoding: Encoding::Xml };
    tree.execute(&request, &caller, &mut NoProvider, transaction).status.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6 * ProptestConfig::default().cases))]

    #[test]
    fn a_transaction_is_undone_to_any_mark_and_its_changes_make_the_same_tree(
        settled in proptest::collection::vec(step(), 0..25),
        steps in proptest::collection::vec(step(), 1..25),
        mark_at in 0_usize..25,
    ) {
        let mut tree = Tree::new(&[]).unwrap();
        let mut transaction = tree.begin();
        tree.write_acl(".", "Add=*&Delete=*&Get=*&Replace=*", NOW, &mut transaction).unwrap();
        for step in &settled {
            execute(&mut tree, step, &mut transaction);
        }
        tree.keep(transaction);
        let start = snapshot(&tree);

        let mut transaction = tree.begin();
        let mut mark = (transaction.mark(), start.clone());
        for (index, step) in steps.iter().enumerate() {
            if index == mark_at {
                mark = (transaction.mark(), snapshot(&tree));
            }
            let before = snapshot(&tree);
            if execute(&mut tree, step, &mut transaction) != 200 {
                prop_assert_eq!(snapshot(&tree), before, "{:?}", step);
            }
        }
        // The changes lead from the one set of records to the other, and say what was there.
        let mut records = start.clone();
        for change in transaction.changes(&tree) {
            prop_assert_eq!(records.get(&change.uri), change.before.as_ref(), "{}", change.uri);
            match change.after {
                Some(after) => records.insert(change.uri, after),
                None => records.remove(&change.uri),
            };
        }
        prop_assert_eq!(&records, &snapshot(&tree));
        // What the store has makes the same tree again.
        let mut again = Tree::new(&[]).unwrap();
        for (uri, record) in &records {
            again.restore(uri, record).unwrap();
        }
        prop_assert_eq!(&snapshot(&again), &records);

        tree.undo_to(&mut transaction, mark.0, &mut NoProvider);
        prop_assert_eq!(snapshot(&tree), mark.1);
        tree.undo(transaction, &mut NoProvider);
        prop_assert_eq!(snapshot(&tree), start);
    }
}
