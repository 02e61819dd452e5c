//! Serialised trees (TNDS): into the tree and out of it, as XML and as WBXML, whole or not at all.

#![allow(clippy::unwrap_used, clippy::panic)]

use dm_gateway::limits;
use dm_gateway::proto::syncml::{Data, Encoding, Meta, StatusCode, Verb};
use dm_gateway::proto::tnds::{self, Document, Node, Properties};
use dm_gateway::proto::tree::{
    Acl, Caller, DEV_INFO, DM_ACC, Format, INBOX, NoProvider, Outcome, Request, Subject, Tree,
};
use std::collections::BTreeMap;

const NOW: u64 = 1_800_000_000;
const BOTH: [Encoding; 2] = [Encoding::Xml, Encoding::Wbxml];

fn tree() -> Tree {
    let mut tree = Tree::new(&[DEV_INFO, DM_ACC, INBOX]).unwrap();
    let mut transaction = tree.begin();
    let acl = "Add=one+two&Delete=one&Exec=one&Get=one+two&Replace=one";
    tree.write_acl(".", acl, NOW, &mut transaction).unwrap();
    tree.keep(transaction);
    tree
}

/// Executes a command; one that is refused must leave everything as it was.
fn run(tree: &mut Tree, server: &str, encoding: Encoding, request: &Request<'_>) -> Outcome {
    let caller = Caller { subject: Subject::Server(server), now: NOW, encoding };
    let before = snapshot(tree);
    let mut transaction = tree.begin();
    let outcome = tree.execute(request, &caller, &mut NoProvider, &mut transaction);
    if !outcome.status.is_success() {
        assert!(transaction.changes(tree).is_empty());
        assert_eq!(snapshot(tree), before, "a refused command changes nothing");
    }
    tree.keep(transaction);
    outcome
}

/// Adds or replaces with a document in an encoding.
fn put(
    tree: &mut Tree,
    server: &str,
    verb: Verb,
    uri: &str,
    encoding: Encoding,
    document: &Document,
) -> u16 {
    let (data, kind, format) = document.to_data(encoding);
    let (kind, format, data) = (Some(kind), Some(format), Some(&data));
    let request = Request { verb, uri, source: None, kind, format, data };
    run(tree, server, encoding, &request).status.0
}

/// Adds what is written, as XML.
fn add_text(tree: &mut Tree, uri: &str, text: &str) -> u16 {
    let data = Data::Text(text.into());
    let kind = Some(tnds::media_type(Encoding::Xml));
    let request = Request {
        verb: Verb::Add,
        uri,
        source: None,
        kind,
        format: Some("xml"),
        data: Some(&data),
    };
    run(tree, "one", Encoding::Xml, &request).status.0
}

fn get(tree: &mut Tree, uri: &str, encoding: Encoding) -> (Document, Meta<'static>) {
    let request =
        Request { verb: Verb::Get, uri, source: None, kind: None, format: None, data: None };
    let mut outcome = run(tree, "one", encoding, &request);
    assert_eq!(outcome.status, StatusCode::OK, "{uri}");
    let item = outcome.items.remove(0);
    (Document::of_data(item.data.as_ref().unwrap()).unwrap(), item.meta)
}

fn snapshot(tree: &Tree) -> BTreeMap<String, Vec<u8>> {
    let mut records = BTreeMap::new();
    let mut open = vec![".".to_owned()];
    while let Some(uri) = open.pop() {
        open.extend(tree.children(&uri).map(|name| format!("{uri}/{name}")));
        records.insert(uri.clone(), tree.facts(&uri).unwrap().encode());
    }
    records
}

fn document(nodes: Vec<Node>) -> Document {
    Document { nodes }
}

/// An object with every format, properties that a server may set, and octets.
fn object(name: &str) -> Document {
    let mut titled = Node::leaf("text", Format::Chr, "a < b & c \u{fc} ]]> ");
    titled.properties.title = Some("A title".into());
    titled.properties.kind = Some("text/x-note".into());
    let mut listed = Node::interior("listed", vec![Node::leaf("octets", Format::Bin, [0, 255, 7])]);
    listed.properties.acl = Some("Get=*&Replace=one".into());
    listed.properties.kind = Some("urn:x:listed:1.0".into());
    document(vec![Node::interior(
        name,
        vec![
            Node::leaf("document", Format::Xml, "<a b=\"c\">d</a>"),
            Node::leaf("float", Format::Float, "-2.5"),
            listed,
            Node::leaf("none", Format::Null, ""),
            Node::leaf("number", Format::Int, "-7"),
            titled,
            Node::leaf("time", Format::Time, "20270115T080000Z"),
            Node::leaf("truth", Format::Bool, "true"),
        ],
    )])
}

