//! `dm-gateway web`: a status page on this machine, as long as the command runs.
//!
//! A process of its own that asks the daemon over the control socket, so that nothing of the page
//! is in the daemon. It only shows: nothing there changes anything. What it serves comes with a
//! policy that lets a browser load nothing from elsewhere and run nothing inline, and to nobody
//! who came by another name than this machine's (DNS rebinding).

use crate::cli::client::{Call, Stop, note, understand};
use crate::cli::definition::{self, ASKING, Command, Given, Kind, option};
use crate::codes;
use crate::control::{self, EventLine, Request, Watching};
use crate::io::page_server::{Page, PageListener, PageRequest, Place, is_this_machine};
use crate::limits;
use serde_json::Value;
use smol::channel::{self, Receiver, Sender};
use smol::{Timer, future};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

/// `web`.
pub const COMMAND: Command = Command {
    name: "web",
    summary: "a status page for a browser on this machine, read-only, until interrupted",
    text: "Shows health, the network as a picture, and events while they happen. It listens on a \
           loopback address only: whoever has an account on this machine can look at it. From \
           elsewhere use a tunnel: ssh -L 8088:127.0.0.1:8088 ROUTER",
    options: &[
        ASKING,
        &[option(
            "listen",
            "ADDRESS",
            Kind::Text,
            "loopback address and port (default 127.0.0.1:8088)",
        )],
    ],
    examples: &[("dm-gateway web", "then open http://127.0.0.1:8088/")],
    run: Some(web),
    ..definition::COMMAND
};

const LISTEN: &str = "127.0.0.1:8088";

/// How old an answer of the daemon may be that is shown once more: many browsers ask as much as
/// one.
const FRESH: Duration = Duration::from_millis(500);

/// Nothing from elsewhere, nothing inline, no frame around it.
const GUARDED: &[(&str, &str)] = &[
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src \
         data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
];

fn web(given: Given) -> Result<u8, Stop> {
    let text = given.value("listen").map_or_else(|| LISTEN.into(), |value| value.to_string_lossy());
    let address: SocketAddr = text.parse().map_err(|_| {
        Stop::Usage(format!("--listen is an address with a port, {LISTEN}, not `{text}`"))
    })?;
    if !address.ip().is_loopback() {
        let text = format!("--listen is a loopback address, {LISTEN}: others are not to look in");
        return Err(Stop::Usage(text));
    }
    let call = Call::of(&given);
    // Whether a daemon answers at all is told here, not in the browser.
    call.ask::<control::StatusAnswer>(&Request::Status)?;
    let (send, receive) = channel::bounded(limits::PAGE_EVENTS);
    let watching = call.clone();
    thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || watch(&watching, &send))
        .map_err(|error| Stop::failed(&format!("no thread can be started; cause: {error}")))?;
    smol::block_on(serve(address, call, receive))
}

async fn serve(address: SocketAddr, call: Call, events: Receiver<String>) -> Result<u8, Stop> {
    let listener = PageListener::bind(&Place::Address(address)).map_err(|error| {
        Stop::with(codes::WEB, &format!("{error}; try: another --listen, such as 127.0.0.1:8089"))
    })?;
    let address = listener.local_address().unwrap_or(address);
    note(&format!("http://{address}/ shows the gateway; Ctrl-C ends"));
    let site = Rc::new(Site {
        call,
        state: RefCell::new(None),
        events: RefCell::default(),
        news: News::default(),
    });
    let collect = async {
        while let Ok(line) = events.recv().await {
            site.events.borrow_mut().add(line);
            site.news.wake();
        }
        future::pending::<()>().await;
    };
    let answer = listener.serve(|request| Rc::clone(&site).answer(request));
    future::or(collect, answer).await;
    Ok(0)
}

/// Hands on what happens, for ever; a daemon that goes away is waited for.
fn watch(call: &Call, send: &Sender<String>) {
    loop {
        let lines = call.lines(&Request::Monitor, false).into_iter().flatten();
        let mut lines = lines.map_while(Result::ok);
        if lines.next().is_some_and(|first| understand::<Watching>(first).is_ok()) {
            for line in lines.filter(|line| understand::<EventLine>(line.clone()).is_ok()) {
                if send.send_blocking(line).is_err() {
                    return;
                }
            }
        }
        thread::sleep(Duration::from_secs(2));
    }
}

/// What is served.
struct Site {
    call: Call,
    /// The last answer of the daemon, and when it came.
    state: RefCell<Option<(Instant, Page)>>,
    events: RefCell<Events>,
    news: News,
}

/// The newest events, numbered.
#[derive(Default)]
struct Events {
    lines: VecDeque<String>,
    /// The number of the newest one; the first is 1.
    last: u64,
}

