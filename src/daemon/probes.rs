//! `servers test`: the way to a DM server, step by step, and a session with it at its end.

use super::shell::Shell;
use crate::codes;
use crate::control::{self, EventLine, StepLine};
use crate::gateway::event::EventKind;
use crate::gateway::management::Operation;
use crate::io::control_socket::ControlConnection;
use crate::io::probe::{Step, probe};
use crate::limits;
use smol::future;
use std::time::Instant;

impl Shell {
    /// Tests the way to a server that the gateway has an account with. Nothing else can name the
    /// place: an operator gives no URL, and end devices none at all.
    pub(super) async fn test_server(&self, server: &str, connection: &mut ControlConnection) {
        let found = self.gateway.borrow().server_url(server);
        let Some((url, allow_http)) = found else {
            let why = format!("the gateway has no account with {server}; try: dm-gateway servers");
            let _ = connection.send(&control::refused(&why)).await;
            return;
        };
        let trust = self.caller.trust(server);
        let (send, steps) = smol::channel::unbounded();
        let probing = async {
            let mut tell = |step| drop(send.try_send(step));
            let done = probe(&url, &trust, allow_http, &mut tell).await;
            send.close();
            done
        };
        let telling = async {
            let mut gone = false;
            while let Ok(step) = steps.recv().await {
                gone |= connection.send(&line(&step)).await.is_err();
            }
            gone
        };
        let (done, gone) = future::zip(probing, telling).await;
        if !done || gone {
            return;
        }
        let last = self.test_session(server, connection.peer_uid()).await;
        let _ = connection.send(&control::step_line(&last)).await;
    }

    async fn test_session(&self, server: &str, uid: u32) -> StepLine {
        let began = Instant::now();
        let (lines, _) = self.subscribe();
        let begun = self.operate(Operation::Session { server: server.to_owned() }, uid).await;
        let ended = async {
            while let Ok(line) = lines.recv().await {
                let Ok(event) = serde_json::from_str::<EventLine>(&line) else { continue };
                if event.server.as_deref() != Some(server) || event.device.is_some() {
                    continue;
                }
                if event.event == EventKind::SessionEnded.name() {
                    return Ok(event.why);
                }
                if event.event == EventKind::SessionFailed.name() {
                    return Err(event.why);
                }
            }
            Err("the daemon stops".to_owned())
        };
        let late = async {
            super::pause(limits::TEST_SESSION).await;
            Err("the session does not end".to_owned())
        };
        let result = match begun {
            Ok(_) => future::or(ended, late).await,
            Err(why) => Err(why),
        };
        lines.close();
        self.forget_monitors();
        let code = self.gateway.borrow().server_failure(server).unwrap_or(codes::SESSION);
        let result = result.map_err(|why| (code, why));
        control::step("session", began.elapsed(), result)
    }
}

fn line(step: &Step) -> String {
    let Step { name, time, result } = step;
    control::step_line(&control::step(name, *time, result.clone()))
}
