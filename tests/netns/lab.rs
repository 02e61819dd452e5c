//! A WAN, a gateway with NAT, and LANs behind it, out of network namespaces.
//!
//! ```text
//!   wan                      gateway                    switch              one per device
//!   198.51.100.1  ─────────  .2 wan0   lan0 .1  ──────  br0 ─────────────── eth0 192.168.4.x
//!   2001:db8:1::1            ::2       masquerade       (a bridge a LAN)         fd04::x
//! ```
//!
//! The bridges have a namespace of their own: a device that is unplugged there is gone without
//! any interface of the gateway's losing its carrier. Everything is removed at the end, also of
//! a test that fails; names hold the process id, so that several runs do not meet.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use nix::sched::{CloneFlags, setns};

/// Where the DM servers are.
pub(crate) const SERVER: &str = "198.51.100.1";
/// The same, IPv6.
pub(crate) const SERVER6: &str = "2001:db8:1::1";
/// The gateway's address on the WAN.
pub(crate) const PUBLIC: &str = "198.51.100.2";
/// The same, IPv6.
pub(crate) const PUBLIC6: &str = "2001:db8:1::2";

/// What all processes of a test printed, in the order in which it came.
pub(crate) type Transcript = Arc<Mutex<String>>;

/// The namespaces of one test.
pub(crate) struct Lab {
    prefix: String,
    namespaces: Mutex<Vec<String>>,
    directory: tempfile::TempDir,
    pub(crate) transcript: Transcript,
}

/// One end device's host.
pub(crate) struct Host<'l> {
    lab: &'l Lab,
    name: String,
    lan: usize,
}

impl Lab {
    /// A WAN, a gateway and `lans` LANs; or `None`, and a line that says why, where that cannot
    /// be made.
    pub(crate) fn new(test: &str, lans: usize, tools: &[&str]) -> Option<Self> {
        Self::of("netns", test, lans, tools)
    }

    /// The same for a test of another suite.
    pub(crate) fn of(suite: &str, test: &str, lans: usize, tools: &[&str]) -> Option<Self> {
        if let Some(missing) = missing(tools) {
            let required = std::env::var_os("DM_GATEWAY_REQUIRE_TOOLS").is_some_and(|v| v == "1");
            assert!(!required, "{test} needs {missing}");
            // Not `println!`, which a test that passes keeps to itself.
            let _ = writeln!(std::io::stdout(), "\nleft out: {suite}: {test} (needs {missing})");
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        remove_leftovers();
        let lab = Self {
            prefix: format!("{NAME}{}-{number}", std::process::id()),
            namespaces: Mutex::default(),
            directory: tempfile::tempdir().unwrap(),
            transcript: Transcript::default(),
        };
        lab.build(lans);
        Some(lab)
    }

    /// The full name of the namespace `wan`, `gateway`, `switch`, or of a host.
    pub(crate) fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A file in the test's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Plugs a new host into LAN `lan`. `addresses` come with their prefix lengths; without an
    /// IPv6 one among them the host does not speak IPv6 at all.
    pub(crate) fn host(&self, name: &str, lan: usize, mac: &str, addresses: &[&str]) -> Host<'_> {
        let host = Host { lab: self, name: name.to_owned(), lan };
        let (own, switch) = (self.add_namespace(name), self.namespace("switch"));
        let ipv6 = addresses.iter().any(|address| address.contains(':'));
        if !ipv6 {
            self.set(name, "net/ipv6/conf/default/disable_ipv6", "1");
        }
        sh(&format!(
            "ip -n {switch} link add {name} type veth peer name eth0 address {mac} netns {own}
             ip -n {switch} link set {name} master br{lan} up
             ip -n {own} link set eth0 up"
        ));
        for address in addresses {
            host.add_address(address);
        }
        host
    }

    /// Unplugs a host for good.
    pub(crate) fn remove_host(&self, host: Host<'_>) {
        let namespace = self.namespace(&host.name);
        sh(&format!("ip -n {namespace} link del eth0; ip netns del {namespace}"));
        self.namespaces.lock().unwrap().retain(|name| *name != namespace);
    }

