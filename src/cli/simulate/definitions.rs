//! What `simulate device`, `server` and `farm` take.

use super::simulate;
use crate::cli::definition::{self, Choice, Command, Kind, PRINTING_LINES, flag, option};

/// `simulate device`.
pub(super) const DEVICE: Command = Command {
    name: "device",
    summary: "one end device",
    text: "--id and --listen must be given, and --gateway unless the device is factory-fresh.",
    options: &[
        &[
            option("id", "ID", Kind::Text, "its identity"),
            option("listen", "ADDR:PORT", Kind::Text, "where it takes pushes"),
        ],
        PEER,
        &[
            option("push-secret-file", "FILE", Kind::File, "checks the digest of their Package #0"),
            option(
                "profile",
                "NAME",
                Kind::Words(&["registered", "draft"]),
                "the names of the alert types (default: registered)",
            ),
            option(
                "auth",
                "SCHEME",
                Kind::Words(&["none", "basic", "md5"]),
                "how it proves itself to the gateway (default: none)",
            ),
            option("user", "NAME", Kind::Text, "its name for that"),
            option("secret-file", "FILE", Kind::File, "its secret for that"),
            option("server-secret-file", "FILE", Kind::File, "the gateway's secret"),
            flag("factory-fresh", "has no account: a bootstrap push gives it one"),
            option("pin-file", "FILE", Kind::File, "the pin that must prove that bootstrap"),
        ],
        ENDING,
        PRINTING_LINES,
    ],
    exits: EXITS,
    run: Some(simulate),
    ..definition::COMMAND
};

/// `simulate server`.
pub(super) const SERVER: Command = Command {
    name: "server",
    summary: "one DM server, which pushes and may manage its clients",
    text: "\
--id and --listen must be given. It manages its clients, and so a gateway, with --script and any of
the options behind it, and may misbehave in one way.

The lines of a script: get URI, delete URI, copy FROM TO, exec URI [DATA], alert CODE,
add URI FORMAT [VALUE], replace URI FORMAT [VALUE] (FORMAT chr, int, bool, node, xml, b64, bin with
octets in hexadecimal), atomic or sequence up to end, send (the next message), more (the next
message of the same package), large SIZE COMMAND and chunk COMMAND (a value that goes on in the next
message), abort.",
    options: &[
        &[
            option("id", "ID", Kind::Text, "its server id"),
            option("listen", "ADDR:PORT", Kind::Text, "where it serves"),
            option("push-to", "ADDR:PORT", Kind::Text, "pushes there"),
            option(
                "device",
                "ID",
                Kind::Text,
                "the device in X-Oma-GwMO; without one the gateway itself is asked into a session",
            ),
            option("session", "N", Kind::Text, "first session id (default: 1)"),
            option("count", "N", Kind::Text, "how many pushes (default: 1)"),
            option("interval", "SECONDS", Kind::Text, "how far apart (default: 1)"),
            flag("repeat", "sends the same octets each time instead of counting up"),
            option("raw", "HEX", Kind::Text, "sends these octets instead of a push"),
            option("secret-file", "FILE", Kind::File, "its secret: signs Package #0"),
            flag("push-on-association", "pushes to every gateway that a device names"),
            option("push-port", "PORT", Kind::Text, "port of those gateways (default: 2948)"),
        ],
        MANAGING,
        MISBEHAVING,
        ENDING,
        PRINTING_LINES,
    ],
    exits: EXITS,
    run: Some(simulate),
    ..definition::COMMAND
};

/// `simulate farm`.
pub(super) const FARM: Command = Command {
    name: "farm",
    summary: "thousands of end devices",
    text: "--count, --base-address and --gateway must be given.",
    options: &[
        &[
            option("count", "N", Kind::Text, "how many devices"),
            option("base-address", "ADDR", Kind::Text, "address of the first one"),
            option("push-port", "PORT", Kind::Text, "UDP port of all of them (default: 2948)"),
            option(
                "write-leases",
                "FILE",
                Kind::File,
                "makes the devices come up in a dnsmasq lease file",
            ),
        ],
        PEER,
        ENDING,
        PRINTING_LINES,
    ],
    exits: EXITS,
    run: Some(simulate),
    ..definition::COMMAND
};

const EXITS: &[(u8, &str)] = &[(1, "it failed, or the awaited event did not come")];

/// What one end device and many take.
const PEER: &[Choice] = &[
    option("gateway", "URL", Kind::Text, "where it opens sessions with the gateway"),
    option("gateway-id", "ID", Kind::Text, "the gateway's DM server id (default: any unknown id)"),
    Choice {
        many: true,
        ..option(
            "server",
            "ID=URL",
            Kind::Text,
            "a DM server it is bootstrapped to; may be repeated",
        )
    },
    option("encoding", "NAME", Kind::Words(&["xml", "wbxml"]), "how it writes (default: xml)"),
    Choice {
        many: true,
        ..option(
            "quirk",
            "NAME",
            Kind::Text,
            "a real client's behaviour; may be repeated, `list` prints all",
        )
    },
    flag("open-session", "opens a session without waiting for a push"),
];

const MANAGING: &[Choice] = &[
    option("script", "FILE", Kind::File, "commands to send, one a line"),
    option(
        "auth",
        "SCHEME",
        Kind::Words(&["none", "basic", "md5", "mac"]),
        "how both sides prove who they are (default: md5)",
    ),
    option("user", "NAME", Kind::Text, "the server's own name (default: its id)"),
    option("nonce", "TEXT", Kind::Text, "the server's own nonce"),
    option("client-user", "NAME", Kind::Text, "its clients' name"),
    option("client-secret-file", "FILE", Kind::File, "its clients' secret"),
    option("client-nonce", "TEXT", Kind::Text, "its clients' nonce"),
    option("url", "URL", Kind::Text, "where clients are told to send answers"),
    option("max-message-size", "N", Kind::Text, "octets that it takes in one message"),
    option("certificate", "FILE", Kind::File, "PEM: serves over HTTPS instead of HTTP"),
    option("key", "FILE", Kind::File, "PEM: the key of that certificate"),
];

const MISBEHAVING: &[Choice] = &[
    flag("wrong-credentials", "proves itself with another secret"),
    flag("no-credentials", "does not prove itself"),
    flag("stale-nonce", "proves itself with an old nonce until it is given a new one"),
    flag("basic-only", "asks for the client's secret in clear"),
    flag("version-513", "refuses the version of the protocol, Status 513"),
    flag("broken-object", "sends a large object that is shorter than it said"),
    flag("redirect", "answers with HTTP 302"),
    flag("private-uri", "wants answers sent to a private address"),
    flag("slow", "takes 5 seconds for each answer"),
    flag("cut", "closes the connection instead of an answer"),
];

/// When to end.
const ENDING: &[Choice] = &[
    option("wait", "EVENT[=N]", Kind::Text, "exit code 0 once the event came (N times)"),
    option(
        "timeout",
        "SECONDS",
        Kind::Text,
        "ends then, exit code 1 if an event is still awaited (default: never)",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::managing::Misbehaviour;

    #[test]
    fn every_misbehaviour_is_an_option() {
        let names = Misbehaviour::NAMES.map(|(name, _)| name);
        assert!(MISBEHAVING.iter().map(|choice| choice.long).eq(names));
    }
}