#[test]
fn a_document_becomes_the_same_nodes_in_both_encodings() {
    let mut trees = BOTH.map(|encoding| {
        let mut tree = tree();
        assert_eq!(put(&mut tree, "one", Verb::Add, "./Object", encoding, &object("Object")), 200);
        tree
    });
    assert_eq!(snapshot(&trees[0]), snapshot(&trees[1]));
    let tree = &mut trees[1];
    assert_eq!(tree.facts("./Object/listed/octets").unwrap().value[..], [0, 255, 7]);
    assert_eq!(tree.text("./Object/text"), Some("a < b & c \u{fc} ]]> "));
    assert_eq!(tree.text("./Object/document"), Some("<a b=\"c\">d</a>"));
    assert_eq!(tree.facts("./Object/text").unwrap().title.as_deref(), Some("A title"));
    assert_eq!(tree.facts("./Object/text").unwrap().kind.as_deref(), Some("text/x-note"));
    let listed = tree.facts("./Object/listed").unwrap();
    assert_eq!(listed.kind.as_deref(), Some("urn:x:listed:1.0"));
    assert_eq!(listed.acl.as_deref(), Acl::parse("Get=*&Replace=one").unwrap().as_ref());
}

#[test]
fn what_comes_out_goes_in_again_in_both_encodings() {
    let mut first = tree();
    assert_eq!(
        put(&mut first, "one", Verb::Add, "./Object", Encoding::Xml, &object("Object")),
        200
    );
    for (encoding, kind, format) in [
        (Encoding::Xml, "application/vnd.syncml.dmtnds+xml", "xml"),
        (Encoding::Wbxml, "application/vnd.syncml.dmtnds+wbxml", "bin"),
    ] {
        let (got, meta) = get(&mut first, "./Object?list=TNDS", encoding);
        assert_eq!(meta.kind.as_deref(), Some(kind));
        assert_eq!(meta.format.as_deref(), Some(format));
        assert_eq!(got.nodes[0].path.as_deref(), Some("."));
        for back in BOTH {
            let mut second = tree();
            assert_eq!(put(&mut second, "one", Verb::Add, ".", back, &got), 200);
            assert_eq!(snapshot(&second), snapshot(&first), "{encoding:?} {back:?}");
        }
    }
}

#[test]
fn a_listing_has_the_properties_with_plus_and_leaves_out_those_with_minus() {
    let mut tree = tree();
    assert_eq!(put(&mut tree, "one", Verb::Add, "./Object", Encoding::Xml, &object("Object")), 200);
    let full = Properties {
        acl: None,
        format: Some(Format::Chr),
        name: Some("text".into()),
        size: Some(17),
        title: Some("A title".into()),
        timestamp: Some("20270115T080000Z".into()),
        kind: Some("text/x-note".into()),
        version: Some(0),
    };
    let usual = Properties { name: None, ..full.clone() };
    let one = |set: &dyn Fn(&mut Properties)| {
        let mut properties = Properties::default();
        set(&mut properties);
        properties
    };
    for (list, properties, has_value) in [
        ("TNDS", usual.clone(), true),
        ("TNDS+Value", Properties::default(), true),
        ("TNDS+Format", one(&|it| it.format = Some(Format::Chr)), false),
        ("TNDS+Name", one(&|it| it.name = Some("text".into())), false),
        ("TNDS+Size", one(&|it| it.size = Some(17)), false),
        ("TNDS+Title", one(&|it| it.title = Some("A title".into())), false),
        ("TNDS+Type", one(&|it| it.kind = Some("text/x-note".into())), false),
        ("TNDS+VerNo", one(&|it| it.version = Some(0)), false),
        ("TNDS+ACL+Format+Name+Size+Title+TStamp+Type+VerNo+Value", full, true),
        ("TNDS-Value", usual.clone(), false),
        ("TNDS-Size", Properties { size: None, ..usual.clone() }, true),
        ("TNDS-TStamp-VerNo", Properties { timestamp: None, version: None, ..usual }, true),
        ("TNDS-ACL-Format-Size-Title-TStamp-Type-VerNo-Value", Properties::default(), false),
    ] {
        for encoding in BOTH {
            let (got, _) = get(&mut tree, &format!("./Object/text?list={list}"), encoding);
            assert_eq!(got.nodes[0].properties, properties, "{list} {encoding:?}");
            assert_eq!(got.nodes[0].value.is_some(), has_value, "{list} {encoding:?}");
        }
    }
    let (got, _) = get(&mut tree, "./Object/listed?list=TNDS+ACL", Encoding::Wbxml);
    assert_eq!(got.nodes[0].properties.acl.as_deref(), Some("Get=*&Replace=one"));
}

