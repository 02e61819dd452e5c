//! The management tree: what each command does, its exact status, and what a refusal leaves.

#![allow(clippy::unwrap_used, clippy::panic)]

use dm_gateway::limits;
use dm_gateway::proto::syncml::{Data, Encoding, StatusCode, Verb};
use dm_gateway::proto::tree::{
    Caller, DEV_DETAIL, DEV_INFO, DM_ACC, DeliveryContent, Format, INBOX, Mount, Outcome, Provider,
    Request, Rights, Subject, Tree, Value,
};
use std::collections::BTreeMap;

const NOW: u64 = 1_800_000_000;

/// A tree with one account, whose server may do everything.
struct Bench {
    tree: Tree,
    served: Served,
    encoding: Encoding,
}

fn bench() -> Bench {
    let mut tree = Tree::new(&[DEV_INFO, DEV_DETAIL, DM_ACC, INBOX]).unwrap();
    let mut transaction = tree.begin();
    let mut write = |uri: &str, format, value: &str| {
        tree.write(uri, format, value.as_bytes(), NOW, &mut transaction).unwrap();
    };
    write("./DevInfo/Man", Format::Chr, "Hydrant Instruments");
    write("./DMAcc/one/AppID", Format::Chr, "w7");
    write("./DMAcc/one/ServerID", Format::Chr, "one.example");
    write("./DMAcc/one/AppAddr/1/Addr", Format::Chr, "https://one.example/dm");
    write("./DMAcc/one/AppAddr/1/Port/1/PortNbr", Format::Int, "443");
    write("./DMAcc/one/AppAuth/1/AAuthLevel", Format::Chr, "CLCRED");
    write("./DMAcc/one/AppAuth/1/AAuthSecret", Format::Chr, "a secret");
    write("./DMAcc/one/AppAuth/1/AAuthData", Format::Bin, "nonce");
    write("./Objects/leaf", Format::Chr, "value");
    write("./Objects/sub/deep", Format::Int, "-7");
    tree.write_acl(
        ".",
        "Add=one&Delete=one&Exec=one&Get=one+two&Replace=one",
        NOW,
        &mut transaction,
    )
    .unwrap();
    tree.keep(transaction);
    Bench { tree, served: Served::default(), encoding: Encoding::Xml }
}

fn request<'a>(verb: Verb, uri: &'a str) -> Request<'a> {
    Request { verb, uri, source: None, kind: None, format: None, data: None }
}

impl Bench {
    fn run(&mut self, server: &str, request: Request<'_>) -> Outcome {
        let caller =
            Caller { subject: Subject::Server(server), now: NOW + 1, encoding: self.encoding };
        let before = snapshot(&self.tree);
        let mut transaction = self.tree.begin();
        let outcome = self.tree.execute(&request, &caller, &mut self.served, &mut transaction);
        if !outcome.status.is_success() {
            assert!(transaction.changes(&self.tree).is_empty());
            assert_eq!(snapshot(&self.tree), before, "a refused command changes nothing");
        }
        self.tree.keep(transaction);
        outcome
    }

    fn status(&mut self, verb: Verb, uri: &str) -> u16 {
        self.run("one", request(verb, uri)).status.0
    }

    fn put(&mut self, verb: Verb, uri: &str, format: &str, text: &str) -> u16 {
        let data = Data::Text(text.into());
        let format = Some(format).filter(|format| !format.is_empty());
        self.run("one", Request { format, data: Some(&data), ..request(verb, uri) }).status.0
    }

