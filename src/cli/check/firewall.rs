//! Whether a firewall lets a packet in, by the rules as `nft -j list ruleset` tells them.
//!
//! A rule that cannot be understood may or may not fit: where that decides, nothing is claimed.

use serde_json::Value;

/// A first packet from a stranger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// The interface on which it comes; empty if it may be any.
    pub(super) interface: &'a str,
    /// `udp` or `tcp`.
    pub(super) protocol: &'a str,
    /// Its destination port.
    pub(super) port: u16,
    /// Whether it is IPv6.
    pub(super) v6: bool,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It comes in.
    Open,
    /// A rule for its port lets it in, for some senders or so many a second.
    Narrow,
    /// It does not: the chain that drops it.
    Closed(String),
    /// That cannot be told.
    Unknown,
}

/// What becomes of a packet for this machine.
pub(super) fn fate(ruleset: &Value, packet: Packet<'_>) -> Fate {
    let Some(entries) = ruleset["nftables"].as_array() else { return Fate::Unknown };
    let chains = entries.iter().map(|entry| &entry["chain"]).filter(|chain| {
        chain["hook"] == "input" && family_fits(chain["family"].as_str(), packet.v6)
    });
    let (mut unknown, mut narrow) = (false, false);
    for chain in chains {
        let rules = Rules { entries, family: &chain["family"], table: &chain["table"] };
        let name = chain["name"].as_str().unwrap_or_default();
        let end = match rules.walk(name, packet, 0) {
            End::Through { may_accept, .. } if chain["policy"] == "drop" => {
                End::Dropped { unless: may_accept }
            }
            End::Through { may_drop, .. } => End::Accepted { sure: !may_drop },
            end => end,
        };
        match end {
            End::Dropped { unless: Chance::None } => return Fate::Closed(title(chain)),
            End::Dropped { unless: Chance::Some } => narrow = true,
            End::Accepted { sure: true } => {}
            _ => unknown = true,
        }
    }
    match (unknown, narrow) {
        (true, _) => Fate::Unknown,
        (_, true) => Fate::Narrow,
        _ => Fate::Open,
    }
}

fn title(chain: &Value) -> String {
    let word = |name: &str| chain[name].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", word("family"), word("table"), word("name"))
}

fn family_fits(family: Option<&str>, v6: bool) -> bool {
    family == Some("inet") || family == Some(if v6 { "ip6" } else { "ip" })
}

/// Chains may jump so deep.
const DEPTH: usize = 16;

#[derive(Clone, Copy)]
struct Rules<'a> {
    entries: &'a [Value],
    family: &'a Value,
    table: &'a Value,
}

/// Whether a rule on the way accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Chance {
    /// None does.
    None,
    /// One that is not understood may.
    Perhaps,
    /// One does, for some senders.
    Some,
}

/// How a walk through a chain ends.
enum End {
    /// `sure` if no rule before that could have dropped it.
    Accepted { sure: bool },
    /// Unless a rule before that accepts.
    Dropped { unless: Chance },
    /// The chain's end; what rules before that could have decided.
    Through { may_accept: Chance, may_drop: bool },
}

