//! A session's messages over plain HTTP: the smallest client that can, blocking.

#![allow(unreachable_pub, dead_code)]

use dm_gateway::proto::auth::MAC_HEADER;
use dm_gateway::proto::session::client::{ClientSession, Ending, Incoming, Outgoing, Step, Target};
use dm_gateway::proto::syncml::Encoding;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One kept connection.
pub struct Post {
    stream: BufReader<TcpStream>,
    host: String,
}

/// An answer.
pub struct Answered {
    pub status: u16,
    pub content_type: String,
    pub mac: Option<String>,
    pub body: Vec<u8>,
}

impl Post {
    /// Connects to the host of `http://host:port/…`.
    pub fn to(url: &str) -> io::Result<Self> {
        let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        let host = host.ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(Self { stream: BufReader::new(stream), host })
    }

    pub fn post(
        &mut self,
        path: &str,
        kind: &str,
        mac: Option<&str>,
        body: &[u8],
    ) -> io::Result<Answered> {
        let (host, length) = (&self.host, body.len());
        let mac = mac.map(|mac| format!("{MAC_HEADER}: {mac}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n{mac}\
             Content-Length: {length}\r\n\r\n"
        );
        let request = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request)?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Answered> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (mut length, mut content_type, mut mac) = (0, String::new(), None);
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().map_err(io::Error::other)?,
                "content-type" => content_type = value.to_owned(),
                MAC_HEADER => mac = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answered { status, content_type, mac, body })
    }
}

/// Holds a session to its end; what was to last lasts.
pub fn hold(
    mut session: ClientSession,
    mut outgoing: Outgoing,
    target: &mut impl Target,
) -> io::Result<Ending> {
    let mut connection = Post::to(&outgoing.uri)?;
    let mut fresh = 0;
    loop {
        let path = outgoing.uri.splitn(4, '/').nth(3).unwrap_or_default();
        let kind = outgoing.encoding.content_type();
        let (mac, body) = (outgoing.mac.as_deref(), &outgoing.body);
        fresh += 1;
        let step = match connection.post(&format!("/{path}"), kind, mac, body) {
            Ok(Answered { status: 200, content_type, mac, body }) => {
                let encoding = Encoding::of_content_type(&content_type);
                let encoding = encoding.ok_or(io::ErrorKind::InvalidData)?;
                let incoming = Incoming { encoding, body: &body, mac: mac.as_deref() };
                session.receive(&incoming, [fresh; 16], target)
            }
            Ok(answered) => Step::End(session.no_answer(Some(answered.status))),
            Err(_) => Step::End(session.no_answer(None)),
        };
        let step = if let Step::Commit(_) = step { session.committed(true) } else { step };
        match step {
            Step::Send(next) => outgoing = next,
            Step::End(ending) => return Ok(ending),
            Step::Commit(_) => return Err(io::Error::other("committed twice")),
        }
    }
}
