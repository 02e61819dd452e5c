//! LANs, the WAN, what the kernel forwards, names.

use super::firewall::{Fate, Packet, fate};
use super::{Check, Finding, Scene, iptables, seconds};
use crate::codes;
use crate::config::Config;
use crate::gateway::Prefix;
use crate::gateway::policy::Verify;
use crate::io::dns::{self, DnsFailure};
use crate::io::inspect::{self, Listening};
use crate::io::netlink::Netlink;
use crate::io::{arp, plain};
use crate::limits;
use async_io::Timer;
use smol::future;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Instant;

pub(super) const CHECKS: &[Check] = &[
    Check::new(codes::LAN_DOWN, "the interface of each LAN is up", lan_interfaces),
    Check::new(codes::LAN_ADDRESS, "the addresses that LANs listen on are there", lan_addresses),
    Check::new(codes::DUPLICATE, "nobody else on a LAN has the gateway's address", duplicates),
    Check::new(codes::NEIGHBOURS, "the kernel's neighbour table can be read", neighbours),
    Check::new(codes::WAN_DOWN, "the WAN interface is up", wan_interface),
    Check::new(codes::PUSH_PORT, "the ports are free, or the daemon has them", ports),
    Check::new(codes::FIREWALL, "the firewall lets pushes in", firewall),
    Check::new(codes::FORWARDING, "the kernel forwards packets", forwarding),
    Check::new(codes::NO_ROUTE, "there is a default route", route),
    Check::new(codes::CONNTRACK, "the table of connections has room", connections),
    Check::new(codes::NEIGHBOUR_LIMIT, "the kernel's neighbour table has room", neighbour_limit),
    Check::new(codes::SOCKET_BUFFER, "receive buffers may be large enough", buffers),
    Check::new(codes::RESOLVER, "a name server answers", resolver),
];

fn lan_interfaces(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let lans = config.options.lans.iter();
        let judge = |lan: &crate::gateway::LanOptions| {
            let (name, interface) = (&lan.name, &lan.interface);
            match inspect::interface(interface) {
                Some(true) => Finding::ok(format!("LAN {name}: {interface} is up")),
                Some(false) => {
                    let what = format!("LAN {name}: the interface {interface} is down");
                    Finding::fail(codes::LAN_DOWN, what).then(format!("ip link set {interface} up"))
                }
                None => {
                    let what = format!("LAN {name}: there is no interface {interface}");
                    Finding::fail(codes::LAN_DOWN, what).then("ip link show")
                }
            }
        };
        lans.map(judge).collect()
    })
}

fn lan_addresses(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let own = inspect::addresses();
        let mut found = Vec::new();
        for (lan, listen) in config.options.lans.iter().zip(&config.lans) {
            for address in &listen.listen {
                let ip = address.ip();
                if ip.is_unspecified() || ip.is_loopback() || own.contains(&ip) {
                    continue;
                }
                let what = format!("LAN {}: nobody here has the address {ip}", lan.name);
                let next = format!("ip address show {}", lan.interface);
                found.push(Finding::fail(codes::LAN_ADDRESS, what).then(next));
            }
        }
        if found.is_empty() { vec![Finding::ok("")] } else { found }
    })
}

fn duplicates(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let mut found = Vec::new();
        for lan in &config.options.lans {
            let (name, interface) = (&lan.name, &lan.interface);
            for address in inspect::addresses_of(interface) {
                if address.is_loopback() {
                    continue;
                }
                found.push(match arp::rival(interface, address, limits::CHECK_ARP) {
                    Ok(None) => Finding::ok(format!("LAN {name}: {address} is ours alone")),
                    Ok(Some(mac)) => {
                        let what = format!("LAN {name}: {mac} has our address {address} too");
                        Finding::fail(codes::DUPLICATE, what)
                    }
                    Err(error) => {
                        Finding::skipped(format!("LAN {name}: cannot ask: {}", plain(&error)))
                    }
                });
            }
        }
        if found.is_empty() { vec![Finding::skipped("no LAN has an IPv4 address")] } else { found }
    })
}

