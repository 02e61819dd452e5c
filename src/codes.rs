//! Stable codes of everything that can be wrong, one registry.
//!
//! A health line of `status`, a check of `check`, an error on the terminal and a line in the
//! journal name the same thing by the same code; `dm-gateway manual CODE` explains it. A code
//! never changes its meaning, and none is used again for something else.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// One thing that can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `GW-AREA-NN`.
    pub id: &'static str,
    /// What is wrong, as a sentence without its end.
    pub title: &'static str,
    /// What usually makes it so.
    pub cause: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// The code of an id, in any case.
pub fn find(id: &str) -> Option<&'static Code> {
    ALL.iter().find(|code| code.id.eq_ignore_ascii_case(id))
}

/// Something that is wrong at the moment.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Trouble {
    /// Id of its [`Code`].
    pub code: Cow<'static, str>,
    /// What is wrong.
    pub what: String,
    /// What makes it so, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What to do next: most often a command.
    #[serde(rename = "try", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Trouble {
    /// Takes apart a sentence of the form `what; cause: why; try: this`, of which only `what` must
    /// be there.
    pub fn new(code: Code, sentence: &str) -> Self {
        let (rest, next) = split(sentence, "; try: ");
        let (what, cause) = split(rest, "; cause: ");
        Self { code: Cow::Borrowed(code.id), what: what.to_owned(), cause, next }
    }

    /// The same, with what to do if nothing is told yet.
    #[must_use]
    pub fn or_try(mut self, next: &str) -> Self {
        self.next.get_or_insert_with(|| next.to_owned());
        self
    }
}

/// `what; cause: why; try: this`.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "; cause: {cause}")?;
        }
        match &self.next {
            Some(next) => write!(f, "; try: {next}"),
            None => Ok(()),
        }
    }
}

fn split<'t>(text: &'t str, mark: &str) -> (&'t str, Option<String>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after.to_owned())),
        None => (text, None),
    }
}

