//! Which partitions a task reads, and from where: new ones are taken in as they are seen, and those whose next records are
//! gone are told of, or passed over where the spec says so.

use super::Task;
use crate::error::Result;
use crate::ledger::{Publication, PublishMode};
use crate::positions::Positions;
use crate::report::Condition;
use crate::source::Range;

impl Task {
    /// Looks at what the watcher saw: new partitions, lost records, whether the stream answers.
    pub(super) fn look(&mut self) -> Result<()> {
        if self.source.looks() == self.looks {
            return Ok(());
        }
        self.watch = self.source.watch();
        self.looks = self.watch.looks;
        if self.watch.answers {
            self.adopt_partitions()?;
        }
        let problem = self.watch.problem.clone();
        let condition = match (self.watch.answers, problem) {
            (true, problem) => match self.lost.clone().or(problem) {
                Some(reason) => Condition::StreamProblem(reason),
                None => Condition::Healthy,
            },
            (false, None) => Condition::Connecting,
            (false, Some(reason)) if self.watch.answered_once => Condition::LostContact(reason),
            (false, Some(reason)) => Condition::UnableToConnect(reason),
        };
        self.setup.control.set_stream(condition);
        Ok(())
    }

    pub(super) fn adopt_partitions(&mut self) -> Result<()> {
        let initial = self.initial.get_or_insert_with(|| self.watch.partitions.clone());
        let io = &self.setup.spec.io;
        let edge = |range: &Range| if io.use_earliest_offset { range.low } else { range.high };
        let automatic = self.setup.spec.tuning.reset_offset_automatically;
        let mut lost = None;
        let mut assign = Positions::default();
        let mut chosen = Positions::default();
        for (key, range) in &self.watch.ranges {
            let assigned = self.source.position(key);
            let (position, is_known) = match assigned.or(self.known.get(key)) {
                Some(position) => (position, true),
                None if self.first_ever && initial.contains(key) => (edge(range), false),
                None => (range.low, false),
            };
            // The end as seen may be older than what was read since; what was never read, or was refused before this
            // look began, cannot be ahead of it (a topic that was deleted and made again, say).
            let is_refused = |(looks, at): &(u64, Positions)| self.looks > looks + 1 && at.get(key) == assigned;
            let is_read = assigned.is_some() && !self.refused.as_ref().is_some_and(is_refused);
            let is_gone = position < range.low || (!is_read && position > range.high);
            if is_known && is_gone {
                let reason = format!(
                    "the next record of partition {key}, {position}, is not among those the brokers have ({} to {}); \
                     reset the supervisor's offsets, or set tuningConfig.resetOffsetAutomatically",
                    range.low, range.high
                );
                if !automatic {
                    lost.get_or_insert(reason);
                    continue;
                }
                let to = edge(range);
                self.setup.control.add_incident(format!("{reason}; went on at {to}"), true);
                if assigned.is_some() {
                    self.source.seek(key, to)?;
                } else {
                    assign.0.insert(key.clone(), to);
                    self.sequence.from.0.insert(key.clone(), position);
                }
                continue;
            }
            if assigned.is_none() {
                assign.0.insert(key.clone(), position);
                if self.sequence.from.get(key).is_none() {
                    self.sequence.from.0.insert(key.clone(), position);
                }
                if !is_known {
                    chosen.0.insert(key.clone(), position);
                }
            }
        }
        self.lost = lost;
        if !chosen.is_empty() {
            self.commit_starts(chosen)?;
        }
        if !assign.is_empty() {
            self.source.assign(&assign)?;
            tracing::info!(task = self.setup.order.id, from = %assign, "reading partitions");
        }
        if self.goal.is_none() && self.watch.ranges.len() >= self.watch.partitions.len() {
            self.goal = Some(self.watch.ends());
        }
        Ok(())
    }

    /// Puts on record where partitions start, before they are read: the edge of the log that was chosen will have moved
    /// when a next life asks, and what follows on a start must be told from what does not.
    pub(super) fn commit_starts(&mut self, starts: Positions) -> Result<()> {
        let publication = Publication {
            task: self.setup.order.id.clone(),
            attempt: self.setup.order.attempt,
            supervisor: Some(self.setup.supervisor.clone()),
            datasource: self.setup.order.datasource.clone(),
            segments: Vec::new(),
            from: Positions::default(),
            to: starts,
            mode: PublishMode::Append,
        };
        let ledger = &self.setup.ports.ledger;
        let publish = || ledger.publish(&publication);
        self.setup.runtime.block_on(self.setup.control.retry("record where partitions start", publish))?;
        self.known.advance(&publication.to);
        Ok(())
    }

    /// The next offset of each partition, also of those that are not assigned yet.
    pub(super) fn positions(&self) -> Positions {
        let mut positions = self.known.clone();
        positions.advance(&self.source.positions());
        positions
    }

    /// Where the sequence has come to.
    pub(super) fn reached(&self) -> Positions {
        let mut reached = self.sequence.from.clone();
        reached.advance(&self.positions());
        reached
    }
}