fn neighbours(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        if config.options.lans.iter().all(|lan| lan.verify == Verify::None) {
            return vec![Finding::skipped("no LAN verifies its devices")];
        }
        // It wants an executor's reactor only when it is waited for.
        match Netlink::open() {
            Ok(_) => vec![Finding::ok("")],
            Err(error) => vec![Finding::fail(codes::NEIGHBOURS, plain(&error))],
        }
    })
}

fn wan_interface(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let Some(name) = &config.wan_interface else {
            return vec![Finding::skipped("no [wan] interface is configured: any will do")];
        };
        vec![match inspect::interface(name) {
            Some(true) => Finding::ok(format!("{name} is up")),
            Some(false) => Finding::fail(codes::WAN_DOWN, format!("the interface {name} is down")),
            None => Finding::fail(codes::WAN_DOWN, format!("there is no interface {name}")),
        }]
    })
}

fn ports(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let pushes = config.push_listen.iter().map(|address| (*address, false));
        let http = config.http_push.listen.iter().map(|address| (*address, true));
        let lans = config.lans.iter().flat_map(|lan| &lan.listen).map(|address| (*address, true));
        let taken = [inspect::listening(false), inspect::listening(true)];
        let wanted = pushes.chain(http).chain(lans).filter(|(address, _)| address.port() != 0);
        wanted.map(|(address, tcp)| port(scene, address, tcp, &taken[usize::from(tcp)])).collect()
    })
}

fn port(scene: &Scene, address: SocketAddr, tcp: bool, taken: &[Listening]) -> Finding {
    let kind = if tcp { "TCP" } else { "UDP" };
    let is_there = |it: &&Listening| {
        let (has, wanted) = (it.address.ip(), address.ip());
        let overlap = has == wanted
            || has.is_unspecified() && has.is_ipv4() == wanted.is_ipv4()
            || wanted.is_unspecified() && has.is_ipv4() == wanted.is_ipv4();
        it.address.port() == address.port() && overlap
    };
    let holder = taken.iter().find(is_there).map(|it| inspect::owner(it.inode));
    let daemon = scene.daemon.as_ref().map(|daemon| daemon.pid);
    match (holder, daemon) {
        (None, None) => Finding::ok(format!("{kind} {address} is free")),
        (None, Some(_)) => {
            let what = format!("{kind} {address} is not open, and the daemon runs");
            Finding::fail(codes::PUSH_PORT, what)
        }
        (Some(None), Some(_)) => Finding::ok(format!("{kind} {address} is open")),
        (Some(Some((pid, _))), Some(Some(daemon))) if pid == daemon => {
            Finding::ok(format!("{kind} {address} is open, the daemon has it"))
        }
        (Some(who), _) => {
            let who = who.map_or_else(
                || "another program".to_owned(),
                |(pid, name)| format!("{name} (process {pid})"),
            );
            let what = format!("{who} has {kind} {address}");
            let next = format!("ss -lnptu 'sport = :{}'; end that program", address.port());
            Finding::fail(codes::PUSH_PORT, what).then(next)
        }
    }
}