macro_rules! codes {
    ($($name:ident: $id:literal, $title:literal, $cause:literal, $remedy:literal;)*) => {
        $(
            #[doc = concat!("`", $id, "`: ", $title, ".")]
            pub const $name: Code =
                Code { id: $id, title: $title, cause: $cause, remedy: $remedy };
        )*
        /// Every code, by area.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    // --- The command line ------------------------------------------------------------------
    USAGE: "GW-CLI-01",
        "the command line is wrong",
        "an unknown command or option, a missing operand, or one too many",
        "dm-gateway COMMAND --help";
    OUTPUT: "GW-CLI-02",
        "the result cannot be written",
        "standard output is closed or on a full disk",
        "df, and where the output is sent to";
    FAILED: "GW-CLI-03",
        "the command could not do its work",
        "told in the message",
        "what the message says, or journalctl -u dm-gateway";

    // --- The control socket ----------------------------------------------------------------
    UNREACHABLE: "GW-CTL-01",
        "no daemon answers on the control socket",
        "the daemon does not run, or it runs with another configuration",
        "systemctl status dm-gateway; dm-gateway check works without the daemon";
    FORBIDDEN: "GW-CTL-02",
        "the control socket may not be used by this user",
        "it is open to root and to its group",
        "as root, or as a member of the socket's group: usermod -aG dm-gateway NAME";
    NOT_UNDERSTOOD: "GW-CTL-03",
        "the daemon and the command do not understand each other",
        "they are of different versions",
        "systemctl restart dm-gateway, so that the installed version runs";
    REFUSED: "GW-CTL-04",
        "the daemon refuses to do it",
        "told in the message",
        "what the message says";

    // --- The configuration -----------------------------------------------------------------
    CONFIG: "GW-CONF-01",
        "the configuration is not valid",
        "a misspelt key, a value out of its range, or two keys that contradict each other",
        "dm-gateway config check; dm-gateway config doc KEY tells what a key takes";
    CONFIG_READ: "GW-CONF-02",
        "a file of the configuration cannot be read",
        "it is missing, or the user that the daemon runs as may not read it",
        "ls -l on the file; dm-gateway config check";

    CONFIG_SYNTAX: "GW-CONF-03",
        "a file of the configuration is not TOML",
        "a quotation mark or a bracket is missing, a key stands twice, or a section is misspelt",
        "the line in the message; dm-gateway config check";
    CONFIG_UNKNOWN: "GW-CONF-04",
        "the configuration has a section or a key that there is not",
        "it is misspelt, stands below the wrong section, or is of a newer version",
        "the name in the message; dm-gateway config doc lists all keys";
    CONFIG_LOCKED: "GW-CONF-05",
        "a file sets what an earlier file locked",
        "[gateway] locked of the vendor or the administrator names the key",
        "leave the key out, or ask who locked it: dm-gateway config show --origin KEY";
    RELOAD: "GW-CONF-07",
        "the new configuration is not used, the old one stays in force",
        "something in it is wrong; nothing of it was applied",
        "what the message says, then dm-gateway reload";
    RESTART_NEEDED: "GW-CONF-08",
        "part of the configuration waits for a restart",
        "sockets, interfaces and LANs are made at the start only",
        "dm-gateway reload --restart, or systemctl restart dm-gateway";
    ON_TRIAL: "GW-CONF-09",
        "the configuration is on trial",
        "dm-gateway apply was not confirmed yet",
        "dm-gateway confirm to keep it, dm-gateway confirm --discard to take it back";
    TAKEN_BACK: "GW-CONF-10",
        "a configuration on trial was taken back",
        "nobody confirmed it in time, or the daemon could not start with it",
        "dm-gateway apply again, then dm-gateway confirm";
    APPLY: "GW-CONF-11",
        "a configuration cannot be applied",
        "told in the message",
        "what the message says; dm-gateway config check";
    CONFIG_ODD: "GW-CONF-12",
        "the configuration is valid and says something that is rarely meant",
        "told in the message",
        "what the message says";

    // --- The start -------------------------------------------------------------------------
    START: "GW-RUN-01",
        "the daemon cannot start",
        "told in the message: an address in use, a directory that cannot be made, another daemon",
        "what the message says; dm-gateway check";

    // --- The store and its disk ------------------------------------------------------------
    STORE: "GW-STORE-01",
        "the store cannot keep changes",
        "the disk is full, read-only or broken",
        "df and dmesg; what cannot be kept is refused, and servers and devices try again";
    STATE_DIR: "GW-STORE-02",
        "the state directory cannot be used",
        "it is missing, or the user that the daemon runs as may not write there",
        "install -d -o dm-gateway -g dm-gateway -m 700 DIRECTORY";
    DISK_FULL: "GW-STORE-03",
        "the disk of the state directory is full",
        "something fills it: most often logs or downloads",
        "df DIRECTORY, and make room; the daemon needs no restart";
    DISK_LOW: "GW-STORE-04",
        "the disk of the state directory is nearly full",
        "something fills it: most often logs or downloads",
        "df -h and df -i on the directory, and make room before it is full";
    STORE_UNREADABLE: "GW-STORE-05",
        "the store cannot be read",
        "its files are damaged",
        "dm-gateway restore FILE of a backup, or move the directory `store` away and start anew";

    STORE_NEWER: "GW-STORE-07",
        "the store is of a newer version: a downgrade is refused",
        "an older program was installed, or the image was rolled back, and the state was not",
        "the newer version again and its dm-gateway backup, or dm-gateway factory-reset with this one";

    // --- Files -----------------------------------------------------------------------------
    UNREADABLE: "GW-FILE-01",
        "a file that the configuration names cannot be read by the service",
        "it is missing, or its owner or mode keeps the service's user from it",
        "chown root:dm-gateway FILE; chmod 640 FILE; and x for its directories";
    EXPOSED: "GW-FILE-02",
        "a secret is open to everybody on this machine",
        "the file of a key, pin, token or password may be read by all users",
        "chmod o-rwx FILE";
    WRITABLE: "GW-FILE-03",
        "a file that the service believes may be changed by everybody",
        "its mode has write permission for all users",
        "chmod o-w FILE";

    // --- The clock -------------------------------------------------------------------------
    CLOCK_WRONG: "GW-CLOCK-01",
        "the clock is wrong: it is before this program was made",
        "no battery keeps it, and no time server has set it yet",
        "timedatectl; date -s now, or a time server that is reached without TLS";
    CLOCK_UNSYNCHRONISED: "GW-CLOCK-02",
        "the clock is not synchronised with a time server",
        "no time server is configured, or none answers",
        "timedatectl timesync-status, or chronyc tracking";
    CLOCK_BACK: "GW-CLOCK-03",
        "the clock has gone back: what was written here before is in the future",
        "the clock was wrong then, or it is wrong now",
        "date; if it is right now, nothing has to be done";

    // --- Upkeep ----------------------------------------------------------------------------
    AUDIT_BROKEN: "GW-AUDIT-01",
        "the chain of the audit is broken",
        "a line was changed, taken out or put in by somebody, or the flash lost one",
        "compare with copies of the audit elsewhere; ask who had root on the gateway";
    AUDIT_READ: "GW-AUDIT-02",
        "the audit cannot be read or written",
        "the state directory is not readable for this user, or its disk fails",
        "as root, or ls -l on the state directory and df";

    BACKUP: "GW-BACKUP-01",
        "the backup cannot be written or read",
        "the file, its disk, or the daemon that has the store",
        "what the message says";
    BACKUP_NEWER: "GW-BACKUP-02",
        "the backup is of a newer version",
        "it was written by a newer dm-gateway",
        "the newer version on this unit, then dm-gateway restore";
    BACKUP_DAMAGED: "GW-BACKUP-03",
        "the backup is not whole",
        "the file was cut off or changed",
        "another copy of it";
    BACKUP_IDENTITY: "GW-BACKUP-04",
        "the backup is of another unit",
        "two units with the same identity and credentials would lock each other out",
        "dm-gateway restore --take-identity if the other is gone for good, else --keep-identity";
    BUSY: "GW-STORE-06",
        "a daemon has the store",
        "it runs, and two writers would destroy it",
        "systemctl stop dm-gateway, and systemctl start dm-gateway afterwards";
    PROV_UNSIGNED: "GW-PROV-01",
        "the bundle is not signed by anybody who may",
        "it has no signature, or was changed, or its signer is not in [provision] signers",
        "dm-gateway provision key FILE tells a signer's public key";
    PROV_OLD: "GW-PROV-02",
        "the bundle is not newer than what was provisioned",
        "its serial number is not greater than the last one",
        "a bundle with a greater serial number";
    PROV_OTHER: "GW-PROV-03",
        "the bundle is for other units",
        "its `gateways` do not have this unit's id",
        "the bundle of this unit";
    PROV_INVALID: "GW-PROV-04",
        "the bundle cannot be used",
        "told in the message",
        "dm-gateway manual integrators has the form of a bundle; nothing was changed";
    SUPPORT: "GW-SUPPORT-01",
        "the support bundle cannot be written",
        "the directory is read-only or full",
        "another place: dm-gateway support-bundle /tmp/support.tar.gz";
    RESET: "GW-RESET-01",
        "the factory reset is not done",
        "nobody said yes, or the state directory cannot be written",
        "as root: dm-gateway factory-reset --yes";
    RESET_ORDERED: "GW-RESET-02",
        "a factory reset is ordered and not done yet",
        "dm-gateway factory-reset was given while the daemon ran",
        "systemctl restart dm-gateway does it now; else it is done at the next start";

    // --- LANs ------------------------------------------------------------------------------
    LAN_DOWN: "GW-LAN-01",
        "the interface of a LAN is missing or down",
        "a cable, a bridge that is not up yet, or a misspelt name",
        "ip link show; the daemon waits for the interface and needs no restart";
    NEIGHBOURS: "GW-LAN-02",
        "the kernel's neighbour table cannot be read",
        "AF_NETLINK is forbidden to the service, or the kernel is emulated",
        "journalctl -u dm-gateway; RestrictAddressFamilies of the unit";
    LAN_ADDRESS: "GW-LAN-03",
        "an address that a LAN listens on is not there",
        "the interface has another address, or none yet",
        "ip address show; the daemon waits for the address and needs no restart";
    DUPLICATE: "GW-LAN-04",
        "somebody else has the gateway's own address on a LAN",
        "a second router on the same LAN, or a device with a static address",
        "unplug the other one, or give it another address; its Ethernet address is told";
    RIVAL_GATEWAY: "GW-LAN-05",
        "a second DM gateway is on the LAN",
        "another router with a DM gateway is plugged into this LAN",
        "unplug one, or set policy = \"ignore\" for this LAN on one of the two";
    LEASES: "GW-LAN-06",
        "the DHCP lease file of a LAN cannot be used",
        "it is missing, not readable for the service, or not in dnsmasq's format",
        "lease-file in [[lan]], and dhcp-leasefile of dnsmasq";

    // --- The WAN ---------------------------------------------------------------------------
    WAN_DOWN: "GW-WAN-01",
        "the WAN interface is missing or down",
        "no carrier, a modem that is not up yet, or a misspelt name",
        "ip link show; the daemon waits for the interface and needs no restart";
    PUSH_PORT: "GW-WAN-02",
        "a port for pushes is not open",
        "its address or interface is not there yet, or another program has the port",
        "ss -lnptu; the daemon waits for the address and needs no restart";
    FIREWALL: "GW-WAN-03",
        "the firewall does not let pushes in",
        "a chain at the input hook drops what comes to the push port",
        "a rule for the WAN and your DM servers only, before the rule that drops: dm-gateway check \
         GW-WAN-03 words it, the quick start has it; keep it where your firewall's rules are kept";
    LOSSES: "GW-WAN-04",
        "the kernel threw pushes away",
        "they came faster than they were read, or a send buffer was full",
        "dm-gateway monitor tells who sends; trusted-sources in [wan] keeps strangers out";

    // --- The network around ----------------------------------------------------------------
    FORWARDING: "GW-NET-01",
        "the kernel does not forward packets",
        "net.ipv4.ip_forward or net.ipv6.conf.all.forwarding is 0",
        "sysctl -w net.ipv4.ip_forward=1, and the same in /etc/sysctl.d";
    NO_ROUTE: "GW-NET-02",
        "there is no default route",
        "the WAN is not up, or has no DHCP answer",
        "ip route; DM servers and time servers are reached over it";
    CONNTRACK: "GW-NET-03",
        "the table of connections is nearly full",
        "more connections than net.netfilter.nf_conntrack_max allows",
        "sysctl -w net.netfilter.nf_conntrack_max to twice as many";
    NEIGHBOUR_LIMIT: "GW-NET-04",
        "the kernel's neighbour table is nearly full",
        "more devices than net.ipv4.neigh.default.gc_thresh3 allows",
        "sysctl -w net.ipv4.neigh.default.gc_thresh3=4096, and gc_thresh2 below it";
    SOCKET_BUFFER: "GW-NET-05",
        "the kernel allows only a small receive buffer",
        "net.core.rmem_max is low",
        "sysctl -w net.core.rmem_max=212992";

    // --- Names -----------------------------------------------------------------------------
    DNS: "GW-DNS-01",
        "a host name has no address",
        "no name server answers, or the name does not exist",
        "dm-gateway check --only DNS, then dm-gateway servers test SERVER";
    RESOLVER: "GW-DNS-02",
        "no name server answers",
        "/etc/resolv.conf names none, one that is down, or one that the firewall blocks",
        "cat /etc/resolv.conf; resolvectl status";

    // --- Certificates ----------------------------------------------------------------------
    UNTRUSTED: "GW-TLS-01",
        "a server's certificate is from nobody that is trusted",
        "`trust` names another CA or pin, or the server does not send its intermediate",
        "`trust` in [[server]]; openssl s_client -connect HOST:443 -showcerts";
    EXPIRED: "GW-TLS-02",
        "a certificate has expired",
        "it was not renewed, or the clock is wrong",
        "renew it, or whoever runs the server does; dm-gateway check clock";
    NOT_YET_VALID: "GW-TLS-03",
        "a certificate is not valid yet",
        "the clock is wrong, most often after power was lost",
        "dm-gateway check clock";
    WRONG_NAME: "GW-TLS-04",
        "a server's certificate is for another name",
        "the account's URL has another host than the certificate",
        "the URL of the account, or a certificate with that name in its subjectAltName";
    TLS_FILE: "GW-TLS-05",
        "a certificate or key of the configuration is of no use",
        "its file is unreadable, empty, or the key belongs to another certificate",
        "ls -l on the file; openssl x509 -in FILE -noout -text";
    TLS: "GW-TLS-06",
        "no secure connection comes about",
        "the server speaks another TLS, or demands a client certificate",
        "dm-gateway servers test SERVER; openssl s_client -connect HOST:443";
    EXPIRES: "GW-TLS-07",
        "a certificate expires soon",
        "it is within 30 days of its end",
        "renew it, then dm-gateway reload";
    NO_CA: "GW-TLS-08",
        "the system has no CA certificates",
        "the package ca-certificates is not installed",
        "apt-get install ca-certificates, or `trust` in each [[server]]";

    // --- DM servers ------------------------------------------------------------------------
    SESSION: "GW-SRV-01",
        "the last session with a DM server failed",
        "the network, the certificate, the credentials, or the server",
        "dm-gateway servers test SERVER, then dm-gateway session SERVER --wait";
    UNREACHED: "GW-SRV-02",
        "a DM server cannot be reached",
        "no route, a firewall between, a wrong port, or the server is down",
        "dm-gateway servers test SERVER";
    BASIC: "GW-SRV-03",
        "a DM server asks for basic authentication",
        "its account here says DIGEST or HMAC: basic would show the server the secret itself",
        "the server's operator switches to syncml:auth-md5, or an account with AAuthType BASIC";
    CREDENTIALS: "GW-SRV-04",
        "a DM server refuses our credentials",
        "the name or secret of the account is not the one that the server has",
        "a new account: dm-gateway bootstrap apply FILE";
    UNPROVEN: "GW-SRV-05",
        "a DM server did not prove who it is",
        "its secret (SRVCRED) is not the one of the account, or it is another server",
        "a new account: dm-gateway bootstrap apply FILE";
    PLAIN_HTTP: "GW-SRV-06",
        "an account goes over plain HTTP, and that is not allowed",
        "its URL begins with http://",
        "an account with an https URL, or allow-http = true in its [[server]]";
    ANSWER: "GW-SRV-07",
        "a DM server answers, and not as a DM server",
        "a wrong path in the account's URL, a proxy between, or a fault of the server",
        "dm-gateway servers test SERVER";
    WANTED: "GW-SRV-08",
        "devices want a DM server that the gateway may not bootstrap itself to",
        "nobody has approved it yet",
        "dm-gateway servers, then dm-gateway servers approve ID or dm-gateway servers deny ID";
    TRIAL: "GW-SRV-09",
        "what a DM server changed is on trial",
        "the change could cut the gateway off: it stays only if the server finds us again",
        "nothing, or dm-gateway session SERVER to decide it now";
    BOOTSTRAP_FILE: "GW-SRV-10",
        "a bootstrap document in a directory of factory files cannot be used",
        "it is not readable for the service, or no bootstrap document",
        "dm-gateway decode FILE; ls -l on the file";
    NO_ACCOUNT: "GW-SRV-20",
        "a DM server that devices want has no account with the gateway",
        "no source of bootstrap documents is configured",
        "dm-gateway bootstrap apply FILE, or [bootstrap] sources";

    // --- End devices -----------------------------------------------------------------------
    CONFLICT: "GW-DEV-01",
        "the identity of an end device is claimed from two places",
        "two devices have the same identity, addresses were swapped, or somebody cheats",
        "dm-gateway devices; the owner keeps its mappings";
    SILENT: "GW-DEV-20",
        "an end device has named no DM server",
        "it has no account for the gateway, or it is no DM client",
        "dm-gateway devices provision ID";
    UNCONFIRMED: "GW-DEV-21",
        "an end device has since sent empty lists of servers",
        "a reset, or a client that tells its list only once",
        "wait for its next session; what it named before stays until then";
    DEVICES_FULL: "GW-DEV-02",
        "the inventory of end devices is full",
        "devices that make up a new Ethernet address each time they come",
        "dm-gateway devices, then dm-gateway devices forget ID";
    HELD: "GW-DEV-03",
        "many pushes wait for devices that are away",
        "the devices are switched off, or their LAN is down",
        "dm-gateway devices";

    // --- The service -----------------------------------------------------------------------
    VERSION: "GW-RUN-02",
        "the running daemon is of another version than this program",
        "the package was upgraded, and the daemon not restarted",
        "systemctl restart dm-gateway";
    DISABLED: "GW-RUN-03",
        "the service does not start by itself",
        "the unit is not enabled",
        "systemctl enable --now dm-gateway";
    FILE_LIMIT: "GW-RUN-04",
        "the daemon may open too few files",
        "a low LimitNOFILE, or a leak",
        "LimitNOFILE=4096 in the unit";
    MEMORY: "GW-RUN-05",
        "little memory is left on this machine",
        "something uses it up",
        "free -m; top";
    ENTROPY: "GW-RUN-06",
        "the kernel's random numbers are not ready",
        "a machine without a source of chance, just after its start",
        "wait a minute; rngd or haveged where it stays so";
    LOG_LEVEL: "GW-RUN-07",
        "the log is set to tell more than is good for flash",
        "[log] level, or DM_GATEWAY_LOG of the unit, is still debug or trace",
        "level = \"info\" in [log], then dm-gateway reload; or DM_GATEWAY_LOG out of the drop-in: \
         systemctl edit dm-gateway";
    DAEMON: "GW-RUN-08",
        "the running daemon has something to tell",
        "told in its own lines",
        "dm-gateway status";
    USER: "GW-RUN-09",
        "the user that the service is to run as does not exist",
        "the package's sysusers file has not been carried out",
        "systemd-sysusers, or --user NAME for another user";

    // --- Observation -----------------------------------------------------------------------
    WEB: "GW-OBS-01",
        "the status page cannot be served",
        "another program has the address",
        "another --listen; ss -lntp shows who has it";
    HOOK: "GW-OBS-02",
        "a program in events.d failed, took too long or may not be run",
        "told in the message",
        "run it by hand: echo '{}' | env -i GW_EVENT=test PROGRAM";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_code_is_used_twice_and_all_have_the_same_form() {
        let mut seen = HashSet::new();
        for code in ALL {
            assert!(seen.insert(code.id), "{code} twice");
            let parts: Vec<_> = code.id.split('-').collect();
            let [gw, area, number] = parts[..] else { panic!("{code}") };
            assert!(gw == "GW" && area.chars().all(|c| c.is_ascii_uppercase()), "{code}");
            assert!(number.len() == 2 && number.parse::<u8>().is_ok(), "{code}");
            for text in [code.title, code.cause, code.remedy] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{code}: {text}");
            }
        }
        assert_eq!(find("gw-cli-01"), Some(&USAGE));
    }

    #[test]
    fn a_sentence_is_taken_apart_and_put_together() {
        let sentence = "no dm-gateway answers; cause: nobody listens; try: systemctl start it";
        let trouble = Trouble::new(UNREACHABLE, sentence);
        assert_eq!(trouble.what, "no dm-gateway answers");
        assert_eq!(trouble.cause.as_deref(), Some("nobody listens"));
        assert_eq!(trouble.next.as_deref(), Some("systemctl start it"));
        assert_eq!(trouble.to_string(), sentence);
        assert_eq!(Trouble::new(FAILED, "no").or_try("yes").to_string(), "no; try: yes");
    }
}
