//! A stranger's first ten minutes: ten faults, each truly planted around the real daemon, and
//! `status` or `check` alone has to name the cause. A gateway without a fault shows none of them.
//!
//! Network namespaces as in the suite `netns`; the wall clock is libfaketime's, certificates are
//! made by openssl, names are dnsmasq's, the full disk is a small tmpfs. Where something is missing
//! a test says `left out: first_minutes: …`; `DM_GATEWAY_REQUIRE_TOOLS=1` makes that a failure.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]
#![allow(dead_code, unreachable_pub, reason = "the lab is that of another suite, too")]

#[path = "../netns/lab.rs"]
mod lab;
#[path = "../netns/process.rs"]
mod process;

use crate::lab::{Lab, SERVER, sh};
use crate::process::{PATIENCE, Process, device, push, receive, server};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_dm-gateway");
const DMS: &str = "dms.example";
const DM: &str = "http://192.168.4.1:8080/dm";
/// What each of the ten faults is told by.
const CODES: [&str; 16] = [
    "GW-CLOCK-01",
    "GW-TLS-02",
    "GW-TLS-03",
    "GW-DNS-01",
    "GW-DNS-02",
    "GW-WAN-03",
    "GW-LAN-04",
    "GW-LAN-05",
    "GW-DEV-01",
    "GW-STORE-01",
    "GW-STORE-03",
    "GW-FILE-01",
    "GW-CONF-01",
    "GW-SRV-01",
    "GW-SRV-03",
    "GW-RUN-01",
];

