//! `cargo bench --bench codec`: SyncML messages per second, and allocations per message.
//!
//! Yardsticks of the same run: the bare event reader of quick-xml over the same octets, and
//! libwbxml in a Python process of its own (`tests/bench/libwbxml.py`).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use dm_gateway::proto::syncml::{Message, wbxml, xml};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: u32 = 5;
const ROUND: Duration = Duration::from_millis(150);

fn main() {
    let two_kilobytes = two_kilobytes();
    let list = list();
    let figures = [report("package 1, 2 KB", &two_kilobytes), report("list alert, 1 KB", &list)];
    libwbxml(&two_kilobytes, &figures[0]);
}

struct Figures {
    xml_decode: f64,
    wbxml_decode: f64,
}

fn report(name: &str, text: &str) -> Figures {
    let message = xml::decode(text.as_bytes()).unwrap();
    let text = xml::encode(&message);
    let octets = wbxml::encode(&message);
    assert_eq!(wbxml::decode(&octets).as_ref(), Ok(&message));
    println!("{name}: {} octets as XML, {} as WBXML", text.len(), octets.len());
    let events = time("  bare quick-xml events", || bare_events(&text));
    let xml_decode = time("  decode XML", || keep(xml::decode(&text).unwrap()));
    println!("    = {:.2} of the bare event reader's time", xml_decode / events);
    let wbxml_decode = time("  decode WBXML", || keep(wbxml::decode(&octets).unwrap()));
    time("  encode XML", || drop(black_box(xml::encode(&message))));
    time("  encode WBXML", || drop(black_box(wbxml::encode(&message))));
    Figures { xml_decode, wbxml_decode }
}

fn keep(message: Message<'_>) {
    drop(black_box(message));
}

fn bare_events(text: &[u8]) {
    let mut reader = quick_xml::Reader::from_reader(text);
    loop {
        if let quick_xml::events::Event::Eof = black_box(reader.read_event().unwrap()) {
            return;
        }
    }
}

/// Prints and returns microseconds per run, the best of some rounds.
fn time(name: &str, mut run: impl FnMut()) -> f64 {
    let region = Region::new(ALLOCATOR);
    run();
    let used = region.change();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut runs = 0_u32;
        while start.elapsed() < ROUND {
            for _ in 0..64 {
                run();
            }
            runs += 64;
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(runs));
    }
    println!(
        "{name:<25} {:>9.0}/s {:>7.2} us {:>3} allocations, {} reallocations",
        1.0 / best,
        best * 1e6,
        used.allocations,
        used.reallocations,
    );
    best * 1e6
}

fn libwbxml(text: &str, ours: &Figures) {
    let message = xml::decode(text.as_bytes()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (binary, document) = (folder.path().join("message"), folder.path().join("message.xml"));
    std::fs::write(&binary, wbxml::encode(&message)).unwrap();
    std::fs::write(&document, xml::encode(&message)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/libwbxml.py");
    let output =
        std::process::Command::new("python3").arg(script).args([binary, document]).output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        Ok(output) if output.status.code() != Some(3) => {
            panic!("libwbxml.py: {}", String::from_utf8_lossy(&output.stderr))
        }
        _ => return println!("yardstick not installed: python3 with libwbxml2.so.1"),
    };
    let figures: HashMap<String, f64> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, figure)| (name.to_owned(), figure.parse().unwrap()))
        .collect();
    println!("libwbxml over the 2 KB message, best of five:");
    let compare = |name: &str, what: &str, ours: f64| {
        let theirs = figures[name];
        println!("  {what:<23} {theirs:>7.2} us, ours {ours:.2} us: {:.1} times", theirs / ours);
    };
    compare("tree", "WBXML to a tree", ours.wbxml_decode);
    compare("wbxml2xml", "WBXML to XML", ours.wbxml_decode);
    compare("xml2wbxml", "XML to WBXML", ours.xml_decode);
}

/// Package 1 with credentials and the DevInfo leaves, written without white space.
fn two_kilobytes() -> String {
    let leaf = |name: &str, value: &str| {
        format!(
            "<Item><Source><LocURI>./DevInfo/{name}</LocURI></Source>\
             <Meta><Format xmlns=\"syncml:metinf\">chr</Format>\
             <Type xmlns=\"syncml:metinf\">text/plain</Type></Meta><Data>{value}</Data></Item>"
        )
    };
    let leaves = [
        leaf("DevId", "IMEI:493005100592800"),
        leaf("Man", "Hydrant Instruments"),
        leaf("Mod", "Meter 7, outdoor"),
        leaf("DmV", "1.2"),
        leaf("Lang", "en"),
        leaf("Ext/Firmware", "7.4.1-release"),
        leaf("Ext/Serial", "00217-AX-99-0042"),
        leaf("Ext/Region", "north"),
    ];
    let commands = format!(
        "<Alert><CmdID>1</CmdID><Data>1200</Data></Alert>\
         <Replace><CmdID>2</CmdID>{}</Replace>",
        leaves.concat()
    );
    document(&commands)
}

/// A BootstrappedDMSList alert.
fn list() -> String {
    let servers = ["dm.example.net", "https://mgmt.example.org/dm", "urn:x-dm:operator-3"];
    let servers = servers.map(|id| format!("<ServerInfo><ID>{id}</ID></ServerInfo>")).concat();
    let commands = format!(
        "<Alert><CmdID>2</CmdID><Data>1226</Data><Item>\
         <Source><LocURI>mac:01-ab-34-ef-69-0c</LocURI></Source>\
         <Target><LocURI>192.168.4.1</LocURI></Target>\
         <Meta><Type xmlns=\"syncml:metinf\">urn:oma:at:oma-gwmo:BootstrappedDMSList:1.0</Type>\
         <Format xmlns=\"syncml:metinf\">chr</Format></Meta>\
         <Data><![CDATA[<ServerList>{servers}</ServerList>]]></Data></Item></Alert>"
    );
    document(&commands)
}

fn document(commands: &str) -> String {
    format!(
        "<SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD>\
         <VerProto>DM/1.2</VerProto><SessionID>1A2B</SessionID><MsgID>1</MsgID>\
         <Target><LocURI>http://192.168.4.1:8080/dm</LocURI></Target>\
         <Source><LocURI>IMEI:493005100592800</LocURI><LocName>meter-7</LocName></Source>\
         <Cred><Meta><Format xmlns=\"syncml:metinf\">b64</Format>\
         <Type xmlns=\"syncml:metinf\">syncml:auth-md5</Type></Meta>\
         <Data>Zz6EivR3yeaaENcRN6lpAQ==</Data></Cred>\
         <Meta><MaxMsgSize xmlns=\"syncml:metinf\">16384</MaxMsgSize></Meta></SyncHdr>\
         <SyncBody>{commands}<Final/></SyncBody></SyncML>"
    )
}
