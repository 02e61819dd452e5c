//! Neighbour and link events through the real kernel, in network namespaces of our own.
//!
//! The test starts itself again inside a namespace: `ip netns exec`. Needs root and `ip`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::future::poll_fn;
use std::net::{IpAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dm_gateway::gateway::seam::{LinkEvent, MacAddress, NeighbourEvent, NeighbourState};
use dm_gateway::io::netlink::{Event, Netlink};
use smol::future::FutureExt;

/// Set in the process that runs inside the namespace, to the device's namespace.
const INSIDE: &str = "DM_GATEWAY_TEST_NETNS";

#[test]
fn the_kernel_tells_of_devices_that_come_fail_and_go() {
    inside_namespaces("the_kernel_tells_of_devices_that_come_fail_and_go", |device| {
        let mut table = Table::open();
        table.until("lan0 runs", |t| t.link("lan0").is_some_and(|link| link.running));
        table.until("the first dump", |t| t.dumps == 1);
        let lan = table.link("lan0").unwrap().clone();
        assert_eq!(lan.mac, MacAddress::parse("02-00-00-00-00-01"));

        // A device answers.
        for address in ["10.91.0.2", "fd91::2"] {
            touch(address);
            table.until("the device is resolved", |t| {
                t.state(address) == Some(NeighbourState::Reachable)
            });
            let mac = table.neighbours[&(lan.index, address.parse().unwrap())].0;
            assert_eq!(mac, MacAddress::parse("02-00-00-00-00-02"));
        }

        // A probe is answered, and one of an unknown address does nothing.
        table.netlink.probe(lan.index, "10.91.0.77".parse().unwrap());
        table.netlink.probe(9999, "10.91.0.2".parse().unwrap());
        table.netlink.probe(lan.index, "10.91.0.2".parse().unwrap());
        table.until("the probe began", |t| t.state("10.91.0.2") == Some(NeighbourState::Stale));
        table.until("the device answered", |t| {
            t.state("10.91.0.2") == Some(NeighbourState::Reachable)
        });
        assert_eq!(table.state("10.91.0.77"), None);

        // The device goes silently.
        sh(&format!("ip -n {device} addr flush dev dev0"));
        for address in ["10.91.0.2", "fd91::2"] {
            table.netlink.probe(lan.index, address.parse().unwrap());
        }
        table.until("both addresses failed", |t| {
            t.state("10.91.0.2") == Some(NeighbourState::Failed)
                && t.state("fd91::2") == Some(NeighbourState::Failed)
        });
        assert_eq!(table.neighbours[&(lan.index, "10.91.0.2".parse().unwrap())].0, None);

        // An entry is removed; the cable is pulled, and put back.
        sh("ip neigh add 10.91.0.3 lladdr 02:00:00:00:00:03 nud reachable dev lan0");
        table.until("it came", |t| t.state("10.91.0.3").is_some());
        sh("ip neigh del 10.91.0.3 dev lan0");
        table.until("it went", |t| t.state("10.91.0.3").is_none());
        sh(&format!("ip -n {device} link set dev0 down"));
        table.until("no carrier", |t| !t.link("lan0").unwrap().running);
        sh(&format!("ip -n {device} link set dev0 up"));
        table.until("carrier", |t| t.link("lan0").unwrap().running);

        // While nobody reads, more happens than the socket holds.
        sh("ip link add lan1 type bridge");
        table.until("lan1 came", |t| t.link("lan1").is_some());
        churn(12_000);
        sh("ip link del lan1; ip neigh add 10.91.0.9 lladdr 02:00:00:00:00:09 dev lan0");
        table.until("everything is dumped again", |t| t.dumps == 2);
        assert!(table.link("lan1").is_none(), "its removal was among what was lost");
        assert_eq!(table.addresses(), kernel_addresses());

        sh("ip link del lan0");
        table.until("the interface is gone", |t| t.link("lan0").is_none());
        table.until("its neighbours are, too", |t| t.neighbours.is_empty());
    });
}

#[test]
fn a_dump_among_changes_gives_the_right_table() {
    inside_namespaces("a_dump_among_changes_gives_the_right_table", |_| {
        for round in 0..10 {
            let churner = std::thread::spawn(|| churn(1_000));
            std::thread::sleep(Duration::from_millis(round));
            let mut table = Table::open();
            table.until("the dump", |t| t.dumps > 0);
            churner.join().unwrap();
            let mark = format!("10.91.200.{round}");
            sh(&format!("ip neigh replace {mark} lladdr 02:00:00:00:00:09 dev lan0"));
            table.until("the last change", |t| t.state(&mark).is_some());
            assert_eq!(table.addresses(), kernel_addresses());
        }
    });
}

/// The table as a listener of the events sees it.
struct Table {
    netlink: Netlink,
    neighbours: BTreeMap<(u32, IpAddr), (Option<MacAddress>, NeighbourState)>,
    dumped: BTreeMap<(u32, IpAddr), ()>,
    links: BTreeMap<u32, LinkEvent>,
    dumps: usize,
}

impl Table {
    fn open() -> Self {
        let netlink = Netlink::open().unwrap();
        let (neighbours, dumped, links) = Default::default();
        Self { netlink, neighbours, dumped, links, dumps: 0 }
    }

    fn link(&self, name: &str) -> Option<&LinkEvent> {
        self.links.values().find(|link| link.name == name)
    }

    fn state(&self, address: &str) -> Option<NeighbourState> {
        let address: IpAddr = address.parse().unwrap();
        self.neighbours.iter().find(|((_, known), _)| *known == address).map(|(_, entry)| entry.1)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<_> = self.neighbours.keys().map(|(_, address)| *address).collect();
        addresses.sort();
        addresses
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !done(self) {
            assert!(Instant::now() < end, "not in 10 s: {what}: {:?}", self.neighbours);
            let readable = poll_fn(|context| self.netlink.poll_readable(context));
            smol::block_on(readable.or(async {
                smol::Timer::after(Duration::from_secs(1)).await;
                Ok(())
            }))
            .unwrap();
            let mut events = Vec::new();
            while self.netlink.drain(16, &mut |event| events.push(event)).unwrap() {}
            events.into_iter().for_each(|event| self.take(event));
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Link(link) if link.removed => {
                self.links.remove(&link.index);
            }
            Event::Link(link) => {
                self.links.insert(link.index, link);
            }
            Event::Neighbour(NeighbourEvent::DumpBegin) => self.dumped.clear(),
            Event::Neighbour(NeighbourEvent::DumpEnd) => {
                self.neighbours.retain(|key, _| self.dumped.contains_key(key));
                self.dumps += 1;
            }
            Event::Neighbour(NeighbourEvent::Entry { interface, address, mac, state }) => {
                self.dumped.insert((interface, address), ());
                self.neighbours.insert((interface, address), (mac, state));
            }
            Event::Neighbour(NeighbourEvent::Removed { interface, address, .. }) => {
                self.dumped.remove(&(interface, address));
                self.neighbours.remove(&(interface, address));
            }
            Event::Neighbour(NeighbourEvent::Unavailable) => panic!("unavailable"),
        }
    }
}

/// Adds and removes neighbours as fast as the kernel allows, and leaves a hundred.
fn churn(count: usize) {
    let batch: String = (0..count)
        .map(|i| {
            let address = format!("10.91.{}.{}", 100 + i % 2, i % 100);
            let delete = if i + 100 < count {
                format!("neigh del {address} dev lan0\n")
            } else {
                String::new()
            };
            format!("neigh replace {address} lladdr 02:00:00:00:01:01 dev lan0\n{delete}")
        })
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), batch).unwrap();
    sh(&format!("ip -batch {}", file.path().display()));
}

