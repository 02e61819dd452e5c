//! Rules of iptables-legacy, as `iptables-legacy -S` lists them, in the form of nft's: they are rules
//! of the kernel beside those that nft lists.

use serde_json::{Value, json};

/// The table `filter` as nft would list it; of what is not understood a rule is made that may or may
/// not fit.
pub(super) fn ruleset(listed: &str, v6: bool) -> Value {
    let family = if v6 { "ip6" } else { "ip" };
    let table = if v6 { "ip6tables-legacy" } else { "iptables-legacy" };
    let mut entries = Vec::new();
    for line in listed.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["-P", "INPUT", policy] => entries.push(json!({"chain": {
                "family": family, "table": table, "name": "INPUT", "hook": "input",
                "policy": if *policy == "ACCEPT" { "accept" } else { "drop" },
            }})),
            ["-A", chain, rest @ ..] => entries.push(json!({"rule": {
                "family": family, "table": table, "chain": chain, "expr": expression(rest, family),
            }})),
            _ => {}
        }
    }
    json!({ "nftables": entries })
}

/// The statements of one rule.
fn expression(words: &[&str], family: &str) -> Vec<Value> {
    let mut statements = Vec::new();
    let mut negated = false;
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        if word == "!" {
            negated = true;
            continue;
        }
        if word == "--comment" {
            let text = words.next().unwrap_or_default();
            if text.starts_with('"') && !(text.len() > 1 && text.ends_with('"')) {
                words.find(|word| word.ends_with('"'));
            }
            continue;
        }
        let operator = if std::mem::take(&mut negated) { "!=" } else { "==" };
        let matched = |left: Value, right: Value| json!({"match": {"op": operator, "left": left, "right": right}});
        let value = match word {
            "-m" if words.clone().next().is_some_and(harmless) => {
                words.next();
                continue;
            }
            "-i" | "-s" | "-p" | "--dport" | "--dports" | "--ctstate" | "--state" | "-j" | "-g" => {
                words.next().unwrap_or_default()
            }
            // Of the rest of the line nobody knows which word belongs to what.
            _ => "",
        };
        statements.push(match word {
            "-i" => matched(json!({"meta": {"key": "iifname"}}), json!(value.replace('+', "*"))),
            "-s" => {
                let left = json!({"payload": {"protocol": family, "field": "saddr"}});
                matched(left, json!(value))
            }
            "-p" if value == "all" => continue,
            "-p" => matched(json!({"meta": {"key": "l4proto"}}), json!(value)),
            "--dport" | "--dports" => {
                let left = json!({"payload": {"protocol": "th", "field": "dport"}});
                match value.split(',').map(ports).collect::<Option<Vec<_>>>() {
                    Some(ports) => matched(left, json!({ "set": ports })),
                    None => unknown(),
                }
            }
            "--ctstate" | "--state" => {
                let states: Vec<_> = value.split(',').map(str::to_ascii_lowercase).collect();
                matched(json!({"ct": {"key": "state"}}), json!(states))
            }
            "-j" => match value {
                "ACCEPT" => json!({"accept": null}),
                "DROP" => json!({"drop": null}),
                "REJECT" => {
                    statements.push(json!({"reject": null}));
                    return statements;
                }
                "RETURN" => json!({"return": null}),
                "LOG" | "NFLOG" => return statements,
                chain => json!({"jump": {"target": chain}}),
            },
            "-g" => json!({"goto": {"target": value}}),
            _ => unknown(),
        });
    }
    statements
}

/// Modules whose options are understood, or that match everything.
fn harmless(module: &str) -> bool {
    matches!(module, "udp" | "tcp" | "multiport" | "conntrack" | "state" | "comment")
}

fn ports(text: &str) -> Option<Value> {
    match text.split_once(':') {
        Some((first, last)) => {
            Some(json!({"range": [first.parse::<u16>().ok()?, last.parse::<u16>().ok()?]}))
        }
        None => text.parse::<u16>().ok().map(|port| json!(port)),
    }
}

fn unknown() -> Value {
    json!({"xt": null})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::firewall::{Fate, Packet, fate};

    const PUSH: Packet<'_> = Packet { interface: "wan0", protocol: "udp", port: 2948, v6: false };

    fn judged(rules: &str) -> Fate {
        fate(&ruleset(rules, false), PUSH)
    }

    #[test]
    fn a_policy_of_drop_closes_and_a_rule_for_the_port_opens() {
        let closed = Fate::Closed("ip iptables-legacy INPUT".into());
        assert_eq!(judged("-P INPUT ACCEPT\n-P FORWARD DROP\n"), Fate::Open);
        let drop = "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate \
                    RELATED,ESTABLISHED -j ACCEPT\n";
        assert_eq!(judged(drop), closed);
        for open in [
            "-A INPUT -p udp -m udp --dport 2948 -j ACCEPT",
            "-A INPUT -i wan+ -p udp -m multiport --dports 53,2000:3000 -j ACCEPT",
            "-A INPUT ! -i lan0 -m comment --comment \"all but the LAN\" -j ACCEPT",
            "-A INPUT -j outside\n-A outside -p udp -m udp --dport 2948 -j ACCEPT",
        ] {
            assert_eq!(judged(&format!("{drop}{open}\n")), Fate::Open, "{open}");
        }
        for other in ["-p tcp -m tcp --dport 2948 -j ACCEPT", "-i lan0 -j ACCEPT", "-j LOG"] {
            assert_eq!(judged(&format!("{drop}-A INPUT {other}\n")), closed, "{other}");
        }
        let rejected = "-P INPUT ACCEPT\n-A INPUT -j REJECT --reject-with icmp-port-unreachable\n";
        assert_eq!(judged(rejected), closed);
    }

    #[test]
    fn what_is_not_understood_claims_nothing() {
        for odd in ["-m mark --mark 0x7 -j ACCEPT", "-s 192.0.2.0/24 -j ACCEPT"] {
            assert_eq!(judged(&format!("-P INPUT DROP\n-A INPUT {odd}\n")), Fate::Unknown, "{odd}");
        }
        assert_eq!(fate(&ruleset("-P INPUT DROP\n", true), PUSH), Fate::Open, "only IPv6");
    }
}
