//! Routing messages: octets to events, and nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;

use crate::gateway::seam::{LinkEvent, MacAddress, NeighbourEvent, NeighbourState};

// linux/netlink.h, linux/rtnetlink.h, linux/neighbour.h, linux/if_link.h
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_NEWNEIGH: u16 = 28;
pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;
pub(super) const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NTF_PROXY: u8 = 0x08;
const NUD_NOARP: u16 = 0x40;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFF_UP: u32 = 0x01;
const IFF_RUNNING: u32 = 0x40;
/// The two upper bits of an attribute's type are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Octets of a message header, of `ndmsg` and of `ifinfomsg`.
pub(super) const HEADER: usize = 16;
pub(super) const NDMSG: usize = 12;
pub(super) const IFINFOMSG: usize = 16;

/// One message of a datagram.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    body: &'a [u8],
}

impl Message<'_> {
    /// The error that NLMSG_ERROR and NLMSG_DONE begin with.
    pub(super) fn error(&self) -> Option<Errno> {
        let code = u32_at(self.body, 0).unwrap_or_default() as i32;
        (code != 0).then(|| Errno::from_raw(code.wrapping_neg()))
    }
}

/// Splits a datagram; ends at the first message whose length cannot be.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(datagram, 0)? as usize;
        let body = datagram.get(HEADER..length)?;
        let (kind, flags) = (u16_at(datagram, 4)?, u16_at(datagram, 6)?);
        let sequence = u32_at(datagram, 8)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, flags, sequence, body })
    })
}

