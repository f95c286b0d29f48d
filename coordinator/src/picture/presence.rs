//! Members as their reports come and cease to come, and what becomes of their segments and tasks.

use std::collections::HashSet;

use segment::SegmentId;
use tracing::{info, warn};

use super::{Member, Picture};
use crate::command::{Report, Served, TaskState};
use crate::error::{Error, Result};
use crate::{metrics, node};

/// Former processes that are known again when their reports come late, of a node and of how many nodes.
const FORMER_PROCESSES_MAX: usize = 16;
const FORMER_NODES_MAX: usize = 10_000;

/// Who tells, as far as its rows and tasks are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    Member,
    /// The report came before, or a later one did.
    Stale,
}

impl Picture {
    /// Makes room for a report: from now on its process is the node.
    pub fn admit(&mut self, report: &Report, now: i64) -> Result<Admitted> {
        self.now = self.now.max(now);
        let (node, process) = (&report.member.node, report.member.process);
        if node.is_empty() {
            return Err(Error::Invalid("a node needs a name".to_string()));
        }
        let known = self.members.get(node).map(|member| (member.told.process, member.seq));
        if let Some((there, seq)) = known
            && there == process
        {
            if report.seq <= seq {
                return Ok(Admitted::Stale);
            }
        } else {
            self.check_former(report, known.is_some())?;
            self.lose(node, "another process of it has come");
            let is_expected = self.expected.remove(node).is_some_and(|expected| expected.process == process);
            if !is_expected {
                self.interrupt(node);
            }
            info!(node, process, address = report.member.address, "node joined");
            metrics::joined();
            self.members.insert(node.clone(), Member { is_trusted: is_expected, ..Member::default() });
            self.changed.nodes = true;
        }
        if let Some(member) = self.members.get_mut(node) {
            self.changed.nodes |= member.told != report.member;
            member.told = report.member.clone();
            member.seq = report.seq;
            member.heard_at = member.heard_at.max(now);
        }
        Ok(Admitted::Member)
    }

    /// Whether a process is a broker that may be granted a view: one that is on record, so that a later leader knows of it.
    pub fn is_broker(&self, node: &str, process: u64) -> bool {
        let is_recorded = self.on_record.get(node).is_some_and(|member| member.process == process);
        let member = self.members.get(node).filter(|member| member.told.process == process);
        let is_broker = member.is_some_and(|member| member.told.roles.contains(&node::Role::Broker));
        self.standing.is_begun() && is_recorded && is_broker
    }

    fn check_former(&mut self, report: &Report, has_follower: bool) -> Result<()> {
        let (node, process) = (&report.member.node, report.member.process);
        let Some(former) = self.former.get_mut(node) else { return Ok(()) };
        let Some(at) = former.iter().position(|(former, _)| *former == process) else { return Ok(()) };
        let is_last = at + 1 == former.len() && !has_follower;
        if !is_last {
            return Err(Error::Conflict(format!("another process has taken the name of node {node}")));
        }
        if report.seq <= former[at].1 {
            return Err(Error::Conflict(format!("the report of node {node} is older than its loss")));
        }
        former.pop();
        Ok(())
    }

    /// Takes a node out: nobody serves what it served, its tasks are to be started anew.
    pub fn lose(&mut self, node: &str, why: &str) {
        let Some(member) = self.members.remove(node) else { return };
        warn!(node, process = member.told.process, why, "node lost");
        metrics::lost();
        self.fleet.lose(node, self.now);
        member.published.iter().for_each(|id| self.changed.serves(id));
        self.changed.tables.extend(member.realtime.iter().map(|id| id.datasource.clone()));
        self.changed.nodes = true;
        self.revision += 1;
        if self.former.len() >= FORMER_NODES_MAX && !self.former.contains_key(node) {
            self.former.pop_first();
        }
        let former = self.former.entry(node.to_string()).or_default();
        if former.len() >= FORMER_PROCESSES_MAX {
            former.remove(0);
        }
        former.push((member.told.process, member.seq));
        self.interrupt(node);
    }

    /// The tasks of a node are run by nobody. What they read and did not publish may have been seen.
    pub fn interrupt(&mut self, node: &str) {
        let followed: HashSet<String> =
            self.tasks.values().flat_map(|task| task.record.follows.iter().cloned()).collect();
        for task in self.tasks.values_mut().filter(|task| task.node.as_deref() == Some(node)) {
            task.node = None;
            task.progress = None;
            if followed.contains(&task.record.id) {
                // All is published: a view that lacks rows of it knows which.
                continue;
            }
            if let (Some(supervisor), TaskState::Running) = (&task.record.supervisor, task.state) {
                self.unsettled.insert(supervisor.clone(), task.record.datasource.clone());
                self.changed.tables.insert(task.record.datasource.clone());
            }
        }
    }

