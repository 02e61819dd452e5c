//! What becomes of a pre-bootstrapped device: the three possibilities of the change request.
//!
//! (GwMO change request, 8.6.1.) A LAN has one policy. It decides whether its devices are asked
//! for their servers, what they are told, and what a list that they bring leads to.

use std::fmt;

/// The policy of a LAN towards end devices that other DM servers have bootstrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// 8.6.1.1: the device is noted, not asked; what it tells of its servers has no effect.
    #[default]
    Ignore,
    /// 8.6.1.2: servers that the gateway does not know become *wanted*.
    Bootstrap,
    /// 8.6.1.3: each server on the list may wake the device through the gateway.
    Transparent,
}

impl Policy {
    /// The number of the policy in the store and in Gw Config.
    pub fn code(self) -> u8 {
        match self {
            Self::Ignore => 0,
            Self::Bootstrap => 1,
            Self::Transparent => 2,
        }
    }

    /// The policy with that number.
    pub fn of_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Ignore),
            1 => Some(Self::Bootstrap),
            2 => Some(Self::Transparent),
            _ => None,
        }
    }

    /// The policy's name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Bootstrap => "bootstrap",
            Self::Transparent => "transparent",
        }
    }

    /// Whether devices are woken and sent the Device Detection Alert.
    pub fn asks(self) -> bool {
        self != Self::Ignore
    }

    /// The `Share` of the Device Detection Alert: whether devices may tell their servers the
    /// gateway's address. The operator's word and a public address bound it.
    pub fn shares(self, share_address: bool, public_address: bool) -> bool {
        self == Self::Transparent && share_address && public_address
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the identity of a peer on a LAN is held against the kernel's neighbour table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// The Ethernet address behind the peer's network address must be the device's.
    #[default]
    Neighbour,
    /// Whoever speaks is believed: loopback, routed LANs, trusted wiring.
    None,
}

/// How devices of a LAN authenticate themselves in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceAuth {
    /// Not at all: any Cred is ignored, the neighbour check stands in.
    #[default]
    None,
    /// `syncml:auth-basic`: the secret crosses the LAN in clear.
    Basic,
    /// `syncml:auth-md5`, with nonces.
    Md5,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shared_only_where_policy_operator_and_address_allow() {
        for policy in [Policy::Ignore, Policy::Bootstrap, Policy::Transparent] {
            for share in [false, true] {
                for address in [false, true] {
                    let expected = policy == Policy::Transparent && share && address;
                    assert_eq!(policy.shares(share, address), expected);
                }
            }
        }
    }
}
