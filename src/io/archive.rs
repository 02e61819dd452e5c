//! An archive that any tar reads (POSIX.1-1988 ustar), in gzip's frame (RFC 1952) without
//! compression: whoever gets it compresses it if he likes, and the gateway needs no library for it.

/// Files on their way into an archive.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    tar: Vec<u8>,
}

const BLOCK: usize = 512;

/// Most octets of one stored block of deflate.
const STORED: usize = 0xffff;

impl Archive {
    /// Adds a file. Its name has at most 100 octets, its time is in seconds since 1970.
    pub fn add(&mut self, name: &str, octets: &[u8], time: u64) {
        let mut head = [0; BLOCK];
        put(&mut head, 0, 100, name.as_bytes());
        put(&mut head, 100, 8, b"0000600\0");
        put(&mut head, 108, 8, b"0000000\0");
        put(&mut head, 116, 8, b"0000000\0");
        put(&mut head, 124, 12, format!("{:011o}\0", octets.len()).as_bytes());
        put(&mut head, 136, 12, format!("{:011o}\0", time & 0o77_777_777_777).as_bytes());
        put(&mut head, 148, 8, b"        ");
        put(&mut head, 156, 1, b"0");
        put(&mut head, 257, 8, b"ustar\x0000");
        let sum: u32 = head.iter().map(|octet| u32::from(*octet)).sum();
        put(&mut head, 148, 8, format!("{sum:06o}\0 ").as_bytes());
        self.tar.extend_from_slice(&head);
        self.tar.extend_from_slice(octets);
        self.tar.resize(self.tar.len().next_multiple_of(BLOCK), 0);
    }

    /// The archive, with gzip around it.
    pub fn finish(mut self) -> Vec<u8> {
        self.tar.resize(self.tar.len() + 2 * BLOCK, 0);
        let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let mut blocks = self.tar.chunks(STORED).peekable();
        while let Some(block) = blocks.next() {
            let length = block.len() as u16;
            out.push(u8::from(blocks.peek().is_none()));
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&(!length).to_le_bytes());
            out.extend_from_slice(block);
        }
        out.extend_from_slice(&crc32(&self.tar).to_le_bytes());
        out.extend_from_slice(&(self.tar.len() as u32).to_le_bytes());
        out
    }
}

fn put(head: &mut [u8; BLOCK], at: usize, most: usize, octets: &[u8]) {
    for (place, octet) in head.iter_mut().skip(at).take(most).zip(octets) {
        *place = *octet;
    }
}

fn crc32(octets: &[u8]) -> u32 {
    !octets.iter().fold(u32::MAX, |sum, octet| {
        (0..8).fold(sum ^ u32::from(*octet), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