#[test]
fn a_gateway_without_a_fault_shows_none() {
    let Some(bench) = Bench::new("a_gateway_without_a_fault_shows_none", &["dnsmasq"]) else {
        return;
    };
    let _names = bench.names();
    let _server = bench.manager(&[]);
    bench.account(&format!("http://{DMS}:8010/dm"));
    let host = bench.lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
    let _daemon = bench.start();
    let mut radio = device(&bench.lab, &host, "IMEI:1", "192.168.4.20:2948", &["--gateway", DM]);
    host.announce("192.168.4.20");
    radio.next("list-answered");
    assert_eq!(bench.ask(&["session", DMS, "--wait"]).status.code(), Some(0));
    let began = Instant::now();
    let check = bench.check(&[]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let status = bench.ask(&["status", "--json"]);
    let text = said(&status);
    assert_eq!(status.status.code(), Some(0), "{text}");
    for finding in checks(&check).iter().chain(&troubles(&status)) {
        let bad = finding["verdict"] == "fail" || finding["severity"].is_string();
        let code = finding["code"].as_str().unwrap();
        assert!(!bad && (finding["verdict"] != "warn" || !CODES.contains(&code)), "{finding}");
    }
    assert_eq!(check.status.code(), Some(0));
    let people = said(&bench.ask(&["status"]));
    assert!(people.starts_with("OK    "), "{people}");
    // Without the daemon, too, and it does the store no harm.
    drop(_daemon);
    let check = bench.check(&["--only", "STORE", "--user", "root"]);
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    assert!(said(&check).contains(" records"), "{}", said(&check));
    let _daemon = bench.start();
    assert_eq!(bench.ask(&["servers"]).status.code(), Some(0));
}

#[test]
fn fault_1_the_clock_is_wrong() {
    let Some(bench) = Bench::new("fault_1_the_clock_is_wrong", &["faketime"]) else { return };
    // The wall clock only, as on a router without a battery: timers go by the monotonic one.
    let clock = ["faketime", "--exclude-monotonic", "-f", "@1970-01-02 00:00:00"];
    let _daemon = bench.start_by(&clock);
    bench.status_names("GW-CLOCK-01", "the clock says 1970-01-02");
    let check =
        bench.run(&["faketime", "-f", "@1970-01-02 00:00:00"], &["check", "--json", "clock"]);
    names(&checks(&check), "GW-CLOCK-01", "1970");
}

#[test]
fn fault_2_a_ca_has_expired() {
    let tools = ["faketime", "openssl", "dnsmasq"];
    let Some(bench) = Bench::new("fault_2_a_ca_has_expired", &tools) else { return };
    let _names = bench.names();
    bench.certificates("2021-02-03");
    bench.configure(&format!("[[server]]\nid = \"{DMS}\"\ntrust = \"ca.pem\"\n"));
    let arguments =
        ["s_server", "-www", "-accept", "8443", "-cert", "server.pem", "-key", "server.key"];
    let _tls = Process::start(
        &bench.lab,
        "wan",
        "tls",
        "env",
        &[&["-C", bench.lab.path("").to_str().unwrap(), "openssl"][..], &arguments].concat(),
    );
    bench.account(&format!("https://{DMS}:8443/dm"));
    let _daemon = bench.start();
    let check = bench.check(&["tls"]);
    let told = names(&checks(&check), "GW-TLS-02", "ca.pem expired on 2021-02-04");
    assert!(told["cause"].as_str().unwrap().contains("the clock says"), "{told}");
    bench.until(&["session", DMS, "--wait"], |it| said(it).contains("expired"));
    bench.status_names("GW-TLS-02", "expired on");
}

#[test]
fn fault_3_dns_is_dead() {
    let Some(bench) = Bench::new("fault_3_dns_is_dead", &[]) else { return };
    // Nobody answers there.
    bench.resolve_by(SERVER);
    bench.account(&format!("http://{DMS}:8010/dm"));
    let _daemon = bench.start();
    names(&checks(&bench.check(&[])), "GW-DNS-02", "no name server answers: 198.51.100.1");
    bench.ask(&["session", DMS, "--wait"]);
    let told = bench.status_names("GW-DNS-01", "has no address");
    assert!(told["try"].as_str().unwrap().contains("servers test dms.example"), "{told}");
}

#[test]
fn fault_4_the_wan_port_is_closed() {
    let Some(bench) = Bench::new("fault_4_the_wan_port_is_closed", &[]) else { return };
    let _daemon = bench.start();
    let open = checks(&bench.check(&["GW-WAN-03"]));
    assert!(open.iter().all(|it| it["verdict"] == "ok"), "{open:?}");
    let gateway = bench.lab.namespace("gateway");
    sh(&format!(
        "ip netns exec {gateway} nft 'add table inet closed; add chain inet closed input \
         {{ type filter hook input priority 0; policy accept; }}; \
         add rule inet closed input iifname wan0 udp dport 2948 drop'"
    ));
    names(&checks(&bench.check(&[])), "GW-WAN-03", "inet closed input");
    // A policy of drop, and what `check` says to try; then the quick start's own rule.
    let nft = |what: &str| sh(&format!("ip netns exec {gateway} nft '{what}'"));
    nft("flush ruleset; add table inet filter; \
         add chain inet filter input { type filter hook input priority 0; policy drop; }");
    let told = names(&checks(&bench.check(&["GW-WAN-03"])), "GW-WAN-03", "inet filter input");
    let next = told["try"].as_str().unwrap();
    let rule = next.strip_prefix("nft ").unwrap().split_once("; and the same").unwrap().0;
    assert!(rule.contains("iifname wan0 ip saddr YOUR-DM-SERVERS udp dport 2948"), "{rule}");
    let manual =
        fs::read_to_string(format!("{}/src/manual/quick-start.md", env!("CARGO_MANIFEST_DIR")))
            .unwrap();
    let manual = manual.lines().find(|line| line.contains("udp dport 2948")).unwrap();
    let manual = format!("add rule inet filter input {}", manual.replace("wwan0", "wan0"));
    for rule in [rule.replace("YOUR-DM-SERVERS", "198.51.100.0/24"), manual] {
        nft("flush chain inet filter input");
        nft(&rule);
        let check = bench.check(&["GW-WAN-03"]);
        let found = checks(&check);
        assert_eq!(check.status.code(), Some(0), "{found:?}");
        assert!(found.iter().all(|it| it["verdict"] == "ok"), "{found:?}");
    }
    // With the default's two sockets: the manual's rule says nothing of IPv6, and that is no fault.
    let text = fs::read_to_string(&bench.config).unwrap();
    let both = text.replace("push-listen = \"0.0.0.0:2948\"\n", "");
    fs::write(&bench.config, both).unwrap();
    let check = bench.check(&["GW-WAN-03"]);
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    assert!(said(&check).contains("lets no push in over IPv6"), "{}", said(&check));
    fs::write(&bench.config, text).unwrap();
    nft("flush ruleset");
    // Another program has the port, and the daemon is not running.
    drop(_daemon);
    let _squatter =
        bench.lab.inside("gateway", || std::net::UdpSocket::bind("0.0.0.0:2948").unwrap());
    names(&checks(&bench.check(&["wan"])), "GW-WAN-02", "UDP 0.0.0.0:2948");
}

#[test]
fn fault_5_there_are_two_gateways() {
    let Some(bench) = Bench::new("fault_5_there_are_two_gateways", &[]) else { return };
    let _daemon = bench.start();
    let host = bench.lab.host("second", 0, "00:16:3e:00:00:66", &["192.168.4.2/24"]);
    let text = config("gw.second.example", &bench.lab.path("state2"), "")
        .replace("lan0", "eth0")
        .replace("192.168.4.1", "192.168.4.2");
    let path = bench.lab.path("second.toml");
    fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    let _second =
        Process::start(&bench.lab, "second", "second", BINARY, &["run", "--config", file]);
    let end = Instant::now() + PATIENCE;
    let named = || {
        // Whatever makes the two talk: here a datagram for nobody.
        host.announce("192.168.4.2");
        let troubles = troubles(&bench.ask(&["status", "--json"]));
        troubles.iter().any(|it| {
            it["code"] == "GW-LAN-05"
                && it["what"]
                    .as_str()
                    .unwrap()
                    .contains("gw.second.example, is on the LAN at 192.168.4.2")
        })
    };
    while !named() {
        assert!(Instant::now() < end, "{}", said(&bench.ask(&["status"])));
        std::thread::sleep(Duration::from_millis(200));
    }
    // The classic of two routers from one box: both are 192.168.4.1.
    host.add_address("192.168.4.1/24");
    names(
        &checks(&bench.check(&["lan"])),
        "GW-LAN-04",
        "00-16-3e-00-00-66 has our address 192.168.4.1",
    );
}

#[test]
fn fault_6_addresses_are_swapped() {
    let Some(bench) = Bench::new("fault_6_addresses_are_swapped", &[]) else { return };
    let _daemon = bench.start();
    let known = format!("{DMS}=http://{SERVER}:8010/dm");
    let ips = ["192.168.4.20", "192.168.4.21"];
    let hosts = [("one", "0a", ips[0]), ("two", "0b", ips[1])].map(|(name, mac, ip)| {
        let mac = format!("00:16:3e:00:00:{mac}");
        bench.lab.host(name, 0, &mac, &[&format!("{ip}/24")])
    });
    let mut radios = [0, 1].map(|number: usize| {
        let more = ["--gateway", DM, "--server", &known];
        let mut radio =
            device(&bench.lab, &hosts[number], &format!("IMEI:{number}"), "0.0.0.0:2948", &more);
        hosts[number].announce(ips[number]);
        radio.next("list-answered");
        radio
    });
    // Each gets the address that the other had: two leases, given the wrong way round.
    for (host, ip) in hosts.iter().zip(ips) {
        host.remove_address(&format!("{ip}/24"));
    }
    let swapped = [ips[1], ips[0]];
    for (host, ip) in hosts.iter().zip(swapped) {
        host.add_address(&format!("{ip}/24"));
    }
    for (host, ip) in hosts.iter().zip(swapped) {
        host.announce(ip);
    }
    // The gateway goes by who they are: nothing has to be done, and pushes reach the right one.
    bench.until(&["devices", "--json"], |it| {
        let devices: Value = serde_json::from_slice(&it.stdout).unwrap();
        let address = |number: usize| devices["devices"][number]["address"].clone();
        address(0) == swapped[0] && address(1) == swapped[1]
    });
    for (number, radio) in radios.iter_mut().enumerate() {
        let package0 = push(&bench.lab, DMS, &format!("IMEI:{number}"), 40 + number as u16);
        receive(radio, DMS, &package0);
    }
    let status = bench.ask(&["status"]);
    assert!(said(&status).starts_with("OK    "), "{}", said(&status));
    assert!(!said(&status).contains("GW-DEV-01"), "{}", said(&status));
    let check = bench.check(&["lan"]);
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));
}