/// Splits attributes; ends at the first whose length cannot be.
fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(octets, 0)?);
        let kind = u16_at(octets, 2)? & NLA_TYPE_MASK;
        let value = octets.get(4..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(super) fn parse_neighbour(message: &Message<'_>) -> Option<NeighbourEvent> {
    let (fixed, rest) = message.body.split_at_checked(NDMSG)?;
    let (family, flags) = (*fixed.first()?, *fixed.get(10)?);
    let (interface, raw_state) = (u32_at(fixed, 4)?, u16_at(fixed, 8)?);
    // Other families are a bridge's forwarding table.
    if !matches!(family, AF_INET | AF_INET6) || flags & NTF_PROXY != 0 || raw_state & NUD_NOARP != 0
    {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for (kind, value) in attributes(rest) {
        match kind {
            NDA_DST => address = parse_address(family, value),
            NDA_LLADDR => mac = parse_mac(value),
            _ => {}
        }
    }
    let address = address.filter(|&address| is_unicast(address))?;
    let state = match raw_state {
        0x00 | 0x01 => NeighbourState::Incomplete,
        0x02 => NeighbourState::Reachable,
        0x04 | 0x08 | 0x10 => NeighbourState::Stale,
        0x20 => NeighbourState::Failed,
        0x80 => NeighbourState::Permanent,
        _ => return None,
    };
    Some(if message.kind == RTM_NEWNEIGH {
        NeighbourEvent::Entry { interface, address, mac, state }
    } else {
        NeighbourEvent::Removed { interface, address, state }
    })
}

pub(super) fn parse_link(message: &Message<'_>) -> Option<LinkEvent> {
    let (fixed, rest) = message.body.split_at_checked(IFINFOMSG)?;
    let (index, flags) = (u32_at(fixed, 4)?, u32_at(fixed, 8)?);
    // With another family a DELLINK says that an interface left a bridge, not that it is gone.
    if *fixed.first()? != AF_UNSPEC {
        return None;
    }
    let (mut name, mut mac) = (None, None);
    for (kind, value) in attributes(rest) {
        match kind {
            IFLA_IFNAME => {
                let text = value.split(|&octet| octet == 0).next().unwrap_or_default();
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            IFLA_ADDRESS => mac = parse_mac(value),
            _ => {}
        }
    }
    let removed = message.kind == RTM_DELLINK;
    let running = !removed && flags & IFF_UP != 0 && flags & IFF_RUNNING != 0;
    Some(LinkEvent { index, name: name?, running, removed, mac })
}

fn parse_address(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

fn parse_mac(value: &[u8]) -> Option<MacAddress> {
    let octets = <[u8; 6]>::try_from(value).ok()?;
    (octets != [0; 6]).then_some(MacAddress(octets))
}

fn is_unicast(address: IpAddr) -> bool {
    let group = match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    };
    !group && !address.is_loopback() && !address.is_unspecified()
}

fn u16_at(octets: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*octets.get(offset..)?.first_chunk()?))
}

fn u32_at(octets: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*octets.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    /// A neighbour at 10.77.0.2, fresh and then failed, as Linux 6.18 told of it on x86-64.
    const PROBE: &str = "4c0000001c000000000000007e3e000002000000030000001000000108000100\
        0a4d00020a000200020000000002000008000400000000001400\
        03001e0000001e0000000000000002000000";
    const FAILED: &str = "400000001c000000000000000000000002000000030000002000000108000100\
        0a4d000208000400030000001400030050010000500100000000000001000000";

    fn captured(hex: &str) -> Vec<u8> {
        let nibbles: Vec<u8> =
            hex.chars().filter_map(|c| c.to_digit(16)).map(|n| n as u8).collect();
        nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut octets = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        octets.extend(kind.to_ne_bytes());
        octets.extend([0; 10]);
        octets.extend(body);
        octets
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut octets = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        octets.extend(kind.to_ne_bytes());
        octets.extend(value);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    fn neighbour(family: u8, state: u16, flags: u8, address: &[u8], mac: &[u8]) -> Vec<u8> {
        let mut body = vec![family, 0, 0, 0];
        body.extend(7u32.to_ne_bytes());
        body.extend(state.to_ne_bytes());
        body.extend([flags, 1]);
        body.extend(attribute(NDA_LLADDR, mac));
        body.extend(attribute(NDA_DST, address));
        message(RTM_NEWNEIGH, &body)
    }

    fn link(kind: u16, family: u8, flags: u32) -> Vec<u8> {
        let mut body = vec![family, 0, 1, 0];
        body.extend(5u32.to_ne_bytes());
        body.extend(flags.to_ne_bytes());
        body.extend([0; 4]);
        body.extend(attribute(IFLA_IFNAME, b"lan0\0"));
        body.extend(attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 5]));
        message(kind, &body)
    }

    fn parse(datagram: &[u8]) -> Vec<Event> {
        messages(datagram)
            .filter_map(|message| match message.kind {
                RTM_NEWLINK | RTM_DELLINK => parse_link(&message).map(Event::Link),
                _ => parse_neighbour(&message).map(Event::Neighbour),
            })
            .collect()
    }

    fn entry(state: NeighbourState, mac: Option<MacAddress>) -> Event {
        let address = Ipv4Addr::new(10, 77, 0, 2).into();
        Event::Neighbour(NeighbourEvent::Entry { interface: 3, address, mac, state })
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn captured_messages_are_read_and_a_failed_neighbour_has_no_mac() {
        let mac = Some(MacAddress([2, 0, 0, 0, 0, 2]));
        assert_eq!(parse(&captured(PROBE)), [entry(NeighbourState::Stale, mac)]);
        assert_eq!(parse(&captured(FAILED)), [entry(NeighbourState::Failed, None)]);
        let both = [captured(PROBE), captured(FAILED)].concat();
        assert_eq!(parse(&both).len(), 2);
    }

    #[test]
    fn cut_and_damaged_messages_never_panic_and_end() {
        let samples = [
            captured(PROBE),
            captured(FAILED),
            neighbour(AF_INET6, 2, 0, &[0xfd; 16], &[2; 6]),
            link(RTM_NEWLINK, AF_UNSPEC, IFF_UP),
        ];
        for sample in samples {
            for length in 0..sample.len() {
                assert_eq!(parse(&sample[..length]), [], "a message cut at {length}");
                for value in [0, 1, 3, 4, 0x7f, 0xff] {
                    let mut damaged = sample.clone();
                    damaged[length] = value;
                    parse(&damaged);
                }
            }
        }
    }

    #[test]
    fn only_unicast_neighbours_that_are_resolved_by_the_kernel_are_told() {
        let mac = [2, 0, 0, 0, 0, 2];
        assert_eq!(parse(&neighbour(AF_INET, 2, 0, &[10, 0, 0, 1], &mac)).len(), 1);
        for (family, state, flags, address) in [
            (AF_INET, NUD_NOARP, 0, vec![10, 0, 0, 1]),
            (AF_INET, 2, NTF_PROXY, vec![10, 0, 0, 1]),
            (AF_INET, 2, 0, vec![127, 0, 0, 1]),
            (AF_INET, 2, 0, vec![224, 0, 0, 1]),
            (AF_INET, 2, 0, vec![255; 4]),
            (AF_INET, 2, 0, vec![0; 4]),
            (AF_INET, 2, 0, vec![10, 0, 0]),
            (AF_INET6, 2, 0, vec![0xff; 16]),
            (AF_INET6, 2, 0, vec![10, 0, 0, 1]),
            (7, 2, 0, vec![10, 0, 0, 1]),
        ] {
            assert_eq!(parse(&neighbour(family, state, flags, &address, &mac)), []);
        }
    }

    #[test]
    fn a_link_address_that_is_not_ethernet_is_no_mac() {
        for mac in [&[1u8; 20][..], &[], &[0; 6]] {
            let events = parse(&neighbour(AF_INET, 2, 0, &[10, 0, 0, 1], mac));
            assert!(matches!(
                events[..],
                [Event::Neighbour(NeighbourEvent::Entry { mac: None, .. })]
            ));
        }
    }

    #[test]
    fn a_link_runs_with_a_carrier_and_leaving_a_bridge_is_no_removal() {
        let told = |octets: &[u8]| match parse(octets).pop() {
            Some(Event::Link(link)) => Some((link.running, link.removed, link.name)),
            _ => None,
        };
        let name = || "lan0".to_owned();
        let up = IFF_UP | IFF_RUNNING;
        assert_eq!(told(&link(RTM_NEWLINK, AF_UNSPEC, up)), Some((true, false, name())));
        assert_eq!(told(&link(RTM_NEWLINK, AF_UNSPEC, IFF_UP)), Some((false, false, name())));
        assert_eq!(told(&link(RTM_DELLINK, AF_UNSPEC, up)), Some((false, true, name())));
        assert_eq!(told(&link(RTM_DELLINK, 7, up)), None);
    }
}
