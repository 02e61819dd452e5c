//! What is given to be decoded: a file, standard input or hex digits.

use std::io::{self, Read as _};
use std::path::Path;

/// Most octets read from a file or standard input: everything the gateway decodes is smaller.
const LARGEST_INPUT: u64 = 1024 * 1024;

/// The octets that a file, standard input (`-`) or hex digits hold.
///
/// # Errors
/// A sentence, if there are none, more than 1 MiB, or a capture of packets instead of a message.
pub(super) fn octets_of(input: &str) -> Result<Vec<u8>, String> {
    let path = Path::new(input);
    let octets = if input == "-" {
        limited(io::stdin().lock()).map_err(|error| format!("cannot read standard input: {error}"))
    } else if path.is_file() {
        let read = std::fs::File::open(path).and_then(limited);
        read.map_err(|error| format!("cannot read {input}: {error}"))
    } else if input.trim_start().starts_with('<') {
        Ok(input.as_bytes().to_vec())
    } else {
        let octets = unhex(input.as_bytes());
        return octets.ok_or_else(|| {
            format!("`{input}` is neither a file nor hex; try: dm-gateway decode 0106 03C4 AF87")
        });
    }?;
    if is_capture(&octets) {
        return Err(format!(
            "{input} is a capture of packets, not one message; try: tshark -r {input} -Y \
             'udp.port == 2948' -T fields -e udp.payload | while read hex; do dm-gateway decode \
             $hex; done"
        ));
    }
    if octets.is_empty() {
        return Err(
            "the input is empty; try: a file, hex digits, or - with something to read".into()
        );
    }
    Ok(unhex(&octets).unwrap_or(octets))
}

fn limited(source: impl io::Read) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    source.take(LARGEST_INPUT + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > LARGEST_INPUT && !is_capture(&octets) {
        return Err(io::Error::other("larger than 1 MiB, which nothing here is"));
    }
    Ok(octets)
}

/// The octets that hex text stands for; `None` if it is something else, or no octet at all.
pub(super) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let mut digits = Vec::new();
    let between = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b':' | b',');
    for word in text.split(between) {
        let word = word.strip_prefix(b"0x").unwrap_or(word);
        for &octet in word {
            digits.push(char::from(octet).to_digit(16)? as u8);
        }
    }
    let pairs = digits.chunks_exact(2);
    (!digits.is_empty() && pairs.remainder().is_empty())
        .then(|| pairs.map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect())
}

/// Whether octets are the beginning of a file of pcap, in either order of octets, or pcapng.
fn is_capture(octets: &[u8]) -> bool {
    const MAGIC: [[u8; 4]; 5] = [
        [0xa1, 0xb2, 0xc3, 0xd4],
        [0xd4, 0xc3, 0xb2, 0xa1],
        [0xa1, 0xb2, 0x3c, 0x4d],
        [0x4d, 0x3c, 0xb2, 0xa1],
        [0x0a, 0x0d, 0x0d, 0x0a],
    ];
    MAGIC.iter().any(|magic| octets.starts_with(magic))
}
