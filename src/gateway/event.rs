//! What happened, told to whoever watches: `monitor`, the demo, the log.

use crate::codes::Code;
use crate::gateway::alert::ServerId;
use crate::gateway::forward::Rule;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// The end device concerned, as it names itself.
    pub device: Option<Arc<str>>,
    /// The DM server concerned.
    pub server: Option<ServerId>,
    /// The LAN concerned.
    pub lan: Option<Arc<str>>,
    /// The address concerned.
    pub address: Option<SocketAddr>,
    /// Why it was refused, where it was.
    pub reason: Option<Reason>,
    /// What is wrong, where that is more than its kind says.
    pub code: Option<Code>,
    /// Why, in plain English.
    pub why: String,
}

impl Event {
    /// One that concerns nobody yet.
    pub fn new(kind: EventKind, why: impl Into<String>) -> Self {
        Self {
            kind,
            device: None,
            server: None,
            lan: None,
            address: None,
            reason: None,
            code: None,
            why: why.into(),
        }
    }
}

/// The kinds of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// An end device came to a LAN.
    Detected,
    /// Package #0 went to a device, so that it opens a session to us.
    Asked,
    /// A session with a device began.
    Session,
    /// The Device Detection Alert 1230 went to a device.
    Alerted,
    /// A device answered the Device Detection Alert.
    Answered,
    /// A device said who it is.
    Named,
    /// A BootstrappedDMSList was taken.
    List,
    /// A (server, device) pair may be forwarded from now on.
    Mapped,
    /// A (server, device) pair may no longer be forwarded.
    Unmapped,
    /// A server is wanted by a device and not known to the gateway.
    Wanted,
    /// A push went on to its device.
    Forwarded,
    /// A push waits for its device.
    Held,
    /// A push that waited went on to its device.
    Released,
    /// A push that waited is no longer worth delivering.
    Expired,
    /// A push or a device's claim was refused.
    Refused,
    /// Somebody claims an identity that is another's.
    Conflict,
    /// A device went.
    Detached,
    /// The store failed or works again.
    Store,
    /// A Package #0 for the gateway itself.
    Notified,
    /// A session with a DM server began.
    SessionStarted,
    /// A command of a DM server was answered.
    Command,
    /// A session with a DM server ended as it should.
    SessionEnded,
    /// A session with a DM server failed.
    SessionFailed,
    /// An account with a server is being looked for.
    Bootstrapping,
    /// The gateway has an account with a server, new or changed.
    Bootstrapped,
    /// No account with a server came about.
    BootstrapFailed,
    /// An account went with its source.
    AccountGone,
    /// A change on trial stays.
    Kept,
    /// A change on trial was taken back.
    RolledBack,
    /// A LAN has another policy.
    Policy,
    /// A device was sent its account for the gateway.
    Provisioned,
    /// The interface of a LAN is missing or down.
    LanDown,
    /// The interface of a LAN is there again.
    LanUp,
    /// The WAN interface is missing or down.
    WanDown,
    /// The WAN interface is there again.
    WanUp,
    /// The configuration was read anew.
    Configured,
    /// The new configuration is wrong and not used.
    ConfigRefused,
    /// A program that is to be told of events failed, or may not be run.
    HookFailed,
}

impl EventKind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Asked => "asked",
            Self::Session => "session",
            Self::Alerted => "alerted",
            Self::Answered => "answered",
            Self::Named => "named",
            Self::List => "list",
            Self::Mapped => "mapped",
            Self::Unmapped => "unmapped",
            Self::Wanted => "wanted",
            Self::Forwarded => "forwarded",
            Self::Held => "held",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Detached => "detached",
            Self::Store => "store",
            Self::Notified => "notified",
            Self::SessionStarted => "session-started",
            Self::Command => "command",
            Self::SessionEnded => "session-ended",
            Self::SessionFailed => "session-failed",
            Self::Bootstrapping => "bootstrapping",
            Self::Bootstrapped => "bootstrapped",
            Self::BootstrapFailed => "bootstrap-failed",
            Self::AccountGone => "account-gone",
            Self::Kept => "kept",
            Self::RolledBack => "rolled-back",
            Self::Policy => "policy",
            Self::Provisioned => "provisioned",
            Self::LanDown => "lan-down",
            Self::LanUp => "lan-up",
            Self::WanDown => "wan-down",
            Self::WanUp => "wan-up",
            Self::Configured => "configured",
            Self::ConfigRefused => "config-refused",
            Self::HookFailed => "hook-failed",
        }
    }
}