/// Makes the kernel resolve an address.
fn touch(address: &str) {
    let from = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let address: IpAddr = address.parse().unwrap();
    UdpSocket::bind(from).unwrap().send_to(&[], (address, 9)).unwrap();
}

fn kernel_addresses() -> Vec<IpAddr> {
    let output = Command::new("ip").args(["neigh", "show", "nud", "all"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut addresses: Vec<IpAddr> = text
        .lines()
        .filter(|line| !line.contains("NOARP"))
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .collect();
    addresses.sort();
    addresses
}

fn sh(command: &str) {
    assert!(Command::new("sh").args(["-ec", command]).status().unwrap().success(), "{command}");
}

/// Runs `test` in a namespace whose `lan0` is joined to `dev0` in the namespace it is told.
fn inside_namespaces(name: &str, test: impl Fn(&str)) {
    if let Ok(device) = std::env::var(INSIDE) {
        return test(&device);
    }
    if let Err(missing) = requirements() {
        let required = std::env::var_os("DM_GATEWAY_REQUIRE_TOOLS").is_some_and(|v| v == "1");
        assert!(!required, "{name}: {missing}");
        println!("left out: {name}: {missing}");
        return;
    }
    let namespaces = Namespaces::new(name);
    let Namespaces { gateway, device } = &namespaces;
    sh(&format!(
        "ip -n {gateway} link add lan0 address 02:00:00:00:00:01 type veth \
            peer name dev0 address 02:00:00:00:00:02 netns {device}
         ip -n {gateway} link set lan0 up
         ip -n {device} link set dev0 up
         ip -n {gateway} addr add 10.91.0.1/16 dev lan0
         ip -n {gateway} addr add fd91::1/64 dev lan0 nodad
         ip -n {device} addr add 10.91.0.2/16 dev dev0
         ip -n {device} addr add fd91::2/64 dev dev0 nodad
         ip -n {gateway} ntable change name arp_cache dev lan0 retrans 100
         ip -n {gateway} ntable change name ndisc_cache dev lan0 retrans 100"
    ));
    let status = Command::new("ip")
        .args(["netns", "exec", gateway])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, device)
        .status()
        .unwrap();
    assert!(status.success());
}

fn requirements() -> Result<(), &'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root");
    }
    let ip = Command::new("ip").args(["netns", "list"]).stdout(Stdio::null()).status();
    if ip.is_ok_and(|status| status.success()) { Ok(()) } else { Err("needs ip (iproute2)") }
}

/// Two network namespaces, removed at the end.
struct Namespaces {
    gateway: String,
    device: String,
}

impl Namespaces {
    fn new(test: &str) -> Self {
        let id = format!("{}-{}", std::process::id(), test.len());
        let (gateway, device) = (format!("dmgw-nl-{id}-g"), format!("dmgw-nl-{id}-d"));
        let namespaces = Self { gateway, device };
        sh(&format!("ip netns add {}; ip netns add {}", namespaces.gateway, namespaces.device));
        namespaces
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.gateway, &self.device] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}
