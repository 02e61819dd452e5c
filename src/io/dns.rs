//! DNS SRV (RFC 2782): where a service is, asked of the system's name servers.
//!
//! The C library resolves addresses and knows no SRV, so this is a stub resolver for one question:
//! a UDP query from a port and with an id that nobody can foresee, TCP where the answer did not
//! fit. simple-dns reads and writes the messages. An answer is not authenticated; TLS does that,
//! for the host name that the *caller* was given.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::path::Path;

use async_io::{Async, Timer};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::clock::Clock;
use super::plain;
use crate::limits::{
    DNS_ANSWER, DNS_RECORDS, DNS_ROUNDS, DNS_SERVERS, DNS_STRAYS, DNS_TIME, RESOLV_CONF,
};

/// One record: priority, weight, port, target without a final dot.
pub type Srv = (u16, u16, u16, String);

/// Why there are no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsFailure {
    /// Not a domain name.
    BadName,
    /// The name does not exist.
    NoSuchName,
    /// The name exists, without such records; or its one record says that the service is not
    /// available here (target `.`).
    NoRecords,
    /// No name server gave a useful answer: what the last one did instead.
    NoAnswer(String),
}

impl fmt::Display for DnsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => f.write_str("this is not a domain name"),
            Self::NoSuchName => f.write_str("the name does not exist"),
            Self::NoRecords => f.write_str("the name has no SRV records"),
            Self::NoAnswer(what) => write!(f, "no name server answers: {what}"),
        }
    }
}

impl std::error::Error for DnsFailure {}

/// Asks for the SRV records of a name (`_service._tcp.domain`), unordered; see [`order`]. The
/// servers are asked in turn, the first [`DNS_SERVERS`] of them [`DNS_ROUNDS`] times.
pub async fn srv(name: &str, servers: &[SocketAddr]) -> Result<Vec<Srv>, DnsFailure> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels = name.split('.').all(|label| (1..=63).contains(&label.len()));
    if !labels
        || !name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
    {
        return Err(DnsFailure::BadName);
    }
    let mut failure = DnsFailure::NoAnswer("none is configured".to_owned());
    for _ in 0..DNS_ROUNDS {
        for server in servers.iter().take(DNS_SERVERS) {
            let late = async {
                Timer::after(DNS_TIME).await;
                Err(DnsFailure::NoAnswer(format!("{server} says nothing")))
            };
            match future::or(ask(name, *server), late).await {
                Err(no_answer @ DnsFailure::NoAnswer(_)) => failure = no_answer,
                outcome => return outcome,
            }
        }
    }
    Err(failure)
}

/// The order in which to try records: by priority, and within one by chance, a weight twice as
/// large being twice as likely to come first (RFC 2782). The chance is all in `random`.
pub fn order(mut records: Vec<Srv>, random: u64) -> Vec<Srv> {
    // Weight 0 first: it gets the small chance that the inclusive comparison below leaves it.
    records.sort_by_key(|&(priority, weight, ..)| (priority, weight));
    let mut state = random;
    let mut ordered: Vec<Srv> = Vec::with_capacity(records.len());
    while let Some(&(first, ..)) = records.first() {
        let group = || records.iter().take_while(|&&(priority, ..)| priority == first);
        let total: u64 = group().map(|&(_, weight, ..)| u64::from(weight)).sum();
        let chosen = next(&mut state) % (total + 1);
        let place = group()
            .scan(0, |sum, &(_, weight, ..)| {
                *sum += u64::from(weight);
                Some(*sum)
            })
            .position(|sum| sum >= chosen);
        ordered.push(records.remove(place.unwrap_or_default()));
    }
    ordered
}

/// The name servers of a resolver configuration (`/etc/resolv.conf`); without one, what
/// resolv.conf(5) says: the local machine. Blocks on the file.
pub fn name_servers(path: &Path) -> Vec<SocketAddr> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(RESOLV_CONF).read_to_end(&mut text));
    if let Err(error) = read {
        log::debug!("cannot read {}: {error}", path.display());
    }
    let mut servers = parse_name_servers(&String::from_utf8_lossy(&text));
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, 53).into());
    }
    servers
}