/// Why something was refused or dropped. Each has a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Reason {
    /// The push's source is outside `trusted-sources`.
    UntrustedSource,
    /// The push came from an end device.
    FromLan,
    /// Nobody with a certificate of ours, or no TLS at all, is at the other end.
    TlsHandshake,
    /// The datagram is not a WSP push, the request not an HTTP one.
    MalformedPush,
    /// The content type is not `application/vnd.syncml.notification`.
    NotNotification,
    /// The application id is not that of DM.
    NotForDm,
    /// The push names no end device, and the gateway has no account of its own.
    NotForwardable,
    /// The body is not a Package #0.
    MalformedPackage0,
    /// The push names a device that the gateway does not know.
    UnknownDevice,
    /// No device names this server.
    UnknownServer,
    /// The device does not name this server.
    Unmapped,
    /// The policy of the device's LAN wants an account with the server, and there is none.
    NoAccount,
    /// The same octets came within ten seconds.
    Repeat,
    /// The mapping's pushes come too fast.
    PushRate,
    /// The trigger was held too long.
    TriggerExpired,
    /// Requests from one address come too fast.
    RequestRate,
    /// The request is not one for a DM server, too long or too slow.
    BadRequest,
    /// The message is not SyncML.
    MalformedMessage,
    /// The message's version is not spoken here.
    Version,
    /// Credentials are wrong or missing.
    Credentials,
    /// The identity does not belong to the peer's Ethernet address.
    Spoofed,
    /// The identity belongs to another device.
    IdentityTaken,
    /// The peer is not on the link, so nothing confirms its identity.
    Unverified,
    /// The list is not well formed.
    MalformedList,
    /// The list exceeds a bound.
    ListTooLarge,
    /// The inventory is full, or has all the devices that one Ethernet address may have.
    InventoryFull,
    /// The store could not keep what would have been acknowledged.
    StoreFailed,
    /// A Package #0 for the gateway itself is not proven.
    Digest,
    /// A pushed bootstrap is not proven.
    BootstrapUnproven,
    /// Too many pushed bootstraps were not proven: none is looked at for a while.
    BootstrapTries,
    /// A pushed bootstrap is proven and cannot be used.
    BootstrapMalformed,
    /// The request is not one for a bootstrap.
    BootstrapRequest,
    /// The device asks for a bootstrap, and none waits for it.
    BootstrapClosed,
    /// An operator blocked the device.
    Blocked,
}