impl Events {
    fn add(&mut self, line: String) {
        if self.lines.len() >= limits::PAGE_EVENTS {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        self.last += 1;
    }

    /// Those after number `after`; all, if that is not a number given out here.
    fn after(&self, after: u64) -> Vec<Value> {
        let new = match self.last.checked_sub(after) {
            Some(new) => usize::try_from(new).unwrap_or(usize::MAX).min(self.lines.len()),
            None => self.lines.len(),
        };
        let lines = self.lines.iter().skip(self.lines.len() - new);
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Site {
    async fn answer(self: Rc<Self>, request: PageRequest) -> Page {
        if !request.host.as_deref().is_some_and(is_this_machine) {
            return Page::text(421, "this is served to browsers on this machine only\n");
        }
        let page = |content_type, body: &'static str| Page {
            status: 200,
            content_type,
            fields: GUARDED,
            body: Cow::Borrowed(body),
        };
        match &*request.path {
            "/" => page("text/html; charset=utf-8", include_str!("web/page.html")),
            "/page.css" => page("text/css; charset=utf-8", include_str!("web/page.css")),
            "/page.js" => page("text/javascript; charset=utf-8", include_str!("web/page.js")),
            "/state" => self.state().await,
            "/events" => self.news_after(request.query.as_deref().unwrap_or_default()).await,
            _ => Page { fields: GUARDED, ..Page::text(404, "there is only /\n") },
        }
    }

    /// All that the daemon says of itself, its devices, servers and mappings.
    async fn state(&self) -> Page {
        if let Some((_, page)) = self.state.borrow().as_ref().filter(|it| it.0.elapsed() < FRESH) {
            return page.clone();
        }
        let call = self.call.clone();
        let page = smol::unblock(move || match gather(&call) {
            Ok(text) => json(200, text),
            Err(Stop::Unanswered(trouble) | Stop::Failed(trouble)) => {
                json(503, serde_json::json!({ "error": *trouble }).to_string())
            }
            Err(_) => json(503, r#"{"error":{"what":"the daemon is not understood"}}"#.to_owned()),
        })
        .await;
        *self.state.borrow_mut() = Some((Instant::now(), page.clone()));
        page
    }

    /// Events after the one that the query names; waits for some if there are none.
    async fn news_after(&self, query: &str) -> Page {
        let after = query.strip_prefix("after=").and_then(|number| number.parse().ok());
        let late = Instant::now() + limits::PAGE_NEWS;
        // Without a number, as the first time, it is answered at once.
        while after == Some(self.events.borrow().last) && Instant::now() < late {
            let rest = late.saturating_duration_since(Instant::now());
            let listener = self.news.listen();
            future::or(listener, async {
                Timer::after(rest).await;
            })
            .await;
        }
        let events = self.events.borrow();
        let next = events.last;
        let body =
            serde_json::json!({ "next": next, "events": events.after(after.unwrap_or_default()) });
        json(200, body.to_string())
    }
}

/// Wakes everybody who listens.
#[derive(Default)]
struct News(RefCell<Vec<Sender<()>>>);

impl News {
    fn wake(&self) {
        // Dropped senders end what waits for them.
        self.0.borrow_mut().clear();
    }

    async fn listen(&self) {
        let (send, receive) = channel::bounded::<()>(1);
        self.0.borrow_mut().push(send);
        let _ = receive.recv().await;
    }
}

fn json(status: u16, body: String) -> Page {
    Page { status, content_type: "application/json", fields: GUARDED, body: Cow::Owned(body) }
}

fn gather(call: &Call) -> Result<String, Stop> {
    let status = call.ask::<control::StatusAnswer>(&Request::Status)?.line;
    let devices = call.ask::<control::Devices>(&Request::Devices)?.body.devices;
    let servers = call.ask::<control::Servers>(&Request::Servers)?.body.servers;
    let mappings = call.ask::<control::Mappings>(&Request::Mappings)?.body.mappings;
    let rest = serde_json::json!({
        "devices": devices, "servers": servers, "mappings": mappings,
    });
    let rest = rest.to_string();
    // The status as the daemon wrote it, with fields that this version does not know.
    Ok(format!("{{\"status\":{status},{}", rest.trim_start_matches('{')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_and_bounded() {
        let mut events = Events::default();
        for number in 0..limits::PAGE_EVENTS + 5 {
            events.add(format!("{{\"number\":{number}}}"));
        }
        let last = events.last;
        assert_eq!(events.after(last - 2).len(), 2);
        assert_eq!(events.after(last - 1)[0]["number"], 104);
        assert_eq!(events.after(0).len(), limits::PAGE_EVENTS);
        assert_eq!(events.after(last + 9).len(), limits::PAGE_EVENTS, "of an earlier command");
        assert!(events.after(last).is_empty());
    }
}