    fn add_wan_interface(&self) {
        let (wan, gateway) = (self.namespace("wan"), self.namespace("gateway"));
        sh(&format!(
            "ip -n {wan} link add eth0 type veth peer name wan0 netns {gateway}
             ip -n {wan} link set eth0 up
             ip -n {wan} addr add {SERVER}/24 dev eth0
             ip -n {wan} addr add {SERVER6}/64 dev eth0 nodad
             ip -n {gateway} link set wan0 up
             ip -n {gateway} addr add {PUBLIC}/24 dev wan0
             ip -n {gateway} addr add {PUBLIC6}/64 dev wan0 nodad"
        ));
    }

    /// The interface to the WAN goes and comes, as that of a modem does.
    pub(crate) fn reset_wan_interface(&self) {
        sh(&format!("ip -n {} link del wan0", self.namespace("gateway")));
        self.add_wan_interface();
    }

    /// Gives the gateway its interface of a LAN.
    pub(crate) fn add_lan_interface(&self, lan: usize) {
        let (gateway, switch, net) = (self.namespace("gateway"), self.namespace("switch"), 4 + lan);
        sh(&format!(
            "ip -n {gateway} link add lan{lan} address 00:16:3e:ff:00:0{lan} \
                 type veth peer name up{lan} netns {switch}
             ip -n {switch} link set up{lan} master br{lan} up
             ip -n {gateway} link set lan{lan} up
             ip -n {gateway} addr add 192.168.{net}.1/24 dev lan{lan}
             ip -n {gateway} addr add fd0{net}::1/64 dev lan{lan} nodad
             ip -n {gateway} addr add 2001:db8:{net}::1/64 dev lan{lan} nodad"
        ));
        // The kernel gives a silent neighbour up after 0.6 s instead of 3 s, and looks at a
        // stale one after 1 s instead of 5 s.
        for family in ["ipv4", "ipv6"] {
            let of_lan = format!("net/{family}/neigh/lan{lan}");
            self.set("gateway", &format!("{of_lan}/retrans_time_ms"), "200");
            self.set("gateway", &format!("{of_lan}/delay_first_probe_time"), "1");
        }
    }

    /// Takes it away, as when a USB plug is pulled: the kernel forgets all about it.
    pub(crate) fn remove_lan_interface(&self, lan: usize) {
        sh(&format!("ip -n {} link del lan{lan}", self.namespace("gateway")));
    }