fn firewall(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let (rules, unread) = rules();
        if let (true, Some(why)) = (rules.is_empty(), unread) {
            return vec![Finding::skipped(why)];
        }
        let pushes = config.push_listen.iter().map(|address| (address, "udp"));
        let http = config.http_push.listen.iter().map(|address| (address, "tcp"));
        let outside = pushes.chain(http).filter(|(address, _)| !address.ip().is_loopback());
        // Strangers come by the way to the Internet.
        let interface = config.wan_interface.clone().or_else(inspect::default_interface);
        let interface = interface.unwrap_or_default();
        let judged: Vec<_> = outside
            .map(|(address, protocol)| {
                let (port, v6) = (address.port(), address.is_ipv6());
                let packet = Packet { interface: &interface, protocol, port, v6 };
                (*address, protocol, strictest(rules.iter().map(|rules| fate(rules, packet))))
            })
            .collect();
        if judged.is_empty() {
            return vec![Finding::skipped("pushes come in on loopback only")];
        }
        let has_v6 = inspect::has_global_v6(&interface);
        let judge = |(address, protocol, fate): &(SocketAddr, &str, Fate)| {
            let name = format!("{protocol} {address}");
            // Whether the same comes in over the other family.
            let is_in = |(other, kind, fate): &(SocketAddr, &str, Fate)| {
                (other.port(), *kind) == (address.port(), *protocol)
                    && matches!(fate, Fate::Open | Fate::Narrow)
            };
            match fate {
                Fate::Open => Finding::ok(format!("{name} is let in")),
                Fate::Narrow => {
                    let whom = "for some senders, or so many a second";
                    Finding::ok(format!("{name} is let in {whom}"))
                }
                Fate::Unknown => Finding::skipped(format!("{name}: cannot tell")),
                Fate::Closed(_) if address.is_ipv6() && !has_v6 => {
                    Finding::skipped(format!("{name}: the WAN has no global IPv6 address"))
                }
                Fate::Closed(chain) if judged.iter().any(is_in) => {
                    let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
                    let what = format!("{name}: the chain {chain} lets no push in over {family}");
                    Finding::skipped(what)
                }
                Fate::Closed(chain) => {
                    let what = format!("the firewall drops {name}, in the chain {chain}");
                    let (rule, kept) = opening(
                        chain,
                        &config.options.trusted_sources,
                        &interface,
                        (*address, protocol),
                    );
                    let next = format!("{rule}; and the same where {kept}, to last");
                    Finding::fail(codes::FIREWALL, what).then(next)
                }
            }
        };
        judged.iter().map(judge).collect()
    })
}

/// What the strictest of several sets of rules does.
fn strictest(fates: impl Iterator<Item = Fate>) -> Fate {
    let rank = |fate: &Fate| match fate {
        Fate::Open => 0,
        Fate::Narrow => 1,
        Fate::Unknown => 2,
        Fate::Closed(_) => 3,
    };
    fates.max_by_key(rank).unwrap_or(Fate::Open)
}

/// The rules of the kernel: nft's, which are also those of today's iptables, and those of
/// iptables-legacy, where that is in use; and why there are none.
fn rules() -> (Vec<serde_json::Value>, Option<String>) {
    let ask =
        |program, arguments: &[&str]| inspect::output(program, arguments, limits::CHECK_QUESTION);
    let listed = ask("nft", &["-j", "list", "ruleset"]);
    let nft = listed.and_then(|text| Ok(serde_json::from_slice(&text)?));
    let why =
        |error: &std::io::Error| format!("the rules cannot be read with nft: {}", plain(error));
    let unread = nft.as_ref().err().map(why);
    let mut all = Vec::from_iter(nft.ok());
    for (names, program, v6) in [
        ("/proc/net/ip_tables_names", "iptables-legacy", false),
        ("/proc/net/ip6_tables_names", "ip6tables-legacy", true),
    ] {
        // Only a table that is there already is asked for: to ask for another one would load it.
        let names = fs::read_to_string(names).unwrap_or_default();
        if !names.lines().any(|name| name == "filter") {
            continue;
        }
        let plain_name = program.trim_end_matches("-legacy");
        let listed = ask(program, &["-S"]).or_else(|_| ask(plain_name, &["-S"]));
        let text = listed.ok().and_then(|text| String::from_utf8(text).ok());
        // Rules that are there and cannot be listed leave it open.
        all.push(text.map_or(serde_json::Value::Null, |text| iptables::ruleset(&text, v6)));
    }
    (all, unread)
}