impl Reason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 34] = [
        Self::UntrustedSource,
        Self::FromLan,
        Self::TlsHandshake,
        Self::MalformedPush,
        Self::NotNotification,
        Self::NotForDm,
        Self::NotForwardable,
        Self::MalformedPackage0,
        Self::UnknownDevice,
        Self::UnknownServer,
        Self::Unmapped,
        Self::NoAccount,
        Self::Repeat,
        Self::PushRate,
        Self::TriggerExpired,
        Self::RequestRate,
        Self::BadRequest,
        Self::MalformedMessage,
        Self::Version,
        Self::Credentials,
        Self::Spoofed,
        Self::IdentityTaken,
        Self::Unverified,
        Self::MalformedList,
        Self::ListTooLarge,
        Self::InventoryFull,
        Self::StoreFailed,
        Self::Digest,
        Self::BootstrapUnproven,
        Self::BootstrapTries,
        Self::BootstrapMalformed,
        Self::BootstrapRequest,
        Self::BootstrapClosed,
        Self::Blocked,
    ];

    /// The name in JSON and in `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::UntrustedSource => "untrusted-source",
            Self::FromLan => "from-lan",
            Self::TlsHandshake => "tls-handshake",
            Self::MalformedPush => "malformed-push",
            Self::NotNotification => "not-notification",
            Self::NotForDm => "not-for-dm",
            Self::NotForwardable => "not-forwardable",
            Self::MalformedPackage0 => "malformed-package-0",
            Self::UnknownDevice => "unknown-device",
            Self::UnknownServer => "unknown-server",
            Self::Unmapped => "unmapped",
            Self::NoAccount => "no-account",
            Self::Repeat => "repeat",
            Self::PushRate => "push-rate",
            Self::TriggerExpired => "trigger-expired",
            Self::RequestRate => "request-rate",
            Self::BadRequest => "bad-request",
            Self::MalformedMessage => "malformed-message",
            Self::Version => "version",
            Self::Credentials => "credentials",
            Self::Spoofed => "spoofed",
            Self::IdentityTaken => "identity-taken",
            Self::Unverified => "unverified",
            Self::MalformedList => "malformed-list",
            Self::ListTooLarge => "list-too-large",
            Self::InventoryFull => "inventory-full",
            Self::StoreFailed => "store-failed",
            Self::Digest => "digest",
            Self::BootstrapUnproven => "bootstrap-unproven",
            Self::BootstrapTries => "bootstrap-tries",
            Self::BootstrapMalformed => "bootstrap-malformed",
            Self::BootstrapRequest => "bootstrap-request",
            Self::BootstrapClosed => "bootstrap-closed",
            Self::Blocked => "blocked",
        }
    }

    /// What it means, for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::UntrustedSource => "its source address is not in trusted-sources",
            Self::FromLan => "it came from an end device, pushes come from the WAN",
            Self::TlsHandshake => {
                "no TLS came of its connection, or no certificate that client-ca vouches for"
            }
            Self::MalformedPush => "it is neither a WSP push nor the POST of one",
            Self::NotNotification => "its content type is not application/vnd.syncml.notification",
            Self::NotForDm => "its application id is not that of the DM client",
            Self::NotForwardable => {
                "it names no end device (X-Oma-GwMO) and the gateway has no account with its server"
            }
            Self::MalformedPackage0 => "its body is not a Package #0",
            Self::UnknownDevice => Rule::DeviceUnknown.sentence(),
            Self::UnknownServer => Rule::ServerUnknown.sentence(),
            Self::Unmapped => Rule::NotNamed.sentence(),
            Self::NoAccount => Rule::NoAccount.sentence(),
            Self::Repeat => "the same octets were forwarded less than ten seconds ago",
            Self::PushRate => "pushes of this server for this device come too fast",
            Self::TriggerExpired => "its device did not return in time",
            Self::RequestRate => "requests from this address come too fast",
            Self::BadRequest => "it is not a POST of SyncML to /dm, in time and of at most 64 KiB",
            Self::MalformedMessage => "it is not a SyncML message",
            Self::Version => "its SyncML version is not spoken here",
            Self::Credentials => "its credentials are wrong or missing",
            Self::Spoofed => "the identity does not belong to the sender's Ethernet address",
            Self::IdentityTaken => "the identity belongs to another device",
            Self::Unverified => "the sender is not on the link, so nothing confirms its identity",
            Self::MalformedList => "its server list is not well formed",
            Self::ListTooLarge => "its server list exceeds 16 servers, 255 octets an id or 16 KiB",
            Self::InventoryFull => "the inventory has no room for one more device",
            Self::StoreFailed => "the store could not keep it",
            Self::Digest => "the digest of the Package #0 for the gateway itself is wrong",
            Self::BootstrapUnproven => "the pushed bootstrap is not proven by a shared secret",
            Self::BootstrapTries => "too many pushed bootstraps were not proven",
            Self::BootstrapMalformed => "the pushed bootstrap holds no account that can be used",
            Self::BootstrapRequest => "it is not a GET of /bootstrap",
            Self::BootstrapClosed => "no account waits to be fetched by this device",
            Self::Blocked => Rule::Blocked.sentence(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_counts_in_its_own_place() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
