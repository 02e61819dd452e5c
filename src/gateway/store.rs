//! What keeps the gateway's memory over a restart: octet strings under octet strings.
//!
//! The gateway never calls a store. It emits [`Output::Commit`](super::seam::Output::Commit) and
//! waits for [`Input::Committed`](super::seam::Input::Committed); whoever runs it owns the store.

use std::collections::BTreeMap;

use super::seam::{Change, StoreError};

/// A key with its value, both opaque.
pub type Record = (Vec<u8>, Vec<u8>);

/// Records one behind the other in one piece of memory, so that thousands of them can be read and
/// let go without leaving holes in the heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    octets: Vec<u8>,
    /// Where the key and the value of each record end.
    ends: Vec<(usize, usize)>,
}

impl Records {
    /// Adds a record.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.octets.extend_from_slice(key);
        let key_end = self.octets.len();
        self.octets.extend_from_slice(value);
        self.ends.push((key_end, self.octets.len()));
    }

    /// The records, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        (0..self.ends.len()).map(|index| {
            let begin = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
            let (key_end, end) = self.ends[index];
            (&self.octets[begin..key_end], &self.octets[key_end..end])
        })
    }

    /// The records as values of their own.
    pub fn to_vec(&self) -> Vec<Record> {
        self.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }
}

/// A durable map from octet strings to octet strings. Calls may block on flash.
pub trait Store {
    /// Every record, in the order of the keys.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn load(&mut self) -> Result<Records, StoreError>;

    /// Applies several commits in their order. `Ok` means that all of them are on flash and
    /// survive a power cut.
    ///
    /// # Errors
    ///
    /// At least one of them is not durable. None may be taken as done; any may show up again
    /// after a restart.
    fn commit(&mut self, batch: &[Vec<Change>]) -> Result<(), StoreError>;
}

/// A [`Store`] in memory that can be told to fail, for tests and simulations.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    failures: usize,
}

impl MemoryStore {
    /// Makes the next `count` calls of [`commit`](Store::commit) fail without any effect.
    pub fn fail_next(&mut self, count: usize) {
        self.failures = count;
    }

    /// The records as they are now.
    pub fn records(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.records
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Records, StoreError> {
        let mut records = Records::default();
        self.records.iter().for_each(|(key, value)| records.push(key, value));
        Ok(records)
    }

    fn commit(&mut self, batch: &[Vec<Change>]) -> Result<(), StoreError> {
        if let Some(left) = self.failures.checked_sub(1) {
            self.failures = left;
            return Err(StoreError("told to fail".to_owned()));
        }
        for change in batch.iter().flatten() {
            match &change.value {
                Some(value) => {
                    self.records.insert(change.key.clone(), value.clone());
                }
                None => {
                    self.records.remove(&change.key);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: Option<&str>) -> Change {
        Change { key: key.into(), value: value.map(Into::into) }
    }

    #[test]
    fn commits_of_a_batch_apply_in_their_order() {
        let mut store = MemoryStore::default();
        let batch = [vec![put("a", Some("1")), put("b", Some("2"))], vec![put("a", None)]];
        store.commit(&batch).unwrap();
        assert_eq!(store.load().unwrap().to_vec(), [(b"b".to_vec(), b"2".to_vec())]);
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut records = Records::default();
        let all: [(&[u8], &[u8]); 3] = [(b"", b"1"), (b"a", b""), (b"bc", b"23")];
        all.iter().for_each(|(key, value)| records.push(key, value));
        assert!(records.iter().eq(all));
        assert_eq!(records.iter().len(), 3);
    }

    #[test]
    fn a_store_told_to_fail_changes_nothing_and_recovers() {
        let mut store = MemoryStore::default();
        store.fail_next(1);
        assert!(store.commit(&[vec![put("a", Some("1"))]]).is_err());
        assert!(store.records().is_empty());
        store.commit(&[vec![put("a", Some("1"))]]).unwrap();
        assert_eq!(store.records().len(), 1);
    }
}