fn parse_name_servers(text: &str) -> Vec<SocketAddr> {
    let address = |word: &str| match word.split_once('%') {
        None => Some(SocketAddr::new(word.parse::<IpAddr>().ok()?, 53)),
        Some((ip, zone)) => {
            let zone = zone.parse().or_else(|_| nix::net::if_::if_nametoindex(zone)).ok()?;
            Some(SocketAddrV6::new(ip.parse::<Ipv6Addr>().ok()?, 53, 0, zone).into())
        }
    };
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then(|| address(words.next()?))?
        })
        .take(DNS_SERVERS)
        .collect()
}

/// SplitMix64: enough to spread load.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

async fn ask(name: &str, server: SocketAddr) -> Result<Vec<Srv>, DnsFailure> {
    let failed = |error: io::Error| DnsFailure::NoAnswer(format!("{server}: {}", plain(&error)));
    let [high, low, ..] = Clock::start().map_err(failed)?.entropy();
    let id = u16::from_be_bytes([high, low]);
    let query = query(name, id)?;
    let verdict = match by_udp(&query, name, id, server).await.map_err(failed)? {
        Verdict::Truncated => {
            let answer = by_tcp(&query, server).await.map_err(failed)?;
            judge(&answer, name, id)
        }
        verdict => verdict,
    };
    match verdict {
        Verdict::Records(records) => Ok(records),
        Verdict::Failure(failure) => Err(failure),
        Verdict::Truncated | Verdict::Stray => {
            Err(DnsFailure::NoAnswer(format!("{server} does not speak DNS by TCP")))
        }
        Verdict::Useless(what) => Err(DnsFailure::NoAnswer(format!("{server} answers {what}"))),
    }
}

/// What a message is to a query.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Records(Vec<Srv>),
    /// The answer is that there is none.
    Failure(DnsFailure),
    /// The server cannot say.
    Useless(String),
    Truncated,
    /// Not an answer to this query.
    Stray,
}

fn query(name: &str, id: u16) -> Result<Vec<u8>, DnsFailure> {
    let name = Name::new(name).map_err(|_| DnsFailure::BadName)?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let question = Question::new(name, QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN), false);
    packet.questions.push(question);
    packet.build_bytes_vec().map_err(|_| DnsFailure::BadName)
}

async fn by_udp(query: &[u8], name: &str, id: u16, server: SocketAddr) -> io::Result<Verdict> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The kernel chooses the port at random, and takes nothing but this server's datagrams.
    let socket = Async::<UdpSocket>::bind((any, 0))?;
    socket.get_ref().connect(server)?;
    socket.send(query).await?;
    let mut buffer = [0; 4096];
    for _ in 0..DNS_STRAYS {
        let length = socket.recv(&mut buffer).await?;
        match judge(buffer.get(..length).unwrap_or_default(), name, id) {
            Verdict::Stray => {}
            verdict => return Ok(verdict),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "what it sends is no answer"))
}

