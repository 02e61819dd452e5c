//! One connection of the HTTP server, observed: is it waiting or busy, and does its
//! request carry two lengths?
//!
//! hyper honours Transfer-Encoding and hides a Content-Length beside it (RFC 9112 6.3 allows
//! that, or refusing). Two lengths are either a broken peer or request smuggling, so the octets
//! of each head are looked at on their way in. Only a head that begins a read is seen: of
//! pipelined requests the first.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use async_io::Timer;
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncWrite};

use super::tls_server::Stream;
use crate::limits::{LAN_LINGER, LAN_LINGER_TIME, LAN_WRITE_TIME};

/// What a connection's stream, its service and its server know of each other.
#[derive(Default)]
pub(super) struct State {
    /// An octet of a request has come that is not answered yet.
    busy: Cell<bool>,
    /// A request has been answered before.
    kept: Cell<bool>,
    /// The peer may still be sending when we close.
    linger: Cell<bool>,
    /// Looks of the server that found the connection waiting.
    looks: Cell<u32>,
    order: Cell<Option<Order>>,
    waker: Cell<Option<Waker>>,
    head: RefCell<Head>,
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// After the request in progress, if one is.
    Close,
    /// At once.
    Abort,
}

impl State {
    /// Ends the connection: at once if it waits, else after its answer.
    pub(super) fn close(&self) {
        self.order(Order::Close);
    }

    /// Ends the connection now.
    pub(super) fn abort(&self) {
        self.order(Order::Abort);
    }

    /// One look by a server whose backlog is not empty: closes a connection found waiting that
    /// often, kept ones after `idle` looks, silent new ones after `silent`.
    pub(super) fn yield_after(&self, idle: u32, silent: u32) {
        if self.busy.get() {
            return;
        }
        self.looks.set(self.looks.get() + 1);
        if self.looks.get() >= if self.kept.get() { idle } else { silent } {
            self.close();
        }
    }

    /// The order to carry out, if one was given; wakes the task when one is. To be asked after
    /// the stream was read: a request that came meanwhile turns the end of a silent connection
    /// into one after its answer.
    pub(super) fn poll_order(&self, context: &Context<'_>) -> Poll<Order> {
        match self.order.take() {
            Some(Order::Close) if !self.busy.get() && !self.kept.get() => Poll::Ready(Order::Abort),
            Some(order) => Poll::Ready(order),
            None => {
                self.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }

    /// The peer may be sending still: close gently.
    pub(super) fn linger(&self) {
        self.linger.set(true);
    }

    /// The request has been read to its end.
    pub(super) fn body_read(&self) {
        self.linger.set(false);
    }

    /// The answer is made; what comes in next is the next request.
    pub(super) fn request_done(&self) {
        self.busy.set(false);
        self.kept.set(true);
        self.looks.set(0);
        *self.head.borrow_mut() = Head::default();
    }

    /// Whether the head just read carries both Content-Length and Transfer-Encoding.
    pub(super) fn take_ambiguous_length(&self) -> bool {
        let head = self.head.borrow();
        head.content_length && head.transfer_encoding
    }

    fn order(&self, order: Order) {
        self.order.set(Some(order));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn arrived(&self, octets: &[u8]) {
        self.busy.set(true);
        self.head.borrow_mut().feed(octets);
    }
}

/// The head of a request, octet by octet.
#[derive(Default)]
struct Head {
    /// The name of the present line's field so far, lower case, as far as it is of interest.
    name: [u8; Self::NAME],
    /// Octets of the present line before its colon, or before its end.
    length: usize,
    in_value: bool,
    content_length: bool,
    transfer_encoding: bool,
    complete: bool,
}

impl Head {
    /// Longest field name of interest, `transfer-encoding`.
    const NAME: usize = 17;

    fn feed(&mut self, octets: &[u8]) {
        for &octet in octets {
            if self.complete {
                return;
            }
            match octet {
                b'\n' => {
                    self.complete = self.length == 0 && !self.in_value;
                    self.length = 0;
                    self.in_value = false;
                }
                _ if self.in_value => {}
                b':' => {
                    let name = self.name.get(..self.length).unwrap_or_default();
                    self.content_length |= name == b"content-length";
                    self.transfer_encoding |= name == b"transfer-encoding";
                    self.in_value = true;
                }
                b'\r' => {}
                _ => {
                    if let Some(place) = self.name.get_mut(self.length) {
                        *place = octet.to_ascii_lowercase();
                    }
                    self.length += 1;
                }
            }
        }
    }
}

/// The stream that reports to a [`State`].
pub(super) struct Observed {
    stream: Stream,
    state: Rc<State>,
    write_timer: Option<Timer>,
    linger: Option<Linger>,
}

/// A connection that is closed for writing and still read.
struct Linger {
    timer: Timer,
    octets: usize,
}

impl Observed {
    pub(super) fn new(stream: Stream, state: Rc<State>) -> Self {
        Self { stream, state, write_timer: None, linger: None }
    }

    /// What came of writing, or an error if nothing came of it for too long.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_timer = None;
            return result;
        }
        let timer = self.write_timer.get_or_insert_with(|| Timer::after(LAN_WRITE_TIME));
        ready!(timer.poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if count > 0 {
            self.state.arrived(buffer.get(..count).unwrap_or_default());
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Observed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, octets);
        self.in_time(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Octets that TLS has ciphered wait here for a peer that takes nothing.
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            // The peer may have gone already: nothing is left to be said to it.
            this.stream.end_writing(context);
            if !this.state.linger.get() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this
            .linger
            .get_or_insert_with(|| Linger { timer: Timer::after(LAN_LINGER_TIME), octets: 0 });
        let mut scratch = [0; 4096];
        while linger.octets < LAN_LINGER && linger.timer.poll(context).is_pending() {
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut scratch)) {
                Ok(0) | Err(_) => break,
                Ok(count) => linger.octets += count,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(head: &str) -> bool {
        let mut whole = Head::default();
        whole.feed(head.as_bytes());
        let mut split = Head::default();
        head.as_bytes().iter().for_each(|octet| split.feed(&[*octet]));
        let found = |head: &Head| head.content_length && head.transfer_encoding;
        assert_eq!(found(&whole), found(&split));
        found(&whole)
    }

    #[test]
    fn two_lengths_are_found_in_a_head_and_nowhere_else() {
        assert!(both("POST / HTTP/1.1\r\nContent-Length: 1\r\nTRANSFER-ENCODING: chunked\r\n\r\n"));
        assert!(both("POST / HTTP/1.1\nTransfer-Encoding:chunked\ncontent-length:1\n\n"));
        assert!(!both(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 1\r\n"
        ));
        assert!(!both("POST / HTTP/1.1\r\nA: Transfer-Encoding: x\r\nContent-Length: 1\r\n\r\n"));
        assert!(!both("POST / HTTP/1.1\r\nxTransfer-Encoding: x\r\nContent-Length: 1\r\n\r\n"));
        assert!(!both("POST / HTTP/1.1\r\nTransfer-Encodings: x\r\nContent-Length: 1\r\n\r\n"));
    }
}