    fn get(&mut self, uri: &str) -> String {
        let outcome = self.run("one", request(Verb::Get, uri));
        assert_eq!(outcome.status, StatusCode::OK, "{uri}");
        match outcome.items[0].data.clone().unwrap() {
            Data::Text(text) | Data::Markup(text) => text.into_owned(),
            Data::Binary(octets) => format!("{octets:?}"),
        }
    }
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

#[test]
fn get_answers_values_and_names() {
    let mut bench = bench();
    assert_eq!(bench.get("./DevInfo/Man"), "Hydrant Instruments");
    assert_eq!(bench.get("Objects/leaf"), "value");
    assert_eq!(bench.get("."), "DMAcc/DevDetail/DevInfo/Inbox/Objects");
    assert_eq!(bench.get("./DMAcc/one"), "AppAddr/AppAuth/AppID/ServerID");
    let outcome = bench.run("one", request(Verb::Get, "./Objects/sub/deep"));
    let item = &outcome.items[0];
    assert_eq!(item.source.as_ref().unwrap().uri, "./Objects/sub/deep");
    assert_eq!(item.meta.format.as_deref(), Some("int"));
    assert_eq!(item.meta.kind.as_deref(), Some("text/plain"));
    let outcome = bench.run("one", request(Verb::Get, "./DMAcc"));
    assert_eq!(outcome.items[0].meta.format.as_deref(), Some("node"));
}

#[test]
fn every_refusal_has_its_status() {
    let mut bench = bench();
    use Verb::{Add, Copy, Delete, Exec, Get, Replace};
    let long = "x".repeat(limits::TREE_SEGMENT + 1);
    let deep = "a/".repeat(limits::TREE_DEPTH) + "a";
    let big = "x".repeat(limits::TREE_VALUE + 1);
    for (verb, uri, format, text, status) in [
        (Get, "./nothing", "", "", 404),
        (Get, "./Objects/leaf/below", "", "", 404),
        (Get, "./Objects/", "", "", 400),
        (Get, "../Objects", "", "", 400),
        (Get, "./%4Fbjects", "", "", 400),
        (Get, "./Objects?prop=Nothing", "", "", 406),
        (Get, "./Objects?list=All", "", "", 406),
        (Get, "./Objects?prop=Size", "", "", 406),
        (Get, &long, "", "", 414),
        (Get, &deep, "", "", 414),
        (Get, "./DMAcc/one/AppAuth/1/AAuthSecret", "", "", 405),
        (Get, "./DMAcc/one/AppAuth/1/AAuthData", "", "", 405),
        (Get, "./DMAcc/one/AppAuth/1/AAuthSecret?prop=Size", "", "", 405),
        (Get, "./DMAcc/one/AppAuth/1/AAuthSecret?list=StructData", "", "", 405),
        (Get, "./DMAcc/one/AppAuth/1/AAuthSecret?list=TNDS", "", "", 405),
        (Get, "./Inbox", "", "", 405),
        (Add, "./Objects/leaf", "chr", "x", 418),
        (Add, "./Objects", "node", "", 418),
        (Add, ".", "node", "", 418),
        (Add, "./Objects/leaf/below", "chr", "x", 405),
        (Add, "./DevInfo/Unheard", "chr", "x", 405),
        (Add, "./DMAcc/one/Unheard", "chr", "x", 405),
        (Add, "./DMAcc/one/Name/below", "chr", "x", 405),
        (Add, "./DMAcc/one/Name", "int", "7", 415),
        (Add, "./DMAcc/one/Name", "node", "", 415),
        (Add, "./DMAcc/one/Name", "sandwich", "", 415),
        (Add, "./Objects/number", "int", "seven", 400),
        (Add, "./Objects/number", "int", "2147483648", 400),
        (Add, "./Objects/truth", "bool", "yes", 400),
        (Add, "./Objects/octets", "b64", "$$$", 400),
        (Add, "./Objects/interior", "node", "text", 400),
        (Add, "./Objects/big", "chr", &big, 413),
        (Add, "./Objects/x?prop=ACL", "chr", "", 405),
        (Replace, "./nothing", "chr", "x", 404),
        (Replace, "./Objects", "chr", "x", 405),
        (Replace, "./Objects/leaf", "node", "", 405),
        (Replace, "./DevInfo/Man", "chr", "x", 405),
        (Replace, "./Objects/sub/deep", "", "x", 400),
        (Replace, "./Objects/leaf", "chr", &big, 413),
        (Replace, "./Objects/leaf?prop=Size", "", "1", 405),
        (Replace, "./Objects/leaf?prop=VerNo", "", "1", 405),
        (Replace, "./Objects/leaf?prop=Format", "", "int", 405),
        (Replace, "./Objects/leaf?prop=Other", "", "x", 406),
        (Replace, "./Objects/leaf?list=Struct", "", "x", 405),
        (Replace, "./Objects/leaf?prop=Title", "", &"t".repeat(256), 413),
        (Replace, "./Objects/leaf?prop=Name", "", "sub", 418),
        (Replace, "./Objects/leaf?prop=Name", "", "a/b", 400),
        (Replace, "./Objects/leaf?prop=Name", "", &long, 414),
        (Replace, "./DMAcc?prop=Name", "", "x", 405),
        (Replace, "./DMAcc/one/AppID?prop=Name", "", "x", 405),
        (Replace, ".?prop=ACL", "", "", 405),
        (Replace, "./Objects?prop=ACL", "", "Get", 400),
        (Replace, "./Objects?prop=ACL", "", "Get=a&Get=b", 400),
        (Delete, "./nothing", "", "", 404),
        (Delete, ".", "", "", 405),
        (Delete, "./DMAcc", "", "", 405),
        (Delete, "./DevInfo/Man", "", "", 405),
        (Delete, "./Objects/leaf?prop=Title", "", "", 405),
        (Copy, "./Objects/new", "", "", 412),
        (Exec, "./nothing", "", "", 404),
        (Exec, "./Objects/leaf", "", "", 405),
        (Exec, "./DevInfo", "", "", 405),
    ] {
        assert_eq!(bench.put(verb, uri, format, text), status, "{verb:?} {uri:.80}");
    }
}

#[test]
fn a_server_without_the_right_is_told_so_and_nothing_else() {
    let mut bench = bench();
    for (verb, uri) in [
        (Verb::Add, "./Objects/new"),
        (Verb::Replace, "./Objects/leaf"),
        (Verb::Delete, "./Objects/leaf"),
        (Verb::Replace, "./Objects/leaf?prop=Title"),
        (Verb::Replace, "./Objects/leaf?prop=Name"),
        (Verb::Replace, "./Objects?prop=ACL"),
    ] {
        let data = Data::Text("x".into());
        let outcome = bench.run("two", Request { data: Some(&data), ..request(verb, uri) });
        assert_eq!(outcome.status.0, 425, "{verb:?} {uri}");
    }
    let outcome = bench.run("three", request(Verb::Get, "./Objects/leaf"));
    assert_eq!(outcome.status.0, 425);
    // What no one may do is told before what this one may not.
    let outcome = bench.run("three", request(Verb::Replace, "./DevInfo/Man"));
    assert_eq!(outcome.status.0, 405);
}

#[test]
fn properties_follow_the_node() {
    let mut bench = bench();
    assert_eq!(bench.get("./Objects/leaf?prop=Format"), "chr");
    assert_eq!(bench.get("./Objects/leaf?prop=Type"), "text/plain");
    assert_eq!(bench.get("./Objects/leaf?prop=Name"), "leaf");
    assert_eq!(bench.get("./Objects/leaf?prop=Size"), "5");
    assert_eq!(bench.get("./Objects/leaf?prop=VerNo"), "0");
    assert_eq!(bench.get("./Objects/leaf?prop=ACL"), "");
    assert_eq!(bench.get(".?prop=ACL"), "Add=one&Delete=one&Exec=one&Get=one+two&Replace=one");
    assert_eq!(bench.get("./DevInfo?prop=Type"), "urn:oma:mo:oma-dm-devinfo:1.0");
    assert_eq!(bench.get("./DevInfo?prop=Format"), "node");
    assert_eq!(bench.put(Verb::Replace, "./Objects/leaf?prop=Title", "", "A leaf"), 200);
    assert_eq!(bench.put(Verb::Replace, "./Objects/leaf", "chr", "newer"), 200);
    assert_eq!(bench.get("./Objects/leaf?prop=Title"), "A leaf");
    assert_eq!(bench.get("./Objects/leaf?prop=VerNo"), "2");
    assert_eq!(bench.get("./Objects/leaf?prop=TStamp"), "20270115T080001Z");
    for (kind, told) in [("text/x", "text/x"), ("", "text/x"), ("text/plain", "text/plain")] {
        let data = Data::Text("typed".into());
        let kind = Some(kind).filter(|kind| !kind.is_empty());
        let uri = "./Objects/leaf";
        let replace = Request { kind, data: Some(&data), ..request(Verb::Replace, uri) };
        assert_eq!(bench.run("one", replace).status.0, 200);
        assert_eq!(bench.get("./Objects/leaf?prop=Type"), told);
    }
    assert_eq!(bench.put(Verb::Replace, "./Objects?prop=ACL", "", "Get=*&Replace=one"), 200);
    assert_eq!(bench.get("./Objects?prop=VerNo"), "1");
    assert_eq!(bench.put(Verb::Replace, "./Objects/sub?prop=Name", "", "other"), 200);
    assert_eq!(bench.get("./Objects/other/deep"), "-7");
    assert_eq!(bench.status(Verb::Get, "./Objects/sub/deep"), 404);
}

#[test]
fn octets_keep_their_format_however_they_came() {
    let mut bench = bench();
    assert_eq!(bench.put(Verb::Add, "./Objects/octets", "b64", "AP8H"), 200);
    assert_eq!(bench.get("./Objects/octets"), "[0, 255, 7]");
    assert_eq!(bench.get("./Objects/octets?prop=Format"), "bin");
    assert_eq!(bench.get("./Objects/octets?prop=Size"), "3");
    bench.encoding = Encoding::Wbxml;
    let data = Data::Binary([1, 0, 2].as_slice().into());
    let replace = Request {
        format: Some("bin"),
        data: Some(&data),
        ..request(Verb::Replace, "./Objects/octets")
    };
    assert_eq!(bench.run("one", replace).status.0, 200);
    assert_eq!(bench.get("./Objects/octets"), "[1, 0, 2]");
}

#[test]
fn add_makes_the_way_to_its_node_and_an_account_follows_its_description() {
    let mut bench = bench();
    assert_eq!(bench.put(Verb::Add, "./DMAcc/two/AppAddr/1/Addr", "", "https://two.example"), 200);
    assert_eq!(bench.get("./DMAcc/two?prop=Type"), "urn:oma:mo:oma-dm-dmacc:1.0");
    assert_eq!(bench.put(Verb::Add, "./DMAcc/two/AppAuth/1/AAuthSecret", "chr", "s"), 200);
    assert_eq!(bench.put(Verb::Add, "./DMAcc/two/AppAuth/1/AAuthData", "b64", "AAE="), 200);
    assert_eq!(bench.put(Verb::Replace, "./DMAcc/two/AppAuth/1/AAuthData", "b64", "AAEC"), 200);
    assert_eq!(bench.tree.facts("./DMAcc/two/AppAuth/1/AAuthData").unwrap().value[..], [0, 1, 2]);
    assert!(!bench.tree.is_readable("./DMAcc/two/AppAuth/1/AAuthSecret"));
    assert!(bench.tree.is_readable("./DMAcc/two/AppAuth/1/AAuthName"));
    assert_eq!(bench.put(Verb::Add, "./DMAcc/two/Ext/Vendor/anything", "xml", "<a/>"), 200);
    assert_eq!(bench.status(Verb::Delete, "./DMAcc/two"), 200);
    assert_eq!(bench.get("./DMAcc"), "one");
}

#[test]
fn copy_takes_the_rights_of_get_and_of_add_or_replace() {
    let mut bench = bench();
    let copy = |target, source| Request { source: Some(source), ..request(Verb::Copy, target) };
    assert_eq!(bench.run("one", copy("./Objects/new", "./Objects/sub/deep")).status.0, 200);
    assert_eq!(bench.get("./Objects/new?prop=Format"), "int");
    assert_eq!(bench.run("one", copy("./Objects/leaf", "./Objects/new")).status.0, 200);
    assert_eq!(bench.get("./Objects/leaf"), "-7");
    let secret = "./DMAcc/one/AppAuth/1/AAuthSecret";
    for (server, target, source, status) in [
        ("one", "./Objects/x", secret, 405),
        ("one", "./Objects/x", "./Objects/sub", 403),
        ("one", "./Objects/sub", "./Objects/leaf", 403),
        ("one", "./Objects/x", "./nothing", 404),
        ("one", "./DevInfo/Man", "./Objects/leaf", 405),
        ("two", "./Objects/x", "./Objects/leaf", 425),
        ("two", "./Objects/leaf", "./Objects/new", 425),
        ("three", "./Objects/x", "./Objects/leaf", 425),
    ] {
        assert_eq!(
            bench.run(server, copy(target, source)).status.0,
            status,
            "{server} {source} {target}"
        );
    }
}

#[test]
fn listings_show_what_may_be_read_and_no_secret() {
    let mut bench = bench();
    let entries = |bench: &mut Bench, server: &str, uri: &str| -> Vec<(String, Option<String>)> {
        let outcome = bench.run(server, request(Verb::Get, uri));
        assert_eq!(outcome.status, StatusCode::OK);
        let text = |data: Data<'_>| data.text().unwrap().to_owned();
        outcome
            .items
            .into_iter()
            .map(|item| (item.source.unwrap().uri.into_owned(), item.data.map(text)))
            .collect()
    };
    let found = entries(&mut bench, "one", "./DMAcc/one/AppAuth?list=StructData");
    let expected = [
        ("./DMAcc/one/AppAuth", None),
        ("./DMAcc/one/AppAuth/1", None),
        ("./DMAcc/one/AppAuth/1/AAuthLevel", Some("CLCRED")),
    ];
    let expected = expected.map(|(uri, value)| (uri.to_owned(), value.map(String::from)));
    assert_eq!(found, expected);
    let found = entries(&mut bench, "two", "./Objects?list=Struct");
    assert!(found.iter().all(|(_, value)| value.is_none()));
    assert_eq!(found.len(), 4);
    let mut transaction = bench.tree.begin();
    bench.tree.write_acl("./Objects/sub", "Get=one", NOW, &mut transaction).unwrap();
    bench.tree.keep(transaction);
    let found = entries(&mut bench, "two", "./Objects?list=Struct");
    assert_eq!(found.iter().map(|it| &*it.0).collect::<Vec<_>>(), ["./Objects", "./Objects/leaf"]);
}

#[test]
fn a_serialised_tree_tells_the_properties_that_were_asked_for() {
    let mut bench = bench();
    let document = |nodes: &str| {
        format!("<MgmtTree xmlns=\"syncml:dmddf1.2\"><VerDTD>1.2</VerDTD>{nodes}</MgmtTree>")
    };
    assert_eq!(
        bench.get("./Objects/sub?list=TNDS+Value+Format"),
        document(
            "<Node><NodeName>sub</NodeName><Path>./Objects</Path><RTProperties><Format><node/>\
             </Format></RTProperties><Node><NodeName>deep</NodeName><RTProperties><Format><int/>\
             </Format></RTProperties><Value>-7</Value></Node></Node>"
        )
    );
    assert_eq!(
        bench.get("./Objects/leaf?list=TNDS-ACL-TStamp-VerNo-Format"),
        document(
            "<Node><NodeName>leaf</NodeName><Path>./Objects</Path><RTProperties><Size>5</Size>\
             <Type><MIME>text/plain</MIME></Type></RTProperties><Value>value</Value></Node>"
        )
    );
    let whole = bench.get(".?list=TNDS");
    assert!(whole.contains("AAuthLevel") && whole.contains("<ACL>Add=one&amp;Delete=one"));
    assert!(!whole.contains("AAuthSecret") && !whole.contains("AAuthData"), "{whole}");
    assert!(!whole.contains("a secret") && !whole.contains("Inbox"), "{whole}");
}

#[test]
fn permanent_nodes_stay_and_dynamic_ones_go() {
    let mut bench = bench();
    for permanent in [".", "./DMAcc", "./DevInfo", "./DevInfo/DevId", "./DevDetail/URI", "./Inbox"]
    {
        assert_eq!(bench.status(Verb::Delete, permanent), 405, "{permanent}");
        let renamed = bench.put(Verb::Replace, &format!("{permanent}?prop=Name"), "", "other");
        assert_eq!(renamed, 405, "{permanent}");
    }
    // Neither is one that a description has, but no factory put there, made from afar.
    let bare = |name: &str| {
        format!(
            "<MgmtTree><VerDTD>1.2</VerDTD><Node><NodeName>Vendor</NodeName>\
        <DFProperties><AccessType><Get/></AccessType><DFFormat><node/></DFFormat><Scope><Permanent/>\
        </Scope><DFType><DDFName/></DFType></DFProperties><Node><NodeName>{name}</NodeName>\
        <DFProperties><AccessType><Add/><Get/></AccessType><DFFormat><chr/></DFFormat><Occurrence>\
        <ZeroOrOne/></Occurrence><Scope><Permanent/></Scope><DFType><MIME>text/plain</MIME></DFType>\
        </DFProperties></Node></Node></MgmtTree>"
        )
    };
    bench.tree.describe(&bare("Serial")).unwrap();
    assert_eq!(bench.put(Verb::Add, "./Vendor/Serial", "chr", "x"), 405);
    assert_eq!(bench.put(Verb::Add, "./DMAcc/two/AppID", "chr", "w7"), 200);
    assert_eq!(bench.status(Verb::Delete, "./DMAcc/two/AppID"), 200);
    for dynamic in ["./DMAcc/two", "./DMAcc/one", "./Objects/sub", "./Objects"] {
        assert_eq!(bench.status(Verb::Delete, dynamic), 200, "{dynamic}");
        assert_eq!(bench.status(Verb::Get, dynamic), 404, "{dynamic}");
    }
}

#[test]
fn the_access_type_of_a_node_binds_the_server_that_may_do_everything() {
    let mut bench = bench();
    let leaf = |name: &str, access: &str| {
        format!(
            "<Node><NodeName>{name}</NodeName><DFProperties>\
        <AccessType>{access}</AccessType><DFFormat><chr/></DFFormat><Occurrence><ZeroOrOne/>\
        </Occurrence><Scope><Dynamic/></Scope><DFType><MIME>text/plain</MIME></DFType></DFProperties>\
        </Node>"
        )
    };
    let all = ["Add", "Delete", "Exec", "Get", "Replace"];
    let leaves = all.map(|name| leaf(name, &format!("<{name}/>"))).concat();
    bench
        .tree
        .describe(&format!(
            "<MgmtTree><VerDTD>1.2</VerDTD><Node><NodeName>Only</NodeName>\
        <DFProperties><AccessType><Add/><Get/></AccessType><DFFormat><node/></DFFormat><Scope>\
        <Permanent/></Scope><DFType><DDFName/></DFType></DFProperties>{leaves}</Node></MgmtTree>"
        ))
        .unwrap();
    for name in all {
        let uri = format!("./Only/{name}");
        let added = bench.put(Verb::Add, &uri, "chr", "x");
        assert_eq!(added, if name == "Add" { 200 } else { 405 }, "{name}");
        if name != "Add" {
            let mut transaction = bench.tree.begin();
            bench.tree.write(&uri, Format::Chr, b"x", NOW, &mut transaction).unwrap();
            bench.tree.keep(transaction);
        }
        assert_eq!(bench.put(Verb::Get, &uri, "", ""), if name == "Get" { 200 } else { 405 });
        let replaced = bench.put(Verb::Replace, &uri, "chr", "y");
        assert_eq!(replaced, if name == "Replace" { 200 } else { 405 }, "{name}");
        // Nothing stands behind a node of the tree that could be executed.
        assert_eq!(bench.status(Verb::Exec, &uri), 405);
        let deleted = bench.status(Verb::Delete, &uri);
        assert_eq!(deleted, if name == "Delete" { 200 } else { 405 }, "{name}");
    }
}

#[test]
fn the_inbox_hands_out_what_is_added_and_keeps_nothing() {
    let mut bench = bench();
    let before = snapshot(&bench.tree);
    let text = "<MgmtTree><VerDTD>1.2</VerDTD><Node><RTProperties><Type><DDFName>\
                urn:oma:mo:oma-dm-dmacc:1.0</DDFName></Type></RTProperties></Node></MgmtTree>";
    let data = Data::Markup(text.into());
    let kind = Some("application/vnd.syncml.dmtnds+xml");
    let add =
        Request { kind, format: Some("xml"), data: Some(&data), ..request(Verb::Add, "./Inbox") };
    let delivery = bench.run("one", add).delivery.unwrap();
    let DeliveryContent::Tree(document) = delivery.content else { panic!("no tree") };
    assert_eq!(delivery.path, "Inbox");
    assert_eq!(document.nodes[0].properties.kind.as_deref(), Some("urn:oma:mo:oma-dm-dmacc:1.0"));
    let data = Data::Text("x".into());
    let add = Request { data: Some(&data), ..request(Verb::Add, "./Inbox/new") };
    let delivery = bench.run("one", add).delivery.unwrap();
    assert_eq!(delivery.path, "Inbox/new");
    assert_eq!(snapshot(&bench.tree), before);
    assert_eq!(bench.run("two", add).status.0, 425);
    assert_eq!(bench.status(Verb::Get, "./Inbox"), 405);
    assert_eq!(bench.status(Verb::Get, "./Inbox?list=Struct"), 405);
    assert_eq!(bench.put(Verb::Replace, "./Inbox", "chr", "x"), 405);
    assert_eq!(bench.status(Verb::Delete, "./Inbox"), 405);
    assert_eq!(bench.status(Verb::Get, "./Inbox/new"), 404);
}

#[test]
fn a_server_that_is_gone_is_in_no_list_any_more() {
    let mut bench = bench();
    assert_eq!(bench.put(Verb::Replace, "./Objects?prop=ACL", "", "Get=*&Replace=one"), 200);
    let mut transaction = bench.tree.begin();
    bench.tree.forget_server("one", NOW, &mut transaction);
    assert_eq!(transaction.changes(&bench.tree).len(), 2);
    bench.tree.keep(transaction);
    let acl = |tree: &Tree, uri| tree.facts(uri).unwrap().acl.as_ref().map(ToString::to_string);
    assert_eq!(acl(&bench.tree, "./Objects").as_deref(), Some("Get=*"));
    assert_eq!(acl(&bench.tree, ".").as_deref(), Some("Add=*&Get=two"));
}

// --- Providers ----------------------------------------------------------------------------------

const LIVE: &str = "<MgmtTree><VerDTD>1.2</VerDTD><Node><NodeName>Live</NodeName><DFProperties>\
    <AccessType><Get/></AccessType><DFFormat><node/></DFFormat><Scope><Permanent/></Scope>\
    <DFType><DDFName>urn:x:live</DDFName></DFType></DFProperties>\
    <Node><NodeName/><DFProperties><AccessType><Add/><Delete/><Get/><Replace/></AccessType>\
    <DFFormat><int/></DFFormat><Occurrence><ZeroOrMore/></Occurrence><DFType><MIME>text/plain</MIME>\
    </DFType></DFProperties></Node>\
    <Node><NodeName>Fixed</NodeName><DFProperties><AccessType><Get/></AccessType><DFFormat><chr/>\
    </DFFormat><Scope><Permanent/></Scope><DFType><MIME>text/plain</MIME></DFType></DFProperties>\
    </Node><Node><NodeName>Go</NodeName><DFProperties><AccessType><Exec/></AccessType><DFFormat>\
    <null/></DFFormat><DFType><MIME>text/plain</MIME></DFType></DFProperties></Node></Node></MgmtTree>";

/// Numbers under names, none above 99.
#[derive(Clone, Debug, Default, PartialEq)]
struct Served(BTreeMap<String, u8>);

impl Provider for Served {
    fn node(&self, _: Mount, path: &str) -> Option<Value<'_>> {
        match path {
            "Fixed" => Some(Value::text("as it is")),
            "Go" => Some(Value::of(Format::Null, "")),
            _ => self.0.get(path).map(|number| Value::of(Format::Int, number.to_string())),
        }
    }