impl Rules<'_> {
    fn walk(self, chain: &str, packet: Packet<'_>, depth: usize) -> End {
        let too_deep = depth > DEPTH;
        let mut may_accept = if too_deep { Chance::Perhaps } else { Chance::None };
        let mut may_drop = too_deep;
        let rules = self.entries.iter().map(|entry| &entry["rule"]).filter(|rule| {
            rule["family"] == *self.family && rule["table"] == *self.table && rule["chain"] == chain
        });
        for rule in rules.take(if too_deep { 0 } else { usize::MAX }) {
            let statements = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
            let fit = rule_fits(statements, packet);
            if fit == Fit::No {
                continue;
            }
            let end =
                statements.iter().find_map(|statement| self.verdict(statement, packet, depth));
            let is_open = fit >= Fit::Some && !may_drop;
            let most = if is_open { Chance::Some } else { Chance::Perhaps };
            let (accepts, drops) = match end {
                None => continue,
                Some(End::Accepted { sure }) if fit == Fit::Yes => {
                    return End::Accepted { sure: sure && !may_drop };
                }
                Some(End::Dropped { unless }) if fit == Fit::Yes => {
                    return End::Dropped { unless: may_accept.max(unless.min(most)) };
                }
                Some(End::Accepted { sure: true }) => (most, false),
                Some(End::Accepted { sure: false }) => (Chance::Perhaps, true),
                Some(End::Dropped { unless }) => (unless.min(most), true),
                Some(End::Through { may_accept, may_drop }) => (may_accept.min(most), may_drop),
            };
            may_accept = may_accept.max(accepts);
            may_drop |= drops;
        }
        End::Through { may_accept, may_drop }
    }

    fn verdict(self, statement: &Value, packet: Packet<'_>, depth: usize) -> Option<End> {
        let (name, value) = statement.as_object()?.iter().next()?;
        match name.as_str() {
            "accept" => Some(End::Accepted { sure: true }),
            "drop" | "reject" => Some(End::Dropped { unless: Chance::None }),
            "jump" | "goto" => {
                let target = value["target"].as_str().unwrap_or_default();
                Some(self.walk(target, packet, depth + 1))
            }
            // `return` and what decides by a table of its own.
            "return" | "vmap" | "queue" | "xt" => {
                Some(End::Through { may_accept: Chance::Perhaps, may_drop: true })
            }
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    Maybe,
    /// For some senders, or so many packets a second.
    Some,
    Yes,
}

/// Whether a packet passes all statements before the verdict. A rule for some senders counts as
/// one only if it names the port: others are for other things.
fn rule_fits(statements: &[Value], packet: Packet<'_>) -> Fit {
    let fit = statements.iter().map(|it| fits(it, packet)).min().unwrap_or(Fit::Yes);
    let names_port = |it: &Value| it["match"]["left"]["payload"]["field"] == "dport";
    match fit {
        Fit::Some if !statements.iter().any(names_port) => Fit::Maybe,
        fit => fit,
    }
}

/// Whether a packet passes a statement, so that the next one of the rule counts.
fn fits(statement: &Value, packet: Packet<'_>) -> Fit {
    let Some((name, value)) = statement.as_object().and_then(|it| it.iter().next()) else {
        return Fit::Maybe;
    };
    if name != "match" {
        return match name.as_str() {
            "limit" if value["inv"] != true => Fit::Some,
            "limit" | "xt" | "vmap" => Fit::Maybe,
            _ => Fit::Yes,
        };
    }
    let (left, right) = (&value["left"], &value["right"]);
    let fit = if let Some(key) = left["meta"]["key"].as_str() {
        match key {
            "iifname" | "iif" if packet.interface.is_empty() => Fit::Maybe,
            "iifname" | "iif" => among(right, |it| is_interface(it, packet.interface)),
            "l4proto" => among(right, |it| known(it == packet.protocol)),
            "nfproto" => among(right, |it| known(it == if packet.v6 { "ipv6" } else { "ipv4" })),
            _ => Fit::Maybe,
        }
    } else if left["payload"]["field"] == "dport" {
        match left["payload"]["protocol"].as_str() {
            Some("th") => ports(right, packet.port),
            Some(protocol) if protocol == packet.protocol => ports(right, packet.port),
            _ => Fit::No,
        }
    } else if let Some(protocol) = left["payload"]["protocol"].as_str() {
        match protocol {
            "ip" if packet.v6 => Fit::No,
            "ip6" if !packet.v6 => Fit::No,
            "ip" | "ip6" if left["payload"]["field"] == "saddr" => Fit::Some,
            "icmp" | "icmpv6" | "udp" | "tcp" if protocol != packet.protocol => Fit::No,
            _ => Fit::Maybe,
        }
    } else if left["ct"]["key"] == "state" {
        among(right, |it| known(it == "new"))
    } else {
        Fit::Maybe
    };
    match value["op"].as_str() {
        Some("==" | "in") => fit,
        Some("!=") => match fit {
            Fit::Yes => Fit::No,
            Fit::Maybe | Fit::Some => fit,
            Fit::No => Fit::Yes,
        },
        _ => Fit::Maybe,
    }
}

fn known(fits: bool) -> Fit {
    if fits { Fit::Yes } else { Fit::No }
}

fn is_interface(name: &str, interface: &str) -> Fit {
    known(match name.strip_suffix('*') {
        Some(start) => interface.starts_with(start),
        None => name == interface,
    })
}

/// Whether one of the words on the right fits.
fn among(right: &Value, fits: impl Fn(&str) -> Fit + Copy) -> Fit {
    match right {
        Value::String(text) if text.starts_with('@') => Fit::Maybe,
        Value::String(text) => fits(text),
        Value::Array(several) => best(several, |it| among(it, fits)),
        Value::Object(_) => match right["set"].as_array() {
            Some(several) => best(several, |it| among(it, fits)),
            None => Fit::Maybe,
        },
        _ => Fit::Maybe,
    }
}

fn ports(right: &Value, port: u16) -> Fit {
    let number = |value: &Value| value.as_u64();
    match right {
        Value::Number(_) => known(number(right) == Some(port.into())),
        Value::Array(several) => best(several, |it| ports(it, port)),
        Value::Object(_) => match (right["set"].as_array(), right["range"].as_array()) {
            (Some(several), _) => best(several, |it| ports(it, port)),
            (_, Some(range)) => {
                match (range.first().and_then(number), range.get(1).and_then(number)) {
                    (Some(first), Some(last)) => known((first..=last).contains(&port.into())),
                    _ => Fit::Maybe,
                }
            }
            _ => Fit::Maybe,
        },
        _ => Fit::Maybe,
    }
}

fn best(several: &[Value], fits: impl Fn(&Value) -> Fit) -> Fit {
    several.iter().map(fits).max().unwrap_or(Fit::No)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PUSH: Packet<'_> = Packet { interface: "wan0", protocol: "udp", port: 2948, v6: false };

    fn ruleset(policy: &str, rules: &[Value]) -> Value {
        let chain = json!({"chain": {"family": "inet", "table": "filter", "name": "input",
            "hook": "input", "type": "filter", "prio": 0, "policy": policy}});
        let rule = |expr: &Value| json!({"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": expr}});
        let entries: Vec<_> = [chain].into_iter().chain(rules.iter().map(rule)).collect();
        json!({ "nftables": entries })
    }

    fn meta(key: &str, right: Value) -> Value {
        json!({"match": {"op": "==", "left": {"meta": {"key": key}}, "right": right}})
    }

    fn dport(right: Value) -> Value {
        let left = json!({"payload": {"protocol": "udp", "field": "dport"}});
        json!({"match": {"op": "==", "left": left, "right": right}})
    }

    #[test]
    fn without_rules_everything_comes_in_and_by_a_policy_of_drop_nothing() {
        assert_eq!(fate(&json!({"nftables": []}), PUSH), Fate::Open);
        assert_eq!(fate(&ruleset("accept", &[]), PUSH), Fate::Open);
        let closed = Fate::Closed("inet filter input".into());
        assert_eq!(fate(&ruleset("drop", &[]), PUSH), closed);
        assert_eq!(fate(&json!({}), PUSH), Fate::Unknown);
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let (accept, drop) = (json!({"accept": null}), json!({"drop": null}));
        let state = json!({"match": {"op": "in", "left": {"ct": {"key": "state"}},
            "right": ["established", "related"]}});
        let open = [
            json!([state, accept]),
            json!([meta("iifname", json!("lan0")), drop]),
            json!([meta("iifname", json!("wan*")), dport(json!({"set": [53, 2948]})), accept]),
            json!([{"counter": null}, drop]),
        ];
        assert_eq!(fate(&ruleset("drop", &open), PUSH), Fate::Open);
        let other = Packet { port: 161, ..PUSH };
        assert!(matches!(fate(&ruleset("drop", &open), other), Fate::Closed(_)));
        let closed = [json!([dport(json!({"range": [2000, 3000]})), {"reject": null}])];
        assert!(matches!(fate(&ruleset("accept", &closed), PUSH), Fate::Closed(_)));
        assert_eq!(
            fate(&ruleset("accept", &closed), Packet { protocol: "tcp", ..PUSH }),
            Fate::Open
        );
    }

    #[test]
    fn a_rule_for_some_senders_of_the_port_lets_it_in_for_some() {
        let saddr = |protocol: &str| {
            let left = json!({"payload": {"protocol": protocol, "field": "saddr"}});
            let right = json!({"prefix": {"addr": "203.0.113.0", "len": 24}});
            json!({"match": {"op": "==", "left": left, "right": right}})
        };
        let limit = json!({"limit": {"rate": 200, "burst": 500, "per": "second"}});
        let (accept, drop) = (json!({"accept": null}), json!({"drop": null}));
        let wan = meta("iifname", json!("wan0"));
        let manual = json!([wan, saddr("ip"), dport(json!(2948)), limit, accept]);
        let one = std::slice::from_ref(&manual);
        assert_eq!(fate(&ruleset("drop", one), PUSH), Fate::Narrow);
        assert_eq!(fate(&ruleset("accept", one), PUSH), Fate::Open);
        let rest = [manual.clone(), json!([dport(json!(2948)), drop])];
        assert_eq!(fate(&ruleset("accept", &rest), PUSH), Fate::Narrow);
        // It says nothing of another interface, or of IPv6.
        for other in [Packet { interface: "wan1", ..PUSH }, Packet { v6: true, ..PUSH }] {
            assert!(matches!(fate(&ruleset("drop", one), other), Fate::Closed(_)));
        }
        // What is for a LAN's addresses is not for pushes; what may drop before leaves it open.
        let lan = json!([saddr("ip"), accept]);
        assert_eq!(fate(&ruleset("drop", &[lan]), PUSH), Fate::Unknown);
        let odd = [json!([meta("mark", json!(7)), drop]), manual];
        assert_eq!(fate(&ruleset("drop", &odd), PUSH), Fate::Unknown);
        let over = json!({"limit": {"rate": 9, "per": "second", "inv": true}});
        let over = [json!([dport(json!(2948)), over, drop]), json!([dport(json!(2948)), accept])];
        assert_eq!(fate(&ruleset("drop", &over), PUSH), Fate::Unknown);
    }

    #[test]
    fn chains_are_followed_and_what_is_not_understood_claims_nothing() {
        let jump = json!({"jump": {"target": "wan"}});
        let mut rules = ruleset("drop", &[json!([meta("iifname", json!("wan0")), jump])]);
        assert!(matches!(fate(&rules, PUSH), Fate::Closed(_)));
        let inner = json!({"rule": {"family": "inet", "table": "filter", "chain": "wan",
            "expr": [dport(json!(2948)), {"accept": null}]}});
        rules["nftables"].as_array_mut().unwrap().push(inner);
        assert_eq!(fate(&rules, PUSH), Fate::Open);
        let odd = json!([meta("mark", json!(7)), {"accept": null}]);
        assert_eq!(fate(&ruleset("drop", std::slice::from_ref(&odd)), PUSH), Fate::Unknown);
        assert_eq!(fate(&ruleset("accept", &[odd]), PUSH), Fate::Open);
    }
}