    /// Runs `task` on a thread of its own inside a namespace.
    pub(crate) fn inside<T: Send>(&self, name: &str, task: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.namespace(name))).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                task()
            });
            thread.join().unwrap()
        })
    }

    /// The packets that a named nft counter in the table `judge` of a namespace saw.
    pub(crate) fn counted(&self, name: &str, counter: &str) -> u64 {
        let namespace = self.namespace(name);
        let text = sh(&format!("ip netns exec {namespace} nft list counter inet judge {counter}"));
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{text}"))
    }

    fn build(&self, lans: usize) {
        let (wan, _, switch) = (
            self.add_namespace("wan"),
            self.add_namespace("gateway"),
            self.add_namespace("switch"),
        );
        // The bridges are no hosts.
        self.set("switch", "net/ipv6/conf/default/disable_ipv6", "1");
        self.set("gateway", "net/ipv4/ip_forward", "1");
        self.set("gateway", "net/ipv6/conf/all/forwarding", "1");
        self.add_wan_interface();
        for lan in 0..lans {
            let net = 4 + lan;
            sh(&format!(
                "ip -n {switch} link add br{lan} type bridge forward_delay 0 stp_state 0
                 ip -n {switch} link set br{lan} up
                 ip -n {wan} route add 2001:db8:{net}::/64 via {PUBLIC6}"
            ));
            self.add_lan_interface(lan);
        }
        self.load_rules("gateway", include_str!("gateway.nft"));
        self.load_rules("wan", include_str!("wan.nft"));
    }

    fn load_rules(&self, name: &str, rules: &str) {
        let file = self.path(&format!("{name}.nft"));
        std::fs::write(&file, rules).unwrap();
        sh(&format!("ip netns exec {} nft -f {}", self.namespace(name), file.display()));
    }

    fn add_namespace(&self, name: &str) -> String {
        let namespace = self.namespace(name);
        self.namespaces.lock().unwrap().push(namespace.clone());
        sh(&format!("ip netns add {namespace}; ip -n {namespace} link set lo up"));
        namespace
    }

    fn set(&self, name: &str, key: &str, value: &str) {
        let file = Path::new("/proc/sys").join(key);
        let written = self.inside(name, || std::fs::write(&file, value));
        written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Captured by the harness, and shown with the failure.
            println!("--- what the processes said ---\n{}", self.transcript.lock().unwrap());
        }
        for namespace in self.namespaces.lock().unwrap().iter().rev() {
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

impl Host<'_> {
    /// Its name, which is that of its namespace.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives it an address, and a default route by the gateway of the same network.
    pub(crate) fn add_address(&self, address: &str) {
        let own = self.lab.namespace(&self.name);
        // An IPv6 address is to be usable at once.
        let (network, family, how) = match address.rsplit_once("::") {
            Some((network, _)) => (format!("{network}::"), "-6", "nodad"),
            None => (format!("192.168.{}.", 4 + self.lan), "-4", ""),
        };
        sh(&format!(
            "ip -n {own} addr add {address} dev eth0 {how}
             ip {family} -n {own} route replace default via {network}1"
        ));
    }

    /// Takes an address from it.
    pub(crate) fn remove_address(&self, address: &str) {
        sh(&format!("ip -n {} addr del {address} dev eth0", self.lab.namespace(&self.name)));
    }

    /// Sends a datagram that nobody expects to the gateway from an address: all that the gateway
    /// learns from it is what the kernel learns, by ARP or ND, when the two find each other.
    pub(crate) fn announce(&self, from: &str) {
        let from: IpAddr = from.parse().unwrap();
        let to: IpAddr = match from {
            IpAddr::V4(from) => {
                let [a, b, c, _] = from.octets();
                [a, b, c, 1].into()
            }
            IpAddr::V6(from) => {
                let [a, b, c, d, ..] = from.segments();
                [a, b, c, d, 0, 0, 0, 1].into()
            }
        };
        self.lab.inside(&self.name, || {
            UdpSocket::bind((from, 0)).unwrap().send_to(b"hello", SocketAddr::new(to, 9)).unwrap();
        });
    }

    /// Unplugs it from the switch: to the gateway nothing happens.
    pub(crate) fn unplug(&self) {
        sh(&format!("ip -n {} link set {} down", self.lab.namespace("switch"), self.name));
    }

    /// Plugs it in again.
    pub(crate) fn plug(&self) {
        sh(&format!("ip -n {} link set {} up", self.lab.namespace("switch"), self.name));
    }
}

/// Runs a shell script, any failure of which fails the test.
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(output.status.success(), "{script}\n{}", text(&output.stderr));
    text(&output.stdout)
}

const NAME: &str = "dmgw-netns-";

/// What a lab needs and is not there.
fn missing(tools: &[&str]) -> Option<String> {
    let mut missing = String::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push_str("root, ");
    }
    for tool in ["ip", "nft"].iter().chain(tools) {
        if Command::new(tool).arg("--version").output().is_err() {
            let _ = write!(missing, "{tool}, ");
        }
    }
    if missing.is_empty() && Command::new("ip").args(["netns", "list"]).output().is_err() {
        missing.push_str("network namespaces, ");
    }
    missing.strip_suffix(", ").map(str::to_owned)
}

/// Removes the namespaces of runs that were killed.
fn remove_leftovers() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(NAME).and_then(|rest| rest.split_once('-'));
        if process.is_some_and(|(id, _)| !Path::new("/proc").join(id).exists()) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}