    fn children(&self, _: Mount, path: &str) -> Vec<String> {
        assert_eq!(path, "");
        self.0.keys().cloned().chain(["Fixed".into(), "Go".into()]).collect()
    }

    fn replace(&mut self, _: Mount, path: &str, value: &Value<'_>) -> Result<(), StatusCode> {
        let number = std::str::from_utf8(&value.octets).unwrap().parse().unwrap_or(100);
        if number > 99 {
            return Err(StatusCode::BAD_REQUEST);
        }
        self.0.insert(path.to_owned(), number);
        Ok(())
    }

    fn add(&mut self, mount: Mount, path: &str, value: &Value<'_>) -> Result<(), StatusCode> {
        self.replace(mount, path, value)
    }

    fn delete(&mut self, _: Mount, path: &str) -> Result<(), StatusCode> {
        self.0.remove(path).map(drop).ok_or(StatusCode::NOT_FOUND)
    }

    fn exec(&mut self, _: Mount, _: &str, _: Option<&Data<'_>>) -> Result<StatusCode, StatusCode> {
        Ok(StatusCode::ACCEPTED)
    }

    fn undo(&mut self, _: Mount, path: &str, before: Option<&Value<'_>>) {
        let number =
            |value: &Value<'_>| std::str::from_utf8(&value.octets).unwrap().parse().unwrap();
        match before {
            Some(value) => self.0.insert(path.to_owned(), number(value)),
            None => self.0.remove(path),
        };
    }
}