async fn by_tcp(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = Async::<TcpStream>::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed).await?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > DNS_ANSWER {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too large"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Reads a message and says what it is to the query of this name and id.
fn judge(message: &[u8], name: &str, id: u16) -> Verdict {
    // The counts are looked at before room is made for what they promise.
    let counts = message.get(4..12).unwrap_or_default().chunks_exact(2);
    let counts = counts.filter_map(|pair| pair.try_into().ok()).map(u16::from_be_bytes);
    let [Some(first), Some(second)] = [message.first(), message.get(1)] else {
        return Verdict::Stray;
    };
    if u16::from_be_bytes([*first, *second]) != id {
        return Verdict::Stray;
    }
    // A truncated message may end anywhere: nothing behind its flags is read.
    let flags = message.get(2).copied().unwrap_or_default();
    if flags & 0x82 == 0x82 {
        return Verdict::Truncated;
    }
    if counts.clone().any(|count| count > DNS_RECORDS) {
        return Verdict::Useless("with too many records".to_owned());
    }
    let Ok(packet) = Packet::parse(message) else { return Verdict::Stray };
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return Verdict::Stray;
    }
    let asked = packet.questions.first().is_some_and(|question| {
        packet.questions.len() == 1
            && same(&question.qname, name)
            && question.qtype == QTYPE::TYPE(TYPE::SRV)
            && question.qclass == QCLASS::CLASS(CLASS::IN)
    });
    match packet.rcode() {
        // Servers that refuse may leave the question out.
        RCODE::NoError | RCODE::NameError if !asked => Verdict::Stray,
        RCODE::NoError => match records(&packet, name) {
            records if records.is_empty() => Verdict::Failure(DnsFailure::NoRecords),
            records => Verdict::Records(records),
        },
        RCODE::NameError => Verdict::Failure(DnsFailure::NoSuchName),
        code => Verdict::Useless(format!("{code:?}")),
    }
}

/// The usable records of a name, by way of its aliases.
fn records(packet: &Packet<'_>, name: &str) -> Vec<Srv> {
    let mut owner = name.to_owned();
    // As many steps as there can be aliases: a circle of them ends.
    for _ in 0..packet.answers.len() {
        let alias = packet.answers.iter().find_map(|record| match &record.rdata {
            RData::CNAME(to) if same(&record.name, &owner) => Some(to.0.to_string()),
            _ => None,
        });
        let Some(alias) = alias else { break };
        owner = alias;
    }
    let found = packet.answers.iter().filter(|record| same(&record.name, &owner));
    let found = found.filter_map(|record| match &record.rdata {
        RData::SRV(srv) => {
            let target = srv.target.is_valid_hostname().then(|| srv.target.to_string())?;
            (!target.is_empty()).then_some((srv.priority, srv.weight, srv.port, target))
        }
        _ => None,
    });
    found.collect()
}

