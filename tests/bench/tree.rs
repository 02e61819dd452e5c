//! `cargo bench --bench tree`: commands and ACL decisions per second in a tree of 10,000 nodes,
//! and the memory that it takes.
//!
//! Yardstick of the same run: a `BTreeMap` from the same URIs to the same values, which has no
//! rights, no formats, no properties and no way back.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use dm_gateway::proto::syncml::{Data, Encoding, Verb};
use dm_gateway::proto::tree::{
    Caller, DEV_DETAIL, DEV_INFO, DM_ACC, Format, INBOX, NoProvider, Request, Rights, Subject, Tree,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: u32 = 5;
const ROUND: Duration = Duration::from_millis(150);
const NODES: usize = 10_000;
/// Leaves of one object.
const LEAVES: usize = 19;
/// Steps through the nodes, so that no two near each other follow: a prime that does not divide
/// their number.
const STRIDE: usize = 7919;
const NOW: u64 = 1_800_000_000;
const SERVER: &str = "dm.example.net";
const VALUES: [&str; 2] = ["7.4.1-release, north", "7.4.2-release, south"];

fn main() {
    let uris = uris();
    let before = resident();
    let region = Region::new(ALLOCATOR);
    let mut tree = tree(&uris);
    let (of_tree, after) = (held(&region.change()), resident());
    println!(
        "a tree of {} nodes, leaves four below the root, {} ACLs, values of {} octets",
        tree.len(),
        lists(&tree),
        VALUES[0].len()
    );
    println!("  memory {:>8.0} KiB, {:.0} octets a node", of_tree / 1024.0, of_tree / NODES as f64);
    println!("  resident {before} KiB before, {after} KiB after");
    let region = Region::new(ALLOCATOR);
    let mut map: BTreeMap<String, Vec<u8>> =
        uris.iter().map(|uri| (uri.clone(), VALUES[0].into())).collect();
    let of_map = held(&region.change());
    println!("  = {:.2} of what the map takes ({:.0} KiB)", of_tree / of_map, of_map / 1024.0);

    let mut next = walk(uris.len());
    let of_map = time("  map: get and copy", || {
        drop(black_box(map.get(&uris[next()]).cloned().unwrap()));
    });
    let of_tree = time("  tree: Get", || get(&mut tree, &uris[next()]));
    println!("    = {:.1} times the map's time", of_tree / of_map);

    let mut turn = 0;
    let of_map = time("  map: insert", || {
        turn ^= 1;
        black_box(map.insert(uris[next()].clone(), VALUES[turn].into()));
    });
    let of_tree = time("  tree: Replace, kept", || {
        turn ^= 1;
        replace(&mut tree, &uris[next()], VALUES[turn], End::Kept);
    });
    println!("    = {:.1} times the map's time", of_tree / of_map);
    time("  tree: Replace, to store", || {
        turn ^= 1;
        replace(&mut tree, &uris[next()], VALUES[turn], End::Stored);
    });
    time("  tree: Replace, undone", || {
        turn ^= 1;
        replace(&mut tree, &uris[next()], VALUES[turn], End::Undone);
    });

    let both = Rights::GET.with(Rights::REPLACE);
    time("  ACL decision, allowed", || {
        assert!(black_box(tree.allows(&uris[next()], SERVER, both)));
    });
    time("  ACL decision, refused", || {
        assert!(!black_box(tree.allows(&uris[next()], "dm.example.org", both)));
    });
    println!("  resident {} KiB in the end", resident());
}

/// The URIs of the leaves: `./Fleet/Site12/Meter3/Part7`.
fn uris() -> Vec<String> {
    let objects = NODES / (LEAVES + 1);
    let leaf = |object: usize, leaf: usize| {
        format!("./Fleet/Site{}/Meter{}/Part{leaf}", object / 10, object % 10)
    };
    let all = (0..objects).flat_map(|object| (0..LEAVES).map(move |number| leaf(object, number)));
    all.take(NODES).collect()
}

/// The tree: standard objects, the leaves, an ACL at every fifth object and at every site.
fn tree(uris: &[String]) -> Tree {
    let mut tree = Tree::new(&[DEV_INFO, DEV_DETAIL, DM_ACC, INBOX]).unwrap();
    let mut transaction = tree.begin();
    for uri in uris {
        tree.write(uri, Format::Chr, VALUES[0].as_bytes(), NOW, &mut transaction).unwrap();
    }
    let acl = format!("Add={SERVER}&Delete={SERVER}&Get=*&Replace=urn:x:other+{SERVER}");
    for object in 0..uris.len() / LEAVES {
        let uri = format!("./Fleet/Site{}", object / 10);
        match object % 10 {
            0 => tree.write_acl(&uri, &acl, NOW, &mut transaction).unwrap(),
            3 | 7 => {
                let uri = format!("{uri}/Meter{}", object % 10);
                tree.write_acl(&uri, &acl, NOW, &mut transaction).unwrap();
            }
            _ => {}
        }
    }
    tree.keep(transaction);
    tree
}

fn lists(tree: &Tree) -> usize {
    let mut lists = 0;
    let mut open = vec![".".to_owned()];
    while let Some(uri) = open.pop() {
        lists += usize::from(tree.facts(&uri).unwrap().acl.is_some());
        open.extend(tree.children(&uri).map(|name| format!("{uri}/{name}")));
    }
    lists
}

/// Every leaf once, then again.
fn walk(count: usize) -> impl FnMut() -> usize {
    let mut index = 0;
    move || {
        index = (index + STRIDE) % count;
        index
    }
}

fn caller() -> Caller<'static> {
    Caller { subject: Subject::Server(SERVER), now: NOW, encoding: Encoding::Wbxml }
}

fn get(tree: &mut Tree, uri: &str) {
    let request =
        Request { verb: Verb::Get, uri, source: None, kind: None, format: None, data: None };
    let mut transaction = tree.begin();
    let outcome = tree.execute(&request, &caller(), &mut NoProvider, &mut transaction);
    assert!(outcome.status.is_success());
    drop(black_box(outcome));
    tree.keep(transaction);
}

/// How a Replace ends.
enum End {
    Kept,
    /// Kept, after its change was encoded for the store.
    Stored,
    Undone,
}

fn replace(tree: &mut Tree, uri: &str, value: &str, end: End) {
    let data = Data::Text(value.into());
    let (verb, format) = (Verb::Replace, Some("chr"));
    let request = Request { verb, uri, source: None, kind: None, format, data: Some(&data) };
    let mut transaction = tree.begin();
    let outcome = tree.execute(&request, &caller(), &mut NoProvider, &mut transaction);
    assert!(outcome.status.is_success());
    match end {
        End::Kept => tree.keep(transaction),
        End::Stored => {
            assert_eq!(black_box(transaction.changes(tree)).len(), 1);
            tree.keep(transaction);
        }
        End::Undone => tree.undo(transaction, &mut NoProvider),
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

/// Octets that were allocated and are still held.
fn held(used: &Stats) -> f64 {
    used.bytes_allocated as f64 - used.bytes_deallocated as f64
}

/// VmRSS of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}
