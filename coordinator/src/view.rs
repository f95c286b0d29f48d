//! What brokers see: of each datasource the segments that count and who serves them, the realtime rows that count, and
//! where rows are known to be missing.
//!
//! A view is one cut: at every instant of time its rows are those of the catalog before some publication or after it, never
//! of both and never of neither. The leader makes one after another (`standing.rs`), each with a number greater than that
//! of all before, those of earlier leaders too. A broker takes the first in full and then the changes; whichever way it
//! came by the view of a number, it is the same. While nobody leads, the last one stands.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use segment::timeline::Timeline;
use segment::{Interval, SegmentId};
use serde::{Deserialize, Serialize};

use crate::node::{Member, Role};

/// So many changes are kept for brokers that follow; who is further behind takes the whole.
const CHANGES_KEPT: usize = 65_536;

/// In the order in which views are made. The `number` of no view is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ViewNumber {
    /// Of the leader that made it.
    pub epoch: i64,
    pub number: u64,
}

/// A node as brokers know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewNode {
    pub address: String,
    pub process: u64,
    pub roles: Vec<Role>,
    pub tier: String,
    pub priority: i64,
}

/// A published segment that counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// How many partitions its set must have to be seen, see `SegmentMeta::core_partitions`.
    pub core: u32,
    /// Who serves it, by name. Nobody: its interval is among the incomplete ones, or rules have it loaded nowhere and it
    /// stands here because it hides older rows.
    pub nodes: Vec<String>,
}

/// A datasource.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub published: Timeline<Placed>,
    /// Rows that are not published, or are not seen as published yet, each with the one node that answers for them. No
    /// version hides them.
    pub realtime: BTreeMap<SegmentId, String>,
    /// Where rows are missing: in order, not overlapping.
    pub incomplete: Vec<Interval>,
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub number: ViewNumber,
    pub nodes: Arc<BTreeMap<String, ViewNode>>,
    /// By name; those of which anything is known.
    pub tables: BTreeMap<String, Arc<Table>>,
}

/// What a view is after others. `None` stands for what is gone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ViewChanges {
    pub nodes: BTreeMap<String, Option<ViewNode>>,
    pub tables: BTreeMap<String, TableChanges>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableChanges {
    pub published: Vec<(Name, Option<Placed>)>,
    pub realtime: Vec<(Name, Option<String>)>,
    pub incomplete: Option<Vec<Interval>>,
}

/// A segment within its datasource: interval, version, partition.
pub type Name = (Interval, String, u32);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ViewUpdate {
    /// There is none newer.
    Unchanged,
    /// A whole view, as changes of the empty one.
    Full {
        number: ViewNumber,
        changes: ViewChanges,
    },
    Changes {
        from: ViewNumber,
        to: ViewNumber,
        changes: ViewChanges,
    },
}