fn same(name: &Name<'_>, text: &str) -> bool {
    name.to_string().eq_ignore_ascii_case(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{CNAME, SRV};

    const NAME: &str = "_dm._tcp.example.org";

    fn answer(id: u16, change: impl FnOnce(&mut Packet<'static>)) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        let question = Question::new(
            Name::new(NAME).unwrap(),
            QTYPE::TYPE(TYPE::SRV),
            QCLASS::CLASS(CLASS::IN),
            false,
        );
        packet.questions.push(question);
        packet.answers.push(record(NAME, "dm.example.org"));
        change(&mut packet);
        packet.build_bytes_vec_compressed().unwrap()
    }

    fn record(owner: &'static str, target: &'static str) -> ResourceRecord<'static> {
        let target = Name::new(target).unwrap();
        let data = RData::SRV(SRV { priority: 1, weight: 2, port: 443, target });
        ResourceRecord::new(Name::new(owner).unwrap(), CLASS::IN, 60, data)
    }

    fn alias(owner: &'static str, to: &'static str) -> ResourceRecord<'static> {
        let data = RData::CNAME(CNAME(Name::new(to).unwrap()));
        ResourceRecord::new(Name::new(owner).unwrap(), CLASS::IN, 60, data)
    }

    fn one() -> Verdict {
        Verdict::Records(vec![(1, 2, 443, "dm.example.org".to_owned())])
    }

    #[test]
    fn an_answer_counts_if_id_and_question_are_ours() {
        let plain = answer(7, |_| {});
        assert_eq!(judge(&plain, NAME, 7), one());
        assert_eq!(judge(&plain, "_DM._tcp.EXAMPLE.org", 7), one());
        assert_eq!(judge(&plain, NAME, 8), Verdict::Stray);
        assert_eq!(judge(&plain, "_dm._tcp.example.com", 7), Verdict::Stray);
        assert_eq!(judge(&query(NAME, 7).unwrap(), NAME, 7), Verdict::Stray);
        assert_eq!(judge(&answer(7, |it| it.questions.clear()), NAME, 7), Verdict::Stray);
    }

    #[test]
    fn an_answer_of_another_name_is_not_taken() {
        let verdict = judge(
            &answer(7, |it| it.answers = vec![record("_dm._tcp.example.com", "evil.example")]),
            NAME,
            7,
        );
        assert_eq!(verdict, Verdict::Failure(DnsFailure::NoRecords));
    }

    #[test]
    fn aliases_are_followed_and_a_circle_of_them_ends() {
        let chain = answer(7, |it| {
            it.answers =
                vec![alias("b.example.org", "c.example.org"), alias(NAME, "b.example.org")];
            it.answers.push(record("c.example.org", "dm.example.org"));
        });
        assert_eq!(judge(&chain, NAME, 7), one());
        let circle = answer(7, |it| {
            it.answers = vec![alias(NAME, "b.example.org"), alias("b.example.org", NAME)];
        });
        assert_eq!(judge(&circle, NAME, 7), Verdict::Failure(DnsFailure::NoRecords));
    }

    #[test]
    fn refusals_of_a_server_are_told_apart() {
        let code = |code| judge(&answer(7, |it| *it.rcode_mut() = code), NAME, 7);
        assert_eq!(code(RCODE::NameError), Verdict::Failure(DnsFailure::NoSuchName));
        assert!(matches!(code(RCODE::ServerFailure), Verdict::Useless(_)));
        assert!(matches!(code(RCODE::Refused), Verdict::Useless(_)));
        let truncated = answer(7, |it| it.set_flags(PacketFlag::TRUNCATION));
        assert_eq!(judge(&truncated, NAME, 7), Verdict::Truncated);
        let mut many = answer(7, |_| {});
        many[6] = 0xff;
        assert!(matches!(judge(&many, NAME, 7), Verdict::Useless(_)));
        let not_here = answer(7, |it| it.answers = vec![record(NAME, "")]);
        assert_eq!(judge(&not_here, NAME, 7), Verdict::Failure(DnsFailure::NoRecords));
    }

    #[test]
    fn priorities_come_first_and_weights_by_chance() {
        let record = |priority, weight, name: &str| (priority, weight, 1, name.to_owned());
        let records = || vec![record(2, 9, "late"), record(1, 30, "often"), record(1, 10, "rare")];
        let mut first = 0;
        for random in 0..4000 {
            let ordered = order(records(), random);
            assert_eq!(ordered[2].3, "late");
            first += u32::from(ordered[0].3 == "often");
        }
        assert!((2850..3050).contains(&first), "{first} of 4000");
        assert_eq!(order(records(), 5), order(records(), 5));
        assert_eq!(order(vec![record(0, 0, "a"), record(0, 0, "b")], 3).len(), 2);
        assert_eq!(order(Vec::new(), 3), []);
    }

    #[test]
    fn name_servers_are_read_as_the_c_library_does() {
        let text = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1\n\
                    nameserver\t2001:db8::1 # a comment\nnameserver fe80::1%1\noptions rotate\n\
                    nameserver 192.0.2.4\nnameserver nonsense\n";
        let found = parse_name_servers(text);
        let expected = ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%1]:53"];
        assert_eq!(found, expected.map(|text| text.parse().unwrap()));
        let none = name_servers(Path::new("/nonexistent/resolv.conf"));
        assert_eq!(none, ["127.0.0.1:53".parse().unwrap()]);
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_is_judged(octets: Vec<u8>, cut: usize, place: usize, octet: u8) {
            judge(&octets, NAME, 7);
            let mut message = answer(7, |it| it.answers.push(alias("b.example.org", NAME)));
            let length = message.len();
            message[place % length] = octet;
            judge(&message, NAME, 7);
            judge(&message[..cut % length], NAME, 7);
        }
    }
}
