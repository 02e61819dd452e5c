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
    CONFIG_SERVICE: "GW-CONF-06",
        "the service's user may not read a file that the configuration names",
        "the file or a directory above it belongs to root alone",
        "chgrp dm-gateway FILE and chmod g+r FILE, or LoadCredential= in the unit";
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

    // --- The start -------------------------------------------------------------------------
    START: "GW-RUN-01",
        "the daemon cannot start",
        "told in the message: an address in use, a directory that cannot be made, another daemon",
        "what the message says; dm-gateway check";

    // --- The store -------------------------------------------------------------------------
    STORE: "GW-STORE-01",
        "the store cannot keep changes",
        "the disk is full, read-only or broken",
        "df and dmesg; what cannot be kept is refused, and servers and devices try again";

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
    BUSY: "GW-STORE-02",
        "a daemon has the store",
        "it runs, and two writers would destroy it",
        "systemctl stop dm-gateway, and systemctl start dm-gateway afterwards";
    SUPPORT: "GW-SUPPORT-01",
        "the support bundle cannot be written",
        "the directory is read-only or full",
        "another place: dm-gateway support-bundle /tmp/support.tar.gz";
    RESET: "GW-RESET-01",
        "the factory reset is not done",
        "nobody said yes, or the state directory cannot be written",
        "as root: dm-gateway factory-reset --yes";

    // --- LANs ------------------------------------------------------------------------------
    LAN_DOWN: "GW-LAN-01",
        "the interface of a LAN is missing or down",
        "a cable, a bridge that is not up yet, or a misspelt name",
        "ip link show; the daemon waits for the interface and needs no restart";
    NEIGHBOURS: "GW-LAN-02",
        "the kernel's neighbour table cannot be read",
        "AF_NETLINK is forbidden to the service, or the kernel is emulated",
        "journalctl -u dm-gateway; RestrictAddressFamilies of the unit";

    // --- DM servers ------------------------------------------------------------------------
    SESSION: "GW-SRV-01",
        "the last session with a DM server failed",
        "the network, the certificate, the credentials, or the server",
        "dm-gateway servers test SERVER, then dm-gateway session SERVER --wait";
    WANTED: "GW-SRV-08",
        "devices want a DM server that the gateway may not bootstrap itself to",
        "nobody has approved it yet",
        "dm-gateway servers, then dm-gateway servers approve ID or dm-gateway servers deny ID";
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
