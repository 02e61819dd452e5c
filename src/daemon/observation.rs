//! What others see of the daemon by HTTP: metrics, and whether it lives and works.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | OpenMetrics |
//! | `/livez` | 200: the one thread that does everything answered |
//! | `/readyz` | 200 if healthy or degraded (`status` exits with 0 or 1), 503 if down (2); the health lines |

use super::shell::Shell;
use crate::control::StatusAnswer;
use crate::control::openmetrics::{self, Form};
use crate::gateway::view::Health;
use crate::io::page_server::{Page, PageListener, PageRequest, is_this_machine};
use std::rc::Rc;

impl Shell {
    /// Serves metrics and health, for ever.
    pub(super) async fn observers(self: Rc<Self>, listener: PageListener) {
        let is_tcp = listener.local_address().is_some();
        let handler = |request: PageRequest| {
            let page = match request.host.as_deref() {
                // A page from elsewhere in a browser here (DNS rebinding).
                Some(host) if is_tcp && !is_this_machine(host) => {
                    Page::text(421, "this is served to programs on this machine only\n")
                }
                _ => self.observed(&request.path),
            };
            async move { page }
        };
        listener.serve(handler).await;
    }

    fn observed(&self, path: &str) -> Page {
        match path {
            "/metrics" => Page {
                content_type: openmetrics::CONTENT_TYPE,
                ..Page::text(200, openmetrics::render(&self.status_answer(), Form::OpenMetrics))
            },
            "/livez" => Page::text(200, "alive\n"),
            "/readyz" => ready(&self.status_answer()),
            _ => Page::text(404, "there are /metrics, /livez and /readyz\n"),
        }
    }

    /// What [`Request::Status`](crate::control::Request::Status) is answered with.
    pub(super) fn status_answer(&self) -> StatusAnswer {
        let status = self.gateway.borrow().status(self.clock.now());
        let configuration = self.configuration_state();
        StatusAnswer { status, io: self.io_counters(), configuration }
    }
}

fn ready(answer: &StatusAnswer) -> Page {
    let (code, mut text) = match answer.status.health {
        Health::Healthy => (200, "healthy\n".to_owned()),
        Health::Degraded => (200, "degraded\n".to_owned()),
        Health::Down => (503, "down\n".to_owned()),
    };
    for problem in &answer.status.problems {
        text.push_str(&format!("{problem}\n"));
    }
    Page::text(code, text)
}