fn live() -> Bench {
    let mut bench = bench();
    bench.tree.describe(LIVE).unwrap();
    bench.tree.mount("./Live", Mount(7)).unwrap();
    bench.served.0.insert("a".into(), 1);
    bench
}

#[test]
fn a_mounted_object_is_judged_like_the_rest_of_the_tree() {
    let mut bench = live();
    assert_eq!(bench.get("./Live"), "a/Fixed/Go");
    assert_eq!(bench.get("./Live/a"), "1");
    assert_eq!(bench.get("./Live/a?prop=Format"), "int");
    assert_eq!(bench.put(Verb::Replace, "./Live/a", "", "2"), 200);
    assert_eq!(bench.put(Verb::Replace, "./Live/a", "int", "100"), 400);
    assert_eq!(bench.put(Verb::Replace, "./Live/a", "chr", "2"), 415);
    assert_eq!(bench.put(Verb::Replace, "./Live/a", "int", "x"), 400);
    assert_eq!(bench.put(Verb::Replace, "./Live/Fixed", "chr", "x"), 405);
    assert_eq!(bench.put(Verb::Add, "./Live/b", "int", "5"), 200);
    assert_eq!(bench.put(Verb::Add, "./Live/b", "int", "5"), 418);
    assert_eq!(bench.status(Verb::Delete, "./Live/b"), 200);
    assert_eq!(bench.status(Verb::Delete, "./Live/b"), 404);
    assert_eq!(bench.status(Verb::Delete, "./Live/Fixed"), 405);
    assert_eq!(bench.status(Verb::Delete, "./Live"), 405);
    assert_eq!(bench.status(Verb::Exec, "./Live/Go"), 202);
    assert_eq!(bench.status(Verb::Exec, "./Live/a"), 405);
    assert_eq!(bench.status(Verb::Get, "./Live/Go"), 405);
    assert_eq!(bench.run("two", request(Verb::Delete, "./Live/a")).status.0, 425);
    assert_eq!(bench.run("two", request(Verb::Exec, "./Live/Go")).status.0, 425);
    let listed = bench.get("./Live?list=TNDS+Value");
    assert!(listed.contains("<Value>2</Value>") && listed.contains("as it is"), "{listed}");
    assert_eq!(bench.get("./Live/a?list=TNDS+Value").matches("<Node>").count(), 1);
    let outcome = bench.run("one", request(Verb::Get, "./Live/a?list=StructData"));
    assert_eq!(outcome.items[0].source.as_ref().unwrap().uri, "./Live/a");
    assert!(bench.tree.allows("./Live/a", "two", Rights::GET));
}

#[test]
fn what_a_provider_did_is_undone_with_the_rest() {
    let mut bench = live();
    let before = (snapshot(&bench.tree), bench.served.clone());
    let caller = Caller { subject: Subject::Server("one"), now: NOW, encoding: Encoding::Xml };
    let mut transaction = bench.tree.begin();
    let two = Data::Text("2".into());
    for (verb, uri) in [
        (Verb::Replace, "./Live/a"),
        (Verb::Add, "./Live/b"),
        (Verb::Replace, "./Live/b"),
        (Verb::Delete, "./Live/a"),
        (Verb::Replace, "./Objects/sub/deep"),
    ] {
        let request = Request { data: Some(&two), ..request(verb, uri) };
        let outcome = bench.tree.execute(&request, &caller, &mut bench.served, &mut transaction);
        assert_eq!(outcome.status.0, 200, "{uri}");
    }
    assert_ne!((snapshot(&bench.tree), bench.served.clone()), before);
    bench.tree.undo(transaction, &mut bench.served);
    assert_eq!((snapshot(&bench.tree), bench.served.clone()), before);
}