#[test]
fn an_identity_that_two_devices_claim_is_told_of() {
    let test = "an_identity_that_two_devices_claim_is_told_of";
    let Some(bench) = Bench::new(test, &[]) else { return };
    let _daemon = bench.start();
    let hosts = [("one", "0a", "20"), ("two", "0b", "21")].map(|(name, mac, ip)| {
        let ip = format!("192.168.4.{ip}");
        let host =
            bench.lab.host(name, 0, &format!("00:16:3e:00:00:{mac}"), &[&format!("{ip}/24")]);
        (host, ip)
    });
    for (number, (host, ip)) in hosts.iter().enumerate() {
        let id = format!("IMEI:{number}");
        let mut radio = device(&bench.lab, host, &id, &format!("{ip}:2948"), &["--gateway", DM]);
        host.announce(ip);
        radio.next("list-answered");
    }
    // Somebody exchanged the two boxes' SIM cards: each comes with the other's identity.
    let options = ["--gateway", DM, "--open-session"];
    let _swapped = device(&bench.lab, &hosts[1].0, "IMEI:0", "192.168.4.21:3000", &options);
    let told = bench.status_names("GW-DEV-01", "IMEI:0 is claimed by 192.168.4.21");
    assert!(told["what"].as_str().unwrap().contains("and 192.168.4.20"), "{told}");
}

