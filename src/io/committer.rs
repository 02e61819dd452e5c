//! Group commit: changes on their way to the store, on a thread that may block.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::clock::since_boot;
use crate::gateway::seam::{Change, CommitId, StoreError};
use crate::gateway::store::{Records, Store};
use crate::limits::STORE_RETRY;

/// Figures of a [`Committer`] since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitStats {
    /// Batches that became durable, each with one flush.
    pub flushes: u64,
    /// Commits in them.
    pub commits: u64,
    /// Commits that were refused.
    pub failed: u64,
    /// What was wrong; none once a later batch became durable.
    pub last_error: Option<StoreError>,
}

/// Group commit: all commits that wait go to the store as one batch, on a thread that may block.
///
/// For a single-threaded executor. Without commits it never wakes up.
#[derive(Debug)]
pub struct Committer<S> {
    /// Empty while a batch is on its way.
    store: RefCell<Option<S>>,
    submit: smol::channel::Sender<(CommitId, Vec<Change>)>,
    waiting: smol::channel::Receiver<(CommitId, Vec<Change>)>,
    retry: Duration,
    /// When the last batch failed, as time since boot.
    failed_at: Cell<Option<Duration>>,
    stats: RefCell<CommitStats>,
}

impl<S: Store + Send + 'static> Committer<S> {
    /// A committer to `store` that leaves a store which failed alone for [`STORE_RETRY`].
    pub fn new(store: S) -> Self {
        Self::with_retry(store, STORE_RETRY)
    }

    /// A committer that leaves a store which failed alone for `retry`; what is submitted
    /// meanwhile fails at once with the same error.
    pub fn with_retry(store: S, retry: Duration) -> Self {
        let (submit, waiting) = smol::channel::unbounded();
        Self {
            store: RefCell::new(Some(store)),
            submit,
            waiting,
            retry,
            failed_at: Cell::new(None),
            stats: RefCell::default(),
        }
    }

    /// Queues one commit, without blocking. After [`close`](Self::close) it is dropped with a
    /// warning and never reported.
    pub fn submit(&self, commit: CommitId, changes: Vec<Change>) {
        if self.submit.try_send((commit, changes)).is_err() {
            log::warn!("a commit came after the store was closed");
        }
    }

    /// Lets [`run`](Self::run) return once everything submitted is done.
    pub fn close(&self) {
        self.submit.close();
    }

    /// Commits until [`close`](Self::close); call it once. `on_done` hears of every commit, in
    /// the order of submission.
    pub async fn run(&self, on_done: impl Fn(CommitId, Result<(), StoreError>)) {
        while let Ok(first) = self.waiting.recv().await {
            let (mut ids, mut batch) = (vec![first.0], vec![first.1]);
            while let Ok((id, changes)) = self.waiting.try_recv() {
                ids.push(id);
                batch.push(changes);
            }
            let result = self.commit(batch).await;
            self.count(ids.len() as u64, &result);
            for id in ids {
                on_done(id, result.clone());
            }
        }
    }

    /// Every record, as far as they are durable; `None` while a commit has the store.
    pub fn records(&self) -> Option<Result<Records, StoreError>> {
        self.store.borrow_mut().as_mut().map(Store::load)
    }

    /// The figures now.
    pub fn stats(&self) -> CommitStats {
        self.stats.borrow().clone()
    }

    async fn commit(&self, batch: Vec<Vec<Change>>) -> Result<(), StoreError> {
        if let Some(failed_at) = self.failed_at.get() {
            if since_boot().saturating_sub(failed_at) < self.retry {
                if let Some(error) = self.stats.borrow().last_error.clone() {
                    return Err(error);
                }
            }
        }
        let Some(mut store) = self.store.take() else {
            return Err(StoreError("the store was lost in an earlier commit".to_owned()));
        };
        let (store, result) = smol::unblock(move || {
            let result = store.commit(&batch);
            (store, result)
        })
        .await;
        self.store.replace(Some(store));
        let failed_at = result.is_err().then(since_boot);
        if let Err(e) = &result {
            if self.failed_at.get().is_none() {
                log::error!("{e}; trying again every {} s", self.retry.as_secs());
            }
        }
        self.failed_at.set(failed_at);
        result
    }

    fn count(&self, commits: u64, result: &Result<(), StoreError>) {
        let mut stats = self.stats.borrow_mut();
        match result {
            Ok(()) => {
                stats.flushes += 1;
                stats.commits += commits;
                stats.last_error = None;
            }
            Err(e) => {
                stats.failed += commits;
                stats.last_error = Some(e.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use smol::LocalExecutor;

    use super::*;
    use crate::gateway::store::MemoryStore;

    fn put(key: u64) -> Vec<Change> {
        vec![Change { key: key.to_be_bytes().to_vec(), value: Some(b"x".to_vec()) }]
    }

    fn run(committer: &Committer<MemoryStore>) -> Vec<(u64, bool)> {
        let done = RefCell::new(Vec::new());
        committer.close();
        smol::block_on(committer.run(|id, result| done.borrow_mut().push((id.0, result.is_ok()))));
        done.into_inner()
    }

    #[test]
    fn all_waiting_commits_go_in_one_flush_and_are_reported_in_order() {
        let committer = Committer::new(MemoryStore::default());
        (0..100).for_each(|id| committer.submit(CommitId(id), put(id)));
        assert_eq!(run(&committer), (0..100).map(|id| (id, true)).collect::<Vec<_>>());
        let stats = committer.stats();
        assert_eq!((stats.flushes, stats.commits, stats.last_error), (1, 100, None));
        assert_eq!(committer.store.take().unwrap().records().len(), 100);
    }

    #[test]
    fn a_failed_batch_fails_for_all_in_it() {
        let mut store = MemoryStore::default();
        store.fail_next(1);
        let committer = Committer::new(store);
        (0..3).for_each(|id| committer.submit(CommitId(id), put(id)));
        assert_eq!(run(&committer), [(0, false), (1, false), (2, false)]);
        assert_eq!(committer.stats().failed, 3);
        assert!(committer.stats().last_error.is_some());
    }

    #[test]
    fn a_store_that_failed_is_left_alone_until_the_retry_time() {
        let retry = Duration::from_secs(1);
        let mut store = MemoryStore::default();
        store.fail_next(1);
        let committer = Committer::with_retry(store, retry);
        let done = RefCell::new(Vec::new());
        let executor = LocalExecutor::new();
        let task = executor.spawn(committer.run(|id, result| {
            done.borrow_mut().push((id.0, result.is_ok()));
        }));
        smol::block_on(executor.run(async {
            for (id, wait) in [(0, Duration::ZERO), (1, retry), (2, Duration::ZERO)] {
                committer.submit(CommitId(id), put(id));
                while done.borrow().last().map(|(id, _)| *id) != Some(id) {
                    async_io::Timer::after(Duration::from_millis(5)).await;
                }
                async_io::Timer::after(wait).await;
            }
            committer.close();
            task.await;
        }));
        assert_eq!(*done.borrow(), [(0, false), (1, false), (2, true)]);
        assert_eq!(committer.stats().last_error, None);
    }
}