#[test]
fn path_and_name_say_where_the_topmost_node_goes() {
    let node = |path: Option<&str>, name: Option<&str>| Node {
        path: path.map(Into::into),
        name: name.map(Into::into),
        ..Node::leaf("", Format::Chr, "v")
    };
    for (target, path, name, placed) in [
        ("./A/new", None, Some("new"), Ok("./A/new")),
        ("./A/new", None, None, Ok("./A/new")),
        ("./A/new", None, Some("below"), Ok("./A/new/below")),
        ("./A", None, Some("below"), Ok("./A/below")),
        ("./A", None, None, Err(400)),
        ("./A", Some("./A"), Some("below"), Ok("./A/below")),
        ("./A", Some("./A/B/C"), Some("below"), Ok("./A/B/C/below")),
        ("./A", Some("B"), Some("below"), Ok("./A/B/below")),
        ("./A", Some("./Other"), Some("below"), Err(400)),
        ("./A", Some("./Abc"), Some("below"), Err(400)),
        ("./A", Some("../Other"), Some("below"), Err(400)),
        ("./A", Some("./A"), None, Err(400)),
        ("./A", Some("./A"), Some("leaf"), Err(418)),
        ("./A/leaf", None, Some("below"), Err(405)),
        (".", Some("."), Some("top"), Ok("./top")),
    ] {
        for encoding in BOTH {
            let mut tree = tree();
            let mut transaction = tree.begin();
            tree.write("./A/leaf", Format::Chr, b"old", NOW, &mut transaction).unwrap();
            tree.keep(transaction);
            let document = document(vec![node(path, name)]);
            let status = put(&mut tree, "one", Verb::Add, target, encoding, &document);
            assert_eq!(status, placed.err().unwrap_or(200), "{target} {path:?} {name:?}");
            if let Ok(uri) = placed {
                assert_eq!(tree.text(uri), Some("v"), "{target} {path:?} {name:?}");
            }
        }
    }
}

#[test]
fn an_account_comes_as_one_document_and_follows_its_description() {
    let account = |leaf: Node| {
        let address =
            Node::interior("1", vec![Node::leaf("Addr", Format::Chr, "https://two.example")]);
        let auth = Node::interior("1", vec![Node::leaf("AAuthSecret", Format::Chr, "hush")]);
        document(vec![Node::interior(
            "two",
            vec![
                Node::leaf("AppID", Format::Chr, "w7"),
                Node::interior("AppAddr", vec![address]),
                Node::interior("AppAuth", vec![auth]),
                leaf,
            ],
        )])
    };
    for encoding in BOTH {
        let mut tree = tree();
        let mut add = |leaf| put(&mut tree, "one", Verb::Add, "./DMAcc", encoding, &account(leaf));
        assert_eq!(add(Node::leaf("Unheard", Format::Chr, "x")), 405);
        assert_eq!(add(Node::leaf("Name", Format::Int, "7")), 415);
        assert_eq!(add(Node::interior("Name", Vec::new())), 415);
        assert_eq!(add(Node::leaf("Name", Format::Chr, "Two")), 200);
        assert_eq!(add(Node::leaf("Name", Format::Chr, "Two")), 418);
        assert_eq!(tree.text("./DMAcc/two/AppAuth/1/AAuthSecret"), Some("hush"));
        let (got, _) = get(&mut tree, "./DMAcc/two?list=TNDS", encoding);
        assert!(got.nodes[0].child("AppAuth").unwrap().child("1").unwrap().children.is_empty());
    }
}

#[test]
fn replace_puts_a_document_in_the_place_of_a_subtree() {
    for encoding in BOTH {
        let mut tree = tree();
        assert_eq!(put(&mut tree, "one", Verb::Add, "./O", encoding, &object("O")), 200);
        let new = document(vec![Node::interior("O", vec![Node::leaf("only", Format::Int, "1")])]);
        let mut replace = |server, uri, document: &Document| {
            put(&mut tree, server, Verb::Replace, uri, encoding, document)
        };
        assert_eq!(replace("two", "./O", &new), 425);
        assert_eq!(replace("one", "./nothing", &new), 404);
        assert_eq!(replace("one", "./O/number", &new), 400, "another name");
        assert_eq!(replace("one", "./DevInfo", &new), 405);
        assert_eq!(replace("one", "./O", &document(Vec::new())), 400);
        assert_eq!(
            replace("one", "./O", &document([new.nodes.clone(), new.nodes.clone()].concat())),
            400
        );
        let bad = Node::interior("O", vec![Node::leaf("only", Format::Int, "one")]);
        assert_eq!(replace("one", "./O", &document(vec![bad])), 400);
        assert_eq!(replace("one", "./O", &new), 200);
        assert_eq!(tree.children("./O").collect::<Vec<_>>(), ["only"]);
        assert_eq!(tree.facts("./O").unwrap().version, 1);
    }
}

