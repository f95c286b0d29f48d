//! When the rows of a task leave its memory, and what is written then: all of them at one batch boundary, in the background,
//! while reading goes on until memory is full a second time.

use super::Task;
use crate::appender::Open;
use crate::error::Result;
use crate::restore::Manifest;
use crate::sequence::{Persist, joined};

impl Task {
    pub(super) fn is_memory_full(&self) -> bool {
        let appender = &self.sequence.appender;
        appender.rows_in_memory() >= self.setup.spec.tuning.max_rows_in_memory
            || appender.bytes_in_memory() >= self.setup.bytes_max()
    }

    /// Whether rows that wait to be written, together with those in memory, take twice what memory may.
    pub(super) fn is_too_much_set_aside(&mut self) -> bool {
        self.closed.retain(|index| index.bytes_sealed() > 0);
        let appender = &self.sequence.appender;
        let open = appender.indexes().map(|open| &open.index);
        let sealed: usize = open.chain(&self.closed).map(|index| index.bytes_sealed()).sum();
        sealed > 0 && sealed + appender.bytes_in_memory() >= self.setup.bytes_max().saturating_mul(2)
    }

    pub(super) fn is_persist_due(&self, now: i64) -> bool {
        now - self.sequence.persisted_at >= self.setup.spec.tuning.intermediate_persist_millis
            && self.sequence.persisted != self.reached()
    }

    /// Sets everything in memory aside and writes it in the background. `false` if the last time is not over.
    pub(super) fn start_persist(&mut self) -> Result<bool> {
        if self.persisting.is_some() {
            self.check_background()?;
            if self.persisting.is_some() {
                return Ok(false);
            }
        }
        let persist = self.seal(false);
        self.sequence.persisted = persist.manifest.reached.clone();
        self.sequence.persisted_at = self.setup.control.now();
        self.persisting = Some(self.persister.start(persist, None));
        Ok(true)
    }

    /// The state of the sequence at this batch boundary, its rows out of memory.
    pub(super) fn seal(&self, closed: bool) -> Persist {
        let indexes: Vec<Open> = self.sequence.appender.indexes().cloned().collect();
        indexes.iter().for_each(|open| {
            open.index.seal();
        });
        let reached = self.reached();
        let pieces = indexes.iter().map(|open| open.index.pieces()).collect();
        let manifest = Manifest {
            sequence: self.sequence.name.clone(),
            generation: self.setup.order.generation,
            fingerprint: self.fingerprint.clone(),
            from: self.sequence.from.clone(),
            reached,
            closed,
            opened_at: self.sequence.opened_at,
            segments: Vec::new(),
        };
        Persist { folder: self.sequence.folder.clone(), manifest, indexes, pieces }
    }

    pub(super) fn finish_persist(&mut self) -> Result<()> {
        let Some(persisting) = self.persisting.take() else { return Ok(()) };
        self.setup.runtime.block_on(joined(persisting))
    }
}