/// A command that lets pushes in by the WAN only, and from DM servers only; and where rules are kept.
fn opening(
    chain: &str,
    trusted: &[Prefix],
    interface: &str,
    (address, protocol): (SocketAddr, &str),
) -> (String, &'static str) {
    let (family, port) = (if address.is_ipv6() { "ip6" } else { "ip" }, address.port());
    let sources = trusted.iter().filter(|it| it.address.is_ipv6() == address.is_ipv6());
    let sources: Vec<_> = sources.map(|it| format!("{}/{}", it.address, it.length)).collect();
    let from = if interface.is_empty() { "WAN-INTERFACE" } else { interface };
    let list = |open: &str, between: &str, close: &str| match sources.as_slice() {
        [] => "YOUR-DM-SERVERS".to_owned(),
        [one] => one.clone(),
        several => format!("{open}{}{close}", several.join(between)),
    };
    match chain.split(' ').nth(1) {
        Some(program) if program.ends_with("tables-legacy") => (
            format!(
                "{program} -I INPUT -i {from} -s {} -p {protocol} --dport {port} -j ACCEPT",
                list("", ",", "")
            ),
            "your firewall's rules are kept",
        ),
        _ => (
            format!(
                "nft insert rule {chain} iifname {from} {family} saddr {} {protocol} dport {port} accept",
                list("{ ", ", ", " }")
            ),
            "your firewall's rules are kept (/etc/nftables.conf)",
        ),
    }
}

fn forwarding(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        if is_local(config) {
            return vec![Finding::skipped("the LANs are on this machine itself")];
        }
        match inspect::number_of("/proc/sys/net/ipv4/ip_forward") {
            Some(0) => {
                let what = "net.ipv4.ip_forward is 0: devices cannot reach their servers";
                vec![Finding::warn(codes::FORWARDING, what)]
            }
            Some(_) => vec![Finding::ok("")],
            None => vec![Finding::skipped("net.ipv4.ip_forward cannot be read")],
        }
    })
}

fn route(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        if inspect::has_default_route() {
            vec![Finding::ok("")]
        } else if is_local(config) {
            vec![Finding::skipped("the LANs are on this machine itself")]
        } else {
            vec![Finding::warn(codes::NO_ROUTE, "there is no default route")]
        }
    })
}

/// Whether all LANs are the loopback interface: a trial.
fn is_local(config: &Config) -> bool {
    config.options.lans.iter().all(|lan| lan.interface == "lo")
}

fn connections(_: &Scene) -> Vec<Finding> {
    let directory = Path::new("/proc/sys/net/netfilter");
    let number = |name: &str| inspect::number_of(directory.join(name));
    let (Some(count), Some(most)) = (number("nf_conntrack_count"), number("nf_conntrack_max"))
    else {
        return vec![Finding::skipped("the kernel tracks no connections")];
    };
    share(codes::CONNTRACK, "connections", count, most)
}

fn neighbour_limit(_: &Scene) -> Vec<Finding> {
    let most = inspect::number_of("/proc/sys/net/ipv4/neigh/default/gc_thresh3");
    let table = fs::read_to_string("/proc/net/arp");
    let (Some(most), Ok(table)) = (most, table) else {
        return vec![Finding::skipped("the limit cannot be read")];
    };
    share(codes::NEIGHBOUR_LIMIT, "neighbours", table.lines().skip(1).count() as u64, most)
}

/// Warns from nine tenths on.
fn share(code: codes::Code, what: &str, count: u64, most: u64) -> Vec<Finding> {
    let text = format!("{count} of at most {most} {what}");
    let is_low = most > 0 && count > most - most / 10;
    vec![if is_low { Finding::warn(code, text) } else { Finding::ok(text) }]
}

