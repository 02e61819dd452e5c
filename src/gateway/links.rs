//! Interfaces that come and go: each time is told once.

use crate::gateway::Gateway;
use crate::gateway::event::{Event, EventKind};
use crate::gateway::health::Facts;
use crate::gateway::seam::LanId;
use std::collections::HashSet;

/// What was told to be down.
#[derive(Debug, Default)]
pub(super) struct Down {
    lans: HashSet<LanId>,
    wan: bool,
}

impl Gateway {
    /// Tells of each LAN whose interface came or went; of all, or of those with this interface.
    pub(super) fn tell_of_lan_links(&mut self, interface: Option<&str>) {
        for index in 0..self.options.lans.len() {
            let (lan, options) = (LanId(index), &self.options.lans[index]);
            if interface.is_some_and(|name| name != options.interface) {
                continue;
            }
            let Some(up) = self.lan_is_up(lan) else { continue };
            let lans = &mut self.down.lans;
            let is_news = if up { lans.remove(&lan) } else { lans.insert(lan) };
            if is_news {
                let (kind, how) = match up {
                    true => (EventKind::LanUp, "there again"),
                    false => (EventKind::LanDown, "missing or down"),
                };
                let why = format!("the interface {} is {how}", options.interface);
                self.tell(Event { lan: Some(options.name.clone()), ..Event::new(kind, why) });
            }
        }
    }

    /// Tells of the WAN interface if it came or went by these facts.
    pub(super) fn tell_of_wan_link(&mut self, facts: &Facts) {
        let Some((name, up)) = &facts.wan else { return };
        if std::mem::replace(&mut self.down.wan, !up) == *up {
            let (kind, how) = match up {
                true => (EventKind::WanUp, "there again"),
                false => (EventKind::WanDown, "missing or down: no push comes in"),
            };
            self.tell(Event::new(kind, format!("the interface {name} is {how}")));
        }
    }
}