#[test]
fn a_list_in_a_document_counts_only_from_who_may_set_it() {
    let with_acl = |acl: &str| {
        let mut node = Node::interior("mine", vec![Node::leaf("leaf", Format::Chr, "x")]);
        node.properties.acl = Some(acl.into());
        document(vec![node])
    };
    for encoding in BOTH {
        let mut tree = tree();
        let mut add = |server, document: &Document| {
            put(&mut tree, server, Verb::Add, "./mine", encoding, document)
        };
        assert_eq!(add("one", &with_acl("Get=")), 400);
        assert_eq!(add("three", &with_acl("Get=*")), 425);
        // Who may not replace the parent has Replace on the interior node that it adds, and so its
        // list; on a leaf it has no such right.
        assert_eq!(add("two", &with_acl("Get=two&Replace=two")), 200);
        let mut leaf = Node::leaf("leaf2", Format::Chr, "x");
        leaf.properties.acl = Some("Get=two".into());
        let leaf = document(vec![leaf]);
        assert_eq!(put(&mut tree, "two", Verb::Add, "./leaf2", encoding, &leaf), 425);
        let acl = tree.facts("./mine").unwrap().acl.as_ref().unwrap().to_string();
        assert_eq!(acl, "Get=two&Replace=two");
    }
}

#[test]
fn a_document_that_is_none_leaves_nothing_behind() {
    let wrap = |nodes: &str| format!("<MgmtTree><VerDTD>1.2</VerDTD>{nodes}</MgmtTree>");
    let deep = (0..limits::TREE_DEPTH).fold("<Value>x</Value>".to_owned(), |inner, _| {
        format!("<Node><NodeName>n</NodeName>{inner}</Node>")
    });
    let good = "<Node><NodeName>a</NodeName><Value>1</Value></Node>";
    for (nodes, status) in [
        ("", 400),
        ("<Node><NodeName>a/b</NodeName><Value>1</Value></Node>", 400),
        ("<Node><NodeName>..</NodeName><Value>1</Value></Node>", 400),
        ("<Node><NodeName>a</NodeName><Node><Value>1</Value></Node></Node>", 400),
        (
            "<Node><NodeName>a</NodeName><Value>1</Value><Node><NodeName>b</NodeName></Node></Node>",
            400,
        ),
        (
            "<Node><NodeName>a</NodeName><RTProperties><Format><int/></Format></RTProperties>\
             <Value>one</Value></Node>",
            400,
        ),
        (
            "<Node><NodeName>a</NodeName><RTProperties><Format><sandwich/></Format></RTProperties>\
             <Value>1</Value></Node>",
            400,
        ),
        (
            "<Node><NodeName>a</NodeName><RTProperties><Format><bin/></Format></RTProperties>\
             <Value>$$$</Value></Node>",
            400,
        ),
        (&[good, good].concat(), 418),
        (&format!("<Node><NodeName>a</NodeName>{good}{good}</Node>"), 400),
        (&deep, 414),
        (&format!("{good}<Node><NodeName>Inbox</NodeName></Node>"), 418),
        (&format!("{good}<Node><NodeName>DMAcc</NodeName></Node>"), 418),
    ] {
        let mut tree = tree();
        let target = if nodes == deep { "./x" } else { "." };
        assert_eq!(add_text(&mut tree, target, &wrap(nodes)), status, "{nodes:.120}");
    }
    let mut tree = tree();
    assert_eq!(add_text(&mut tree, ".", "<MgmtTree><Node>"), 400);
    assert_eq!(add_text(&mut tree, ".", "<SyncML/>"), 400);
    assert_eq!(add_text(&mut tree, ".", ""), 400);
    assert_eq!(add_text(&mut tree, ".", &wrap(good)), 200);
    let octets = object("O").encode(Encoding::Wbxml);
    for length in 0..octets.len() {
        let data = Data::Binary(octets[..length].into());
        let kind = Some(tnds::media_type(Encoding::Wbxml));
        let request = Request {
            verb: Verb::Add,
            uri: "./O",
            source: None,
            kind,
            format: Some("bin"),
            data: Some(&data),
        };
        assert_eq!(run(&mut tree, "one", Encoding::Wbxml, &request).status.0, 400, "{length}");
    }
}

#[test]
fn a_binary_document_may_come_as_base64_in_an_xml_session() {
    use base64::Engine as _;
    let mut tree = tree();
    let octets = object("O").encode(Encoding::Wbxml);
    let data = Data::Text(base64::engine::general_purpose::STANDARD.encode(octets).into());
    let kind = Some("application/vnd.syncml.dmtnds+wbxml; charset=utf-8");
    let request = Request {
        verb: Verb::Add,
        uri: "./O",
        source: None,
        kind,
        format: Some("b64"),
        data: Some(&data),
    };
    assert_eq!(run(&mut tree, "one", Encoding::Xml, &request).status.0, 200);
    assert_eq!(tree.text("./O/number"), Some("-7"));
}