#[test]
fn fault_7_the_disk_is_full() {
    let Some(bench) = Bench::new("fault_7_the_disk_is_full", &[]) else { return };
    let state = bench.lab.path("state");
    fs::create_dir(&state).unwrap();
    let _disk = Mounted::new(&state);
    let _daemon = bench.start();
    let healthy = troubles(&bench.ask(&["status", "--json"]));
    assert!(healthy.is_empty(), "{healthy:?}");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096"])
        .arg(format!("of={}", state.join("filler").display()))
        .output()
        .unwrap();
    bench.status_names("GW-STORE-03", "is full");
    names(&checks(&bench.check(&["store"])), "GW-STORE-03", "is full");
}

#[test]
fn fault_8_a_key_file_is_unreadable() {
    let Some(bench) = Bench::new("fault_8_a_key_file_is_unreadable", &["openssl", "setpriv"])
    else {
        return;
    };
    bench.certificates("");
    let key = bench.lab.path("server.key");
    sh(&format!("chmod 755 {}; chmod 000 {}", bench.lab.path("").display(), key.display()));
    bench.configure(
        "[wan]\nhttp-push-listen = \"0.0.0.0:4443\"\n[wan.http-push]\ncertificate = \"server.pem\"\n\
         key = \"server.key\"\nclient-ca = \"ca.pem\"\n",
    );
    // The daemon does not even start, and says why.
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let file = bench.config.to_str().unwrap();
    let run = bench.run(&nobody, &["run", "--config", file]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    // As that user, and as root who asks for that user.
    let asked = bench.run(&nobody, &["check", "--json", "--config", file]);
    names(&checks(&asked), "GW-FILE-01", "server.key");
    let told = names(&checks(&bench.check(&["--user", "nobody"])), "GW-FILE-01", "server.key");
    assert!(told["what"].as_str().unwrap().contains("mode is 000"), "{told}");
    assert!(told["try"].as_str().unwrap().contains("chmod 640"), "{told}");
}

#[test]
fn fault_9_the_configuration_has_a_typo() {
    let Some(bench) = Bench::new("fault_9_the_configuration_has_a_typo", &[]) else { return };
    let text = fs::read_to_string(&bench.config).unwrap().replace("policy =", "polcy =");
    fs::write(&bench.config, text).unwrap();
    let check = bench.check(&[]);
    assert_eq!(check.status.code(), Some(1));
    let told = names(&checks(&check), "GW-CONF-04", "polcy");
    assert!(
        told["what"].as_str().unwrap().contains("line ") && told["try"] == "`policy`",
        "{told}"
    );
}

#[test]
fn fault_10_the_server_asks_for_basic_authentication() {
    let test = "fault_10_the_server_asks_for_basic_authentication";
    let Some(bench) = Bench::new(test, &["dnsmasq"]) else { return };
    let _names = bench.names();
    let _server = bench.manager(&["--basic-only"]);
    bench.account(&format!("http://{DMS}:8010/dm"));
    let _daemon = bench.start();
    assert_eq!(bench.ask(&["session", DMS, "--wait"]).status.code(), Some(1));
    let told = bench.status_names("GW-SRV-03", "basic authentication");
    assert!(told["try"].as_str().unwrap().contains("syncml:auth-md5"), "{told}");
}

// --- The bench ------------------------------------------------------------------------------------

/// One gateway between a WAN and a LAN, with a configuration.
struct Bench {
    lab: Lab,
    config: PathBuf,
}

/// `more` may begin with further keys of `[wan]`.
fn config(id: &str, state: &Path, more: &str) -> String {
    let more = more.strip_prefix("[wan]\n").unwrap_or(more);
    let (wan_keys, sections) = more.split_at(more.find('[').unwrap_or(more.len()));
    format!(
        "[gateway]\nid = \"{id}\"\nstate-dir = \"{}\"\npublic-address = \"198.51.100.2\"\n\
         [wan]\npush-listen = \"0.0.0.0:2948\"\n{wan_keys}\n\
         [[lan]]\nname = \"radios\"\ninterface = \"lan0\"\nlisten = \"192.168.4.1:8080\"\n\
         detect = [\"neighbours\"]\npolicy = \"transparent\"\n\
         [bootstrap]\ndirectories = [\"boot\"]\n{sections}",
        state.display()
    )
}

impl Bench {
    fn new(test: &str, tools: &[&str]) -> Option<Self> {
        let lab = Lab::of("first_minutes", test, 1, tools)?;
        fs::create_dir(lab.path("boot")).unwrap();
        // A gateway has a way to the Internet.
        sh(&format!("ip -n {} route add default via {SERVER}", lab.namespace("gateway")));
        let bench = Self { config: lab.path("dm-gateway.toml"), lab };
        bench.configure(&format!("[[server]]\nid = \"{DMS}\"\nallow-http = true\n"));
        Some(bench)
    }

    /// Writes the configuration; `more` may begin with further keys of `[wan]`.
    fn configure(&self, more: &str) {
        fs::write(&self.config, config("gateway.example", &self.lab.path("state"), more)).unwrap();
    }

    fn start(&self) -> Process {
        self.start_by(&["env"])
    }

    /// Starts the daemon by way of another program, and waits until it answers.
    fn start_by(&self, wrapper: &[&str]) -> Process {
        let (program, arguments) = wrapper.split_first().unwrap();
        let own = [BINARY, "run", "--config", self.config.to_str().unwrap()];
        let arguments = [arguments, &own].concat();
        let mut daemon = Process::start(&self.lab, "gateway", "gateway", program, &arguments);
        let end = Instant::now() + PATIENCE;
        while self.ask(&["status"]).status.code() == Some(3) {
            assert!(daemon.runs() && Instant::now() < end, "the gateway does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    /// Runs the program in the gateway's namespace, by way of another one.
    fn run(&self, wrapper: &[&str], arguments: &[&str]) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.lab.namespace("gateway")]).args(wrapper).arg(BINARY);
        command.args(arguments);
        if !arguments.contains(&"--config") {
            command.arg("--config").arg(&self.config);
        }
        command.output().unwrap()
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.run(&["env"], arguments)
    }

    fn check(&self, arguments: &[&str]) -> Output {
        self.ask(&[&["check", "--json"], arguments].concat())
    }

    fn until(&self, arguments: &[&str], wanted: impl Fn(&Output) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let output = self.ask(arguments);
            if wanted(&output) {
                return;
            }
            assert!(Instant::now() < end, "{output:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until `status` names a cause by its code and a word; gives that line.
    fn status_names(&self, code: &str, word: &str) -> Value {
        let fits = |line: &Value| {
            line["code"] == code && line["what"].as_str().is_some_and(|what| what.contains(word))
        };
        self.until(&["status", "--json"], |it| troubles(it).iter().any(fits));
        // People read the same.
        let people = said(&self.ask(&["status"]));
        // Long lines are wrapped.
        let words = people.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = words
            .split_once(code)
            .is_some_and(|(_, after)| after.contains(word) && after.contains("try: "));
        assert!(told, "{people}");
        troubles(&self.ask(&["status", "--json"])).into_iter().find(fits).unwrap()
    }

    /// The gateway's name server from now on.
    fn resolve_by(&self, server: &str) {
        let directory = Path::new("/etc/netns").join(self.lab.namespace("gateway"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("resolv.conf"), format!("nameserver {server}\n")).unwrap();
    }

    /// A name server in the WAN.
    fn names(&self) -> Process {
        self.resolve_by(SERVER);
        let address = format!("--address=/{DMS}/{SERVER}");
        let listen = format!("--listen-address={SERVER}");
        let options = ["-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"];
        let more = [&*listen, &*address, "--local=/invalid/", "--user=root", "--pid-file"];
        Process::start(&self.lab, "wan", "names", "dnsmasq", &[&options[..], &more[..]].concat())
    }

    /// A DM server that manages the gateway.
    fn manager(&self, more: &[&str]) -> Process {
        let file = |name: &str, text: &str| {
            let path = self.lab.path(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (client, secret) = (file("client", "gateway's\n"), file("secret", "server's\n"));
        let script = file("script", "get ./DevInfo/Man\n");
        let mut arguments = vec!["--client-user", "gateway", "--client-nonce", "first", "--nonce"];
        arguments.extend(["first", "--client-secret-file", &client, "--secret-file", &secret]);
        arguments.extend(["--script", &script]);
        arguments.extend(more);
        server(&self.lab, DMS, &format!("{SERVER}:8010"), &arguments)
    }

    /// A factory file with the account.
    fn account(&self, url: &str) {
        let leaf = |name: &str, value: &str| {
            format!("<Node><NodeName>{name}</NodeName><Value>{value}</Value></Node>")
        };
        let node =
            |name: &str, inner: &str| format!("<Node><NodeName>{name}</NodeName>{inner}</Node>");
        let credential = |name: &str, level: &str, user: &str, secret: &str| {
            let nonce = "<Node><NodeName>AAuthData</NodeName><RTProperties><Format><bin/></Format>\
                         </RTProperties><Value>Zmlyc3Q=</Value></Node>";
            let leaves = [
                leaf("AAuthLevel", level),
                leaf("AAuthType", "DIGEST"),
                leaf("AAuthName", user),
                leaf("AAuthSecret", secret),
            ];
            node(name, &format!("{}{nonce}", leaves.concat()))
        };
        let credentials = [
            credential("up", "CLCRED", "gateway", "gateway&apos;s"),
            credential("down", "SRVCRED", DMS, "server&apos;s"),
        ];
        let document = format!(
            "<MgmtTree xmlns=\"syncml:dmddf1.2\"><VerDTD>1.2</VerDTD><Node><NodeName>a</NodeName>\
             <Path>./DMAcc</Path>{}{}{}{}</Node></MgmtTree>",
            leaf("AppID", "w7"),
            leaf("ServerID", DMS),
            node("AppAddr", &node("1", &leaf("Addr", url))),
            node("AppAuth", &credentials.concat()),
        );
        fs::write(self.lab.path("boot/account.xml"), document).unwrap();
    }

    /// A CA and a server of it, both for one day; empty for today.
    fn certificates(&self, day: &str) {
        let wrapper: &[&str] = if day.is_empty() { &["env"] } else { &["faketime", day] };
        let fixed = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1";
        let ca = "-subj /CN=ca -keyout ca.key -out ca.pem";
        let own = "-subj /CN=server -keyout server.key -out server.pem -CA ca.pem -CAkey ca.key \
                   -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:dms.example";
        for arguments in [ca, own] {
            let (program, first) = wrapper.split_first().unwrap();
            let made = Command::new(program)
                .args(first)
                .arg("openssl")
                .args(fixed.split(' ').chain(arguments.split_whitespace()))
                .current_dir(self.lab.path(""))
                .output()
                .unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let directory = Path::new("/etc/netns").join(self.lab.namespace("gateway"));
        let _ = fs::remove_dir_all(directory);
    }
}

/// A disk of 24 MiB.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: &Path) -> Self {
        sh(&format!("mount -t tmpfs -o size=24m,mode=700 dm-gateway-test {}", path.display()));
        Self(path.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

// --- What was said --------------------------------------------------------------------------------

fn said(output: &Output) -> String {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
}

fn checks(output: &Output) -> Vec<Value> {
    document(output)["checks"].as_array().unwrap().clone()
}

fn troubles(output: &Output) -> Vec<Value> {
    document(output)["troubles"].as_array().unwrap().clone()
}

/// The finding with a code and a word in it that is a failure.
fn names(findings: &[Value], code: &str, word: &str) -> Value {
    let found = findings.iter().find(|it| {
        let what = it["what"].as_str().unwrap();
        it["verdict"] == "fail" && it["code"] == code && what.contains(word)
    });
    found.unwrap_or_else(|| panic!("no {code} with {word} in {findings:#?}")).clone()
}
