//! Pushes for the gateway itself: Package #0 wakes its DM client. (OMA-TS-DM_Notification 1.2.1.)

use super::sessions::{credential, nonce};
use super::wishes::Cause;
use crate::gateway::Gateway;
use crate::gateway::arrival::Outcome;
use crate::gateway::event::{EventKind, Reason};
use crate::gateway::seam::Now;
use crate::limits;
use crate::proto::bootstrap::Level;
use crate::proto::notification::{self, Notification};
use std::net::SocketAddr;
use std::time::Duration;

impl Gateway {
    /// Takes a Package #0 that names no end device: the server must prove that it is one of ours.
    pub(in crate::gateway) fn package0(
        &mut self,
        from: SocketAddr,
        package: &[u8],
        now: Now,
    ) -> Outcome {
        let Ok(notification) = Notification::decode(package) else {
            return self.refuse_push(Reason::MalformedPackage0, from);
        };
        let server = notification.server_id;
        let Some(account) = self.management.account(server) else {
            return self.refuse_push(Reason::NotForwardable, from);
        };
        let credential = credential(account, Level::Server);
        let record = self.management.servers.get(server).map(|it| &it.record);
        let newest = record.map_or(&[][..], |record| &record.server_nonce);
        let nonce = nonce(newest, credential);
        // Without a secret of the server's nothing could be checked, so everything is refused.
        let secret =
            credential.and_then(|it| it.secret.as_ref()).filter(|_| notification.is_signed());
        let proven = secret
            .is_some_and(|secret| notification::verify(package, server, secret.expose(), &nonce));
        if !proven {
            return self.refuse_push(Reason::Digest, from);
        }
        let (server, session_id) = (server.to_owned(), notification.session_id);
        let entry = self.server_entry(&server);
        let over = |at: &Duration| now.uptime >= *at + limits::PACKAGE_REPEATS;
        while entry.heard.front().is_some_and(|(_, at)| over(at)) {
            entry.heard.pop_front();
        }
        let memory = limits::PACKAGE_MEMORY.as_secs();
        entry.record.heard.retain(|(_, at)| now.unix < at.saturating_add(memory));
        let is_running = entry.running.as_ref().is_some_and(|it| it.session_id == session_id);
        let is_known = entry.heard.iter().any(|(heard, _)| *heard == session_id)
            || entry.record.heard.iter().any(|(heard, _)| *heard == session_id);
        if is_running || is_known {
            // A retransmission, or a replay: one session for one session id.
            return self.refuse_push(Reason::Repeat, from);
        }
        if entry.heard.len() >= limits::PACKAGES {
            entry.heard.pop_front();
        }
        entry.heard.push_back((session_id, now.uptime));
        if entry.record.heard.len() >= limits::PACKAGES {
            entry.record.heard.remove(0);
        }
        entry.record.heard.push((session_id, now.unix));
        self.metrics.counters.notifications += 1;
        self.tell_of_server(
            EventKind::Notified,
            &server,
            "Package #0 for the gateway itself: its digest is right",
        );
        self.wish(&server, Cause::Package0(session_id), now.uptime);
        Outcome::Sent
    }
}