fn buffers(_: &Scene) -> Vec<Finding> {
    match inspect::number_of("/proc/sys/net/core/rmem_max") {
        Some(most) if most < 100 * 1024 => {
            vec![Finding::warn(codes::SOCKET_BUFFER, format!("net.core.rmem_max is {most}"))]
        }
        Some(most) => vec![Finding::ok(format!("net.core.rmem_max is {most}"))],
        None => vec![Finding::skipped("net.core.rmem_max is that of another namespace")],
    }
}

/// Any answer will do: it shows that somebody is there. Nothing leaves for the Internet: a name
/// below `invalid` is answered by the first server that is asked (RFC 6761 6.4).
fn resolver(_: &Scene) -> Vec<Finding> {
    let path = Path::new("/etc/resolv.conf");
    let servers = dns::name_servers(path);
    if servers.is_empty() {
        return vec![Finding::fail(codes::RESOLVER, "no name server is configured")];
    }
    let all = servers.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>().join(", ");
    if !servers.iter().any(|server| is_routed(*server)) {
        return vec![Finding::skipped(format!("no route to {all}: offline"))];
    }
    let routed: Vec<_> = servers.into_iter().filter(|server| is_routed(*server)).collect();
    let began = Instant::now();
    // All at once: one that is silent must not cost the time of the next.
    let answers: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> =
            routed.iter().map(|server| scope.spawn(|| (server.ip(), answers(*server)))).collect();
        asked.into_iter().filter_map(|it| it.join().ok()).collect()
    });
    let of = |wanted: bool| {
        let those = answers.iter().filter(|(_, answers)| *answers == wanted);
        those.map(|(ip, _)| ip.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (speaking, silent, next) = (of(true), of(false), "cat /etc/resolv.conf; resolvectl status");
    vec![if speaking.is_empty() {
        let what = format!("no name server answers: {silent}");
        Finding::fail(codes::RESOLVER, what).then(next)
    } else if !silent.is_empty() {
        let what = format!("no answer of {silent}; {speaking} answers");
        Finding::warn(codes::RESOLVER, what).then(next)
    } else {
        Finding::ok(format!("{speaking}: answered in {}", seconds(began.elapsed())))
    }]
}

/// Whether a name server says anything.
fn answers(server: SocketAddr) -> bool {
    let late = async {
        Timer::after(limits::CHECK_QUESTION).await;
        Err(DnsFailure::NoAnswer("nothing came in time".to_owned()))
    };
    let asked = async { dns::srv("_dm-gateway._tcp.invalid", &[server]).await };
    !matches!(smol::block_on(future::or(asked, late)), Err(DnsFailure::NoAnswer(_)))
}

fn is_routed(server: SocketAddr) -> bool {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).is_ok_and(|socket| socket.connect(server).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_advised_opens_the_wan_for_dm_servers_only() {
        let prefix = |ip: &str, length| Prefix { address: ip.parse().unwrap(), length };
        let trusted =
            [prefix("203.0.113.0", 24), prefix("2001:db8::", 32), prefix("192.0.2.1", 32)];
        let rule = |chain, trusted: &[Prefix], interface, address: &str| {
            opening(chain, trusted, interface, (address.parse().unwrap(), "udp")).0
        };
        assert_eq!(
            rule("inet filter input", &trusted, "wan0", "0.0.0.0:2948"),
            "nft insert rule inet filter input iifname wan0 \
             ip saddr { 203.0.113.0/24, 192.0.2.1/32 } udp dport 2948 accept"
        );
        assert_eq!(
            rule("ip filter INPUT", &[], "", "[::]:2948"),
            "nft insert rule ip filter INPUT iifname WAN-INTERFACE \
             ip6 saddr YOUR-DM-SERVERS udp dport 2948 accept"
        );
        assert_eq!(
            rule("ip iptables-legacy INPUT", &trusted, "wan0", "0.0.0.0:2948"),
            "iptables-legacy -I INPUT -i wan0 -s 203.0.113.0/24,192.0.2.1/32 \
             -p udp --dport 2948 -j ACCEPT"
        );
    }
}