    /// Loses members that were not heard of for the time of the lease, and those that an earlier leader knew and that do not
    /// come. A new leader waits as long.
    pub fn lose_silent(&mut self, now: i64, lease_ms: i64, except: &str) {
        if now.saturating_add(lease_ms) <= self.now {
            // The clock was set back. Who was heard of by what it told before would not be missed until it tells that again.
            self.members.values_mut().for_each(|member| member.heard_at = member.heard_at.min(now));
            self.expected_until = None;
            self.now = now;
        }
        self.now = self.now.max(now);
        if !self.expected.is_empty() {
            let until = *self.expected_until.get_or_insert(now.saturating_add(lease_ms));
            if until <= now {
                for node in std::mem::take(&mut self.expected).into_keys() {
                    warn!(node, "a node that was known has not come back");
                    self.interrupt(&node);
                }
            }
        }
        let is_silent = |member: &Member| now.saturating_sub(member.heard_at) >= lease_ms;
        let silent = self.members.iter().filter(|(node, member)| *node != except && is_silent(member));
        let silent: Vec<String> = silent.map(|(node, _)| node.clone()).collect();
        silent.iter().for_each(|node| self.lose(node, "it was not heard of"));
    }

    /// A node runs what it was not told to: nothing it has counts, until it has nothing of it left.
    pub fn distrust(&mut self, node: &str) {
        let Some(member) = self.members.get_mut(node).filter(|member| member.void.is_empty()) else { return };
        warn!(node, "a task runs there that runs elsewhere; its rows do not count");
        member.void.clone_from(&member.realtime);
        self.changed.tables.extend(member.realtime.iter().map(|id| id.datasource.clone()));
        self.interrupt(node);
    }

    /// Sets what a node serves.
    pub fn set_served(&mut self, node: &str, served: Served) {
        let Some(member) = self.members.get_mut(node) else { return };
        let published: HashSet<SegmentId> = served.published.into_iter().collect();
        let realtime: HashSet<SegmentId> = served.realtime.into_iter().collect();
        if !member.is_trusted {
            // It was lost, or comes from nowhere: what it read is read again by others.
            member.void.clone_from(&realtime);
            member.is_trusted = true;
        }
        member.has_told_served = true;
        member.void.retain(|id| realtime.contains(id));
        member.broken.retain(|id, _| !published.contains(id));
        member.settled_at = None;
        let tables = member.realtime.symmetric_difference(&realtime).map(|id| id.datasource.clone());
        self.changed.tables.extend(tables);
        member.realtime = realtime;
        let before = std::mem::replace(&mut member.published, published.clone());
        before.symmetric_difference(&published).for_each(|id| self.changed.serves(id));
    }

    /// Members whose record is another, and nodes on record that are none and are not waited for.
    pub fn members_to_record(&self) -> (Vec<node::Member>, Vec<String>) {
        let joined = self.members.iter().filter(|(node, member)| self.on_record.get(*node) != Some(&member.told));
        let is_gone = |node: &&String| !self.members.contains_key(*node) && !self.expected.contains_key(*node);
        let left = self.on_record.keys().filter(is_gone).cloned().collect();
        (joined.map(|(_, member)| member.told.clone()).collect(), left)
    }

    /// Realtime rows that a node tells of for the first time and that the picture knows nothing of.
    pub fn unknown(&self, report: &Report) -> Vec<SegmentId> {
        let Some(served) = &report.served else { return Vec::new() };
        let member = self.members.get(&report.member.node);
        let is_new = |id: &&SegmentId| !member.is_some_and(|member| member.realtime.contains(id));
        served.realtime.iter().filter(is_new).filter(|id| self.path(id).is_none()).cloned().collect()
    }

    /// Ends the marks of supervisors all of whose tasks have caught up. One that reads no more and has left nothing that
    /// could be read again keeps its mark.
    pub fn settle_marks(&mut self) {
        let settled = self.unsettled.keys().filter(|id| self.has_caught_up(id));
        let settled: Vec<String> = settled.cloned().collect();
        for id in settled {
            if let Some(datasource) = self.unsettled.remove(&id) {
                self.changed.tables.insert(datasource);
            }
        }
    }

    fn has_caught_up(&self, supervisor: &str) -> bool {
        let Some(entry) = self.supervisors.get(supervisor) else {
            return self.tasks_of(supervisor).next().is_none();
        };
        let row = &entry.row;
        let is_there = |group: u32| {
            // What one that reads no more had caught up with says nothing of what another has read since, and lost.
            let mut tasks = self.tasks_of(supervisor).filter(|task| task.record.group == group && !task.is_done());
            tasks.any(|task| task.record.generation == row.generation && task.caught_up())
        };
        (0..row.spec.task_count).all(is_there)
    }
}
