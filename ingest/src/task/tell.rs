//! What a task says of itself: its report, its metrics, and that it has caught up.

use super::Task;
use crate::positions::{PartitionKey, Positions};
use crate::report::{Phase, RowStats};

/// How often the report is renewed while records come.
const REPORT_EVERY_MS: i64 = 100;

impl Task {
    pub(super) fn report(&mut self, now: i64, is_reading: bool) {
        if is_reading && now - self.reported_at < REPORT_EVERY_MS {
            return;
        }
        self.reported_at = now;
        let positions = self.positions();
        let is_idle = self.setup.spec.io.idle_after_millis.is_some_and(|idle| now - self.last_record_at >= idle);
        let reached = |goal: &Positions| {
            goal.0.iter().all(|(key, end)| {
                positions.get(key).is_some_and(|position| self.watch.effective(key, position) >= *end)
            })
        };
        let is_caught_up = self.is_caught_up || (self.goal.as_ref().is_some_and(reached) && self.are_served_again());
        let (rows, rates) = self.intake.stats(now);
        let newest_event = self.intake.newest_event();
        self.measure(rows, &positions);
        let (sequence, watch) = (&self.sequence, &self.watch);
        let duration = self.setup.spec.io.task_duration_millis;
        if is_caught_up && !self.is_caught_up {
            self.is_caught_up = true;
            (self.setup.caught_up)();
        }
        self.setup.control.update(|report| {
            report.caught_up = self.is_caught_up;
            if report.phase != Phase::Publishing {
                report.phase = match (watch.answered_once, is_idle) {
                    (false, _) => Phase::Starting,
                    (true, true) => Phase::Idle,
                    (true, false) => Phase::Reading,
                };
            }
            report.start = sequence.from.clone();
            report.sequence_opened_at = sequence.opened_at;
            report.sequence_closes_at = sequence.opened_at.saturating_add(duration);
            report.positions = positions.clone();
            if watch.answers {
                report.ends = watch.ends();
                // Watermarks are older than what was read since.
                let read = |(key, end): (&PartitionKey, &mut i64)| *end = (*end).max(positions.get(key).unwrap_or(0));
                report.ends.0.iter_mut().for_each(read);
                report.ends_at = now;
            }
            let restored = report.rows.restored;
            report.rows = rows;
            report.rows.restored = restored;
            report.newest_event = newest_event;
            report.rates = rates;
        });
    }

    pub(super) fn measure(&mut self, rows: RowStats, positions: &Positions) {
        let (metrics, before) = (&self.metrics, std::mem::replace(&mut self.measured, rows));
        let taken = |stats: &RowStats| stats.processed + stats.processed_with_error;
        metrics.rows_processed.increment(taken(&rows) - taken(&before));
        metrics.rows_unparseable.increment(rows.unparseable - before.unparseable);
        metrics.rows_thrown_away.increment(rows.thrown_away.total() - before.thrown_away.total());
        metrics.bytes_processed.increment(rows.processed_bytes - before.processed_bytes);
        metrics.lag_records.set(positions.lag(&self.watch.ends()).values().sum::<i64>() as f64);
        let appender = &self.sequence.appender;
        let indexes = appender.indexes().map(|open| &open.index).chain(&self.closed);
        let sealed: usize = indexes.map(|index| index.bytes_sealed()).sum();
        metrics.memory_bytes.set((appender.bytes_in_memory() + sealed) as f64);
    }

    /// Whether the segments that were published before a crash are served again.
    pub(super) fn are_served_again(&mut self) -> bool {
        let (ledger, runtime) = (&self.setup.ports.ledger, &self.setup.runtime);
        self.to_be_served.retain(|id| !runtime.block_on(ledger.is_served(id)).unwrap_or(false));
        self.to_be_served.is_empty()
    }
}