impl View {
    /// Whether the view is another one now. What is older than it, or does not begin where it is, leaves it as it is: a broker
    /// then asks for what has come since [`View::number`].
    pub fn apply(&mut self, update: &ViewUpdate) -> bool {
        match update {
            ViewUpdate::Full { number, changes } if *number > self.number => {
                *self = View::default();
                self.change(changes, *number);
                true
            }
            ViewUpdate::Changes { from, to, changes } if *from == self.number && *to > self.number => {
                self.change(changes, *to);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn change(&mut self, changes: &ViewChanges, number: ViewNumber) {
        self.number = number;
        if !changes.nodes.is_empty() {
            let nodes = Arc::make_mut(&mut self.nodes);
            for (name, node) in &changes.nodes {
                match node {
                    Some(node) => drop(nodes.insert(name.clone(), node.clone())),
                    None => drop(nodes.remove(name)),
                }
            }
        }
        for (datasource, changes) in &changes.tables {
            let table = Arc::make_mut(self.tables.entry(datasource.clone()).or_default());
            table.change(datasource, changes);
            if table.is_empty() {
                self.tables.remove(datasource);
            }
        }
    }

    /// The whole of it, as changes of the empty view.
    pub fn image(&self) -> ViewUpdate {
        let mut changes = ViewChanges::default();
        changes.nodes.extend(self.nodes.iter().map(|(name, node)| (name.clone(), Some(node.clone()))));
        for (datasource, table) in &self.tables {
            let published = table.published.iter().map(|(id, placed)| (name(id), Some(placed.clone())));
            let realtime = table.realtime.iter().map(|(id, node)| (name(id), Some(node.clone())));
            let incomplete = (!table.incomplete.is_empty()).then(|| table.incomplete.clone());
            let of = TableChanges { published: published.collect(), realtime: realtime.collect(), incomplete };
            changes.tables.insert(datasource.clone(), of);
        }
        ViewUpdate::Full { number: self.number, changes }
    }
}

impl Table {
    pub fn is_empty(&self) -> bool {
        self.published.is_empty() && self.realtime.is_empty() && self.incomplete.is_empty()
    }

    fn change(&mut self, datasource: &str, changes: &TableChanges) {
        for (name, placed) in &changes.published {
            let id = id(datasource, name);
            match placed {
                Some(placed) => drop(self.published.add_partition(id, placed.core, placed.clone())),
                None => drop(self.published.remove(&id)),
            }
        }
        for (name, node) in &changes.realtime {
            let id = id(datasource, name);
            match node {
                Some(node) => drop(self.realtime.insert(id, node.clone())),
                None => drop(self.realtime.remove(&id)),
            }
        }
        if let Some(incomplete) = &changes.incomplete {
            self.incomplete = incomplete.clone();
        }
    }
}

impl ViewChanges {
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.tables.is_empty()
    }

    /// How much it is to keep and to send.
    fn len(&self) -> usize {
        let of = |changes: &TableChanges| {
            1 + changes.published.len() + changes.realtime.len() + changes.incomplete.as_ref().map_or(0, Vec::len)
        };
        self.nodes.len() + self.tables.values().map(of).sum::<usize>()
    }

    /// Adds what came after it.
    fn extend(&mut self, later: &ViewChanges) {
        self.nodes.extend(later.nodes.iter().map(|(name, node)| (name.clone(), node.clone())));
        for (datasource, later) in &later.tables {
            let table = self.tables.entry(datasource.clone()).or_default();
            // They are applied in order, so that of one name the last says how it is.
            table.published.extend(later.published.iter().cloned());
            table.realtime.extend(later.realtime.iter().cloned());
            if later.incomplete.is_some() {
                table.incomplete.clone_from(&later.incomplete);
            }
        }
    }
}

impl From<&Member> for ViewNode {
    fn from(member: &Member) -> ViewNode {
        ViewNode {
            address: member.address.clone(),
            process: member.process,
            roles: member.roles.clone(),
            tier: member.tier.clone(),
            priority: member.priority,
        }
    }
}

pub(crate) fn name(id: &SegmentId) -> Name {
    (id.interval, id.version.clone(), id.partition)
}

pub(crate) fn id(datasource: &str, (interval, version, partition): &Name) -> SegmentId {
    let (datasource, version) = (datasource.to_string(), version.clone());
    SegmentId { datasource, interval: *interval, version, partition: *partition }
}

/// The newest view with the changes that led to it, as far as they are kept.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    pub view: Arc<View>,
    /// Each with the number it starts from and the one it leads to.
    kept: VecDeque<(ViewNumber, ViewNumber, ViewChanges)>,
    kept_len: usize,
}

impl Feed {
    /// Makes the next view. An empty change makes the first one of an epoch.
    pub fn add(&mut self, epoch: i64, changes: ViewChanges) -> ViewNumber {
        let from = self.view.number;
        let to = ViewNumber { epoch, number: if from.epoch == epoch { from.number + 1 } else { 1 } };
        Arc::make_mut(&mut self.view).change(&changes, to);
        self.kept_len += changes.len();
        self.kept.push_back((from, to, changes));
        while self.kept_len > CHANGES_KEPT || self.kept.len() > CHANGES_KEPT {
            let Some((_, _, changes)) = self.kept.pop_front() else { break };
            self.kept_len -= changes.len();
        }
        to
    }

    pub fn since(&self, number: ViewNumber) -> ViewUpdate {
        // Before its first view a leader knows nothing that others did not.
        if number >= self.view.number || self.view.number.number == 0 {
            return ViewUpdate::Unchanged;
        }
        let Ok(at) = self.kept.binary_search_by(|(from, _, _)| from.cmp(&number)) else { return self.view.image() };
        // The first view of a leader begins with nothing, and not where that of the one before it ended.
        if number.number == 0 {
            return self.view.image();
        }
        let mut changes = ViewChanges::default();
        self.kept.range(at..).for_each(|(_, _, later)| changes.extend(later));
        ViewUpdate::Changes { from: number, to: self.view.number, changes }
    }
}
