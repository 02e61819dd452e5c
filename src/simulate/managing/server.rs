//! A managing server over HTTP or HTTPS, on a thread of its own: for programs that have no executor,
//! as tests and the demo.

use super::{Manager, Misbehaviour, Options, Script, http};
use crate::simulate::event::SimEvent;
use async_io::{Async, Timer};
use smol::{channel, future};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long answers may still leave once the server is to stop.
const GRACE: Duration = Duration::from_millis(30);

/// A managing server.
#[derive(Debug)]
pub struct Server;

/// A server that runs; it stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    manager: Mutex<Manager>,
    told: Mutex<Vec<SimEvent>>,
    /// Something was told.
    news: Condvar,
}

impl Server {
    /// Listens on `address`, port 0 for any, and manages whoever comes.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn start(address: SocketAddr, options: Options) -> io::Result<Handle> {
        let listener = Async::<TcpListener>::bind(address)?;
        let address = listener.get_ref().local_addr()?;
        let shared = Arc::new(Shared {
            manager: Mutex::new(Manager::new(options)),
            told: Mutex::default(),
            news: Condvar::new(),
        });
        let (stop, stopped) = channel::bounded(1);
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("dm-server".to_owned()).spawn(move || {
            let tell = |event| {
                lock(&own.told).push(event);
                own.news.notify_all();
            };
            let serve = async {
                // A listener that fails serves nobody any more, which its clients notice.
                let _ = http::serve(&listener, &own.manager, &tell).await;
            };
            let stopped = async {
                let _ = stopped.recv().await;
                // An event is told before the client has the answer.
                Timer::after(GRACE).await;
            };
            smol::block_on(future::or(stopped, serve));
        })?;
        Ok(Handle { address, shared, stop, thread: Some(thread) })
    }
}

impl Handle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients find it: `http://…/dm`, or `https` with a certificate.
    pub fn url(&self) -> String {
        let scheme = if lock(&self.shared.manager).tls().is_some() { "https" } else { "http" };
        format!("{scheme}://{}/dm", self.address)
    }

    /// All that happened so far.
    pub fn conversation(&self) -> Vec<SimEvent> {
        lock(&self.shared.told).clone()
    }

    /// The first event that fits, as soon as there is one; `None` if there is none in time.
    pub fn wait(&self, timeout: Duration, fits: impl Fn(&SimEvent) -> bool) -> Option<SimEvent> {
        self.wait_all(timeout, 1, fits).pop()
    }

    /// Waits for that many sessions to end, well or not: whether they did in time.
    pub fn wait_for_sessions(&self, count: usize, timeout: Duration) -> bool {
        let ended = |event: &SimEvent| matches!(event, SimEvent::SessionEnded { .. });
        self.wait_all(timeout, count, ended).len() == count
    }

    /// What to do from the next session on.
    pub fn set_script(&self, script: Script) {
        lock(&self.shared.manager).set_script(script);
    }

    /// What to do wrong from now on.
    pub fn set_misbehaviour(&self, misbehaviour: Option<Misbehaviour>) {
        lock(&self.shared.manager).set_misbehaviour(misbehaviour);
    }

    /// Package #0 that asks for a session. See [`Manager::package0`].
    pub fn package0(&self, session_id: u16) -> Vec<u8> {
        lock(&self.shared.manager).package0(session_id)
    }

    /// Stops, closes all connections and returns the whole conversation.
    pub fn stop(mut self) -> Vec<SimEvent> {
        self.end();
        self.conversation()
    }

    /// The first `count` events that fit, fewer if time is up.
    fn wait_all(
        &self,
        timeout: Duration,
        count: usize,
        fits: impl Fn(&SimEvent) -> bool,
    ) -> Vec<SimEvent> {
        let end = Instant::now() + timeout;
        let mut told = lock(&self.shared.told);
        loop {
            let found: Vec<_> = told.iter().filter(|it| fits(it)).take(count).cloned().collect();
            let left = end.saturating_duration_since(Instant::now());
            if found.len() == count || left.is_zero() {
                return found;
            }
            let waited = self.shared.news.wait_timeout(told, left);
            told = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn end(&mut self) {
        // A full channel has the word already.
        let _ = self.stop.try_send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a thread that panicked left behind is as good as any.
pub(in crate::simulate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
