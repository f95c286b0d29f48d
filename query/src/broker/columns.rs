//! What is told of tables and their columns, from the inventory here or from the nodes of a cluster.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;

use segment::schema::{TIME, ValueType};
use segment::{Interval, SegmentId};

use super::{Broker, TableColumns};
use crate::admission::Principal;
use crate::budget::Budget;
use crate::engine::Piece;
use crate::error::{Error, Result};
use crate::language::Scope;
use crate::policy::{Action, Kind, Restriction};
use crate::scatter::Request;
use crate::view::seen_of;
use crate::wire::columns::PieceColumns;

/// Tables and callers' views of them whose columns are kept.
const COLUMNS_KEPT_MAX: usize = 4096;

/// Segments of the cluster, and callers' views of them, whose columns are kept: a million columns, at some dozens a segment.
const SEGMENTS_KEPT_MAX: usize = 32_768;

/// How long nodes are waited for when columns are asked for without a query.
const COLUMNS_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// How often rules are looked at while nodes are waited for.
const RULES_LOOK: std::time::Duration = std::time::Duration::from_millis(50);

impl Broker {
    /// The tables that the caller may see, by name; without the store's own.
    pub fn datasources(&self, who: &Principal) -> Vec<String> {
        let rules = self.authorizer().current();
        let mut names = self.all_datasources();
        names.retain(|name| !segment::is_system(name) && rules.may(who, Kind::Datasource, name, Action::Read));
        names
    }

    fn all_datasources(&self) -> Vec<String> {
        match &self.cluster {
            None => self.node.inventory.datasources(),
            Some(cluster) => {
                let mut names = cluster.view.datasources();
                names.sort_unstable();
                names.dedup();
                names
            }
        }
    }

    /// What `/druid/v2/datasources/{name}` tells of a table: dimensions and metrics of the columns that the caller sees.
    pub fn columns_by_role(&self, datasource: &str, who: &Principal) -> Result<(Vec<String>, Vec<String>)> {
        let (mut dimensions, mut metrics) = (Vec::new(), Vec::new());
        let restriction = self.authorizer().restriction(who, datasource)?;
        let Some(found) = self.pieces(datasource, who, &restriction)? else { return Ok((dimensions, metrics)) };
        for (of_piece, metrics_of_piece) in found.pieces.by_role()?.into_iter().rev() {
            for (names, found) in [(of_piece, &mut dimensions), (metrics_of_piece, &mut metrics)] {
                for name in names {
                    if !found.contains(&name) {
                        found.push(name);
                    }
                }
            }
        }
        Ok((dimensions, metrics))
    }

    /// Names, types and whether multi-value, merged over the segments: `__time` first, then in the newest segment's order.
    /// A type is the narrowest that holds those of all segments; one that has nothing but nulls says nothing. Who has a
    /// row policy is told of columns that its rows have values in. `None` if there is no such table for the caller, or if what
    /// it has cannot be found out now: [`Broker::find_columns`] tells these apart.
    ///
    /// Over a cluster this may wait for nodes: [`Broker::columns_of`] does so without holding a thread.
    pub fn columns(&self, datasource: &str, who: &Principal) -> Option<TableColumns> {
        self.find_columns(datasource, who).ok().flatten()
    }

    /// As [`Broker::columns`]; an error if the table is there, or should be, and nobody can be asked for its columns.
    pub fn find_columns(&self, datasource: &str, who: &Principal) -> Result<Option<TableColumns>> {
        let Ok(restriction) = self.authorizer().restriction(who, datasource) else { return Ok(None) };
        let key = (datasource.to_string(), restriction.key().to_string());
        let generation = match &self.cluster {
            None => self.node.inventory.generation(),
            Some(cluster) => cluster.view.number(),
        };
        if let Some((of, columns)) = self.columns.lock().get(&key)
            && *of == generation
        {
            return Ok(Some(columns.clone()));
        }
        let found = self.pieces(datasource, who, &restriction)?;
        found.map(|found| self.keep(key, found)).transpose()
    }

    /// As [`Broker::columns`], for whoever must not wait on its thread, and would know a table that is not there from one
    /// whose nodes cannot be reached. What it finds [`Broker::columns`] then knows, but for tables that grow.
    pub async fn columns_of(&self, datasource: &str, who: &Principal) -> Result<Option<TableColumns>> {
        loop {
            let restriction = self.authorizer().restriction(who, datasource)?;
            let Some(request) = self.asking(datasource, who, &restriction)? else {
                return self.find_columns(datasource, who);
            };
            let key = (datasource.to_string(), restriction.key().to_string());
            tokio::select! {
                found = self.remote_pieces(&request, datasource, &restriction) => {
                    return found?.map(|found| self.keep(key, found)).transpose();
                }
                () = self.until_seen_otherwise(datasource, who, &restriction) => {}
            }
        }
    }

    /// Returns once the caller sees something else of a table: nodes that know of that refuse what is asked by rules of before.
    async fn until_seen_otherwise(&self, datasource: &str, who: &Principal, restriction: &Restriction) {
        let is_same = || self.authorizer().restriction(who, datasource).is_ok_and(|now| now.key() == restriction.key());
        loop {
            tokio::time::sleep(RULES_LOOK).await;
            if !is_same() {
                return;
            }
        }
    }

    fn keep(&self, key: (String, String), found: Found) -> Result<TableColumns> {
        let columns = Arc::new(found.pieces.merged()?);
        // Realtime rows may bring new columns at any time, so what they have is not kept.
        if !found.growing {
            let mut kept = self.columns.lock();
            if kept.len() >= COLUMNS_KEPT_MAX {
                kept.clear();
            }
            kept.insert(key, (found.generation, columns.clone()));
        }
        Ok(columns)
    }

    /// The columns of a table for whoever writes or tries rules about it: all of them to who may write rules, and so could
    /// let itself see any; to who may only try them those that it sees.
    pub fn columns_for_rules(&self, datasource: &str, who: &Principal) -> Option<TableColumns> {
        if !self.writes_rules(who) {
            return self.columns(datasource, who);
        }
        let found = self.pieces(datasource, who, &Restriction::Unrestricted).ok()??;
        Some(Arc::new(found.pieces.merged().ok()?))
    }

    /// The tables that rules may be about, as [`Broker::columns_for_rules`] tells of their columns.
    pub fn datasources_for_rules(&self, who: &Principal) -> Vec<String> {
        if self.writes_rules(who) { self.all_datasources() } else { self.datasources(who) }
    }

    fn writes_rules(&self, who: &Principal) -> bool {
        self.authorizer().current().may(who, Kind::Security, "SECURITY", Action::Write)
    }

    /// What all segments of a table say of their columns, what came last first. `None` if there is none.
    fn pieces(&self, datasource: &str, who: &Principal, restriction: &Restriction) -> Result<Option<Found>> {
        if let Some(request) = self.asking(datasource, who, restriction)? {
            return wait_here(self.remote_pieces(&request, datasource, restriction));
        }
        let Some(view) = self.node.inventory.view(datasource, &[Interval::ETERNITY]) else { return Ok(None) };
        self.node.seen.sweep(view.generation);
        let mut slices = view.slices;
        slices.sort_by(|a, b| b.id.interval.cmp(&a.id.interval).then_with(|| b.id.cmp(&a.id)));
        let mut pieces = Vec::new();
        for slice in slices {
            // Of one realtime index, what came last is newest.
            for segment in slice.item.open().into_iter().rev() {
                let seen = seen_of(&self.node.seen, &slice.item, &segment, restriction, &|| Ok(()))?;
                pieces.push(Piece::of(slice.id.clone(), segment, vec![slice.interval], seen));
            }
        }
        let growing = self.node.inventory.realtime().iter().any(|(id, _)| id.datasource == datasource);
        let any = !pieces.is_empty();
        Ok(any.then_some(Found { generation: view.generation, pieces: Pieces::Here(pieces), growing }))
    }

    /// Who asks the cluster about columns, if there is one.
    fn asking(&self, datasource: &str, who: &Principal, restriction: &Restriction) -> Result<Option<Request>> {
        if self.cluster.is_none() {
            return Ok(None);
        }
        let within = COLUMNS_WITHIN.min(self.settings().timeout_max);
        let id = uuid::Uuid::new_v4().to_string();
        let memory = self.settings().memory_bytes;
        let budget = Budget::of_part(id, within, memory, None, self.settings().subquery_rows_max, 0);
        let budget = budget.within(&self.settings().memory);
        let sight = self.authorizer().sight_for_rules(datasource, who, restriction)?;
        Ok(self.request(who, &Arc::new(sight), &Arc::new(budget)))
    }

    async fn remote_pieces(
        &self,
        request: &Request,
        datasource: &str,
        restriction: &Restriction,
    ) -> Result<Option<Found>> {
        let wanted = request.wanted(&Scope::table(datasource))?;
        if wanted.segments.is_empty() && wanted.incomplete.iter().any(|(of, _)| of == datasource) {
            return Err(Error::Unavailable(format!(
                "no rows of [{datasource}] are here yet, and some should be; ask again"
            )));
        }
        let ids: Vec<SegmentId> = wanted.segments.iter().map(|one| one.asked.id.clone()).collect();
        let key = |id: &SegmentId| (id.clone(), restriction.key().to_string());
        let mut found: HashMap<SegmentId, Arc<[PieceColumns]>> = {
            let known = self.known.lock();
            ids.iter().filter_map(|id| Some((id.clone(), known.get(&key(id))?.clone()))).collect()
        };
        let rest: HashSet<SegmentId> = ids.iter().filter(|id| !found.contains_key(*id)).cloned().collect();
        let mut growing = false;
        if !rest.is_empty() {
            let (pieces, realtime) = request.columns(datasource, &rest).await?;
            growing = !realtime.is_empty();
            let mut by_id: HashMap<SegmentId, Vec<PieceColumns>> = HashMap::new();
            pieces.into_iter().for_each(|piece| by_id.entry(piece.id.clone()).or_default().push(piece));
            let mut known = self.known.lock();
            for id in rest {
                let pieces: Arc<[PieceColumns]> = by_id.remove(&id).unwrap_or_default().into();
                if !realtime.contains(&id) {
                    if known.len() >= SEGMENTS_KEPT_MAX {
                        known.clear();
                    }
                    known.insert(key(&id), pieces.clone());
                }
                found.insert(id, pieces);
            }
        }
        let mut all: Vec<&PieceColumns> = found.values().flat_map(|pieces| pieces.iter()).collect();
        all.sort_by(|a, b| (a.id.interval, &a.id).cmp(&(b.id.interval, &b.id)));
        let pieces = Pieces::There(all.into_iter().rev().cloned().collect());
        Ok((!ids.is_empty()).then_some(Found { generation: wanted.number, pieces, growing }))
    }
}

/// What segments say of their columns.
struct Found {
    generation: u64,
    pieces: Pieces,
    /// Whether some of them grow.
    growing: bool,
}

/// What came last first.
enum Pieces {
    Here(Vec<Piece>),
    /// As nodes tell of them.
    There(Vec<PieceColumns>),
}

impl Pieces {
    fn merged(&self) -> Result<Vec<(String, ValueType, bool)>> {
        match self {
            Pieces::Here(pieces) => merged(pieces),
            Pieces::There(pieces) => merged(pieces),
        }
    }

    /// Dimensions and metrics of each.
    fn by_role(&self) -> Result<Vec<(Vec<String>, Vec<String>)>> {
        match self {
            Pieces::Here(pieces) => pieces.iter().map(|piece| Ok((piece.dimensions()?, piece.metrics()?))).collect(),
            Pieces::There(pieces) => {
                Ok(pieces.iter().map(|piece| (piece.dimensions.clone(), piece.metrics.clone())).collect())
            }
        }
    }
}

/// What a segment says of its columns to one asker. Values are read only for what is asked of them: names and types are
/// known without.
trait Says {
    /// Names, types, whether of several values.
    fn columns(&self) -> Result<Vec<(String, ValueType, bool)>>;
    fn is_restricted(&self) -> bool;
    /// Whether a column has no value that is seen.
    fn has_only_nulls(&self, name: &str) -> Result<bool>;
}

impl Says for Piece {
    fn columns(&self) -> Result<Vec<(String, ValueType, bool)>> {
        let several = |of: &ValueType, name: &str| Ok(*of == ValueType::String && self.is_multi(name)?);
        let named = self.named_columns()?.into_iter();
        named.map(|(name, of)| several(&of, &name).map(|several| (name, of, several))).collect()
    }

    fn is_restricted(&self) -> bool {
        Piece::is_restricted(self)
    }

    fn has_only_nulls(&self, name: &str) -> Result<bool> {
        Piece::has_only_nulls(self, name)
    }
}

impl Says for PieceColumns {
    fn columns(&self) -> Result<Vec<(String, ValueType, bool)>> {
        Ok(self.columns.iter().map(|one| (one.name.clone(), one.value_type.clone(), one.multi)).collect())
    }

    fn is_restricted(&self) -> bool {
        self.restricted
    }

    fn has_only_nulls(&self, name: &str) -> Result<bool> {
        Ok(self.columns.iter().any(|one| one.name == name && one.only_nulls))
    }
}

/// Waits for nodes on this thread, as well as its runtime allows.
fn wait_here<T: Send>(work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    use tokio::runtime::{Builder, Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(|| handle.block_on(work))
        }
        // The only thread of its runtime must not wait for what that runtime has to do.
        _ => std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let runtime = Builder::new_current_thread().enable_time().build();
                runtime.map_err(|error| Error::Unavailable(format!("no thread can wait: {error}")))?.block_on(work)
            });
            waiting.join().unwrap_or_else(|_| Err(Error::Bug("columns could not be asked for".into())))
        }),
    }
}

/// The columns of all pieces as those of one table; `__time` if there is none.
fn merged<P: Says>(pieces: &[P]) -> Result<Vec<(String, ValueType, bool)>> {
    let mut columns: Vec<(String, ValueType, bool)> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    // The pieces whose type a column has, as long as they may have nothing but nulls in it.
    let mut open: Vec<Vec<&P>> = Vec::new();
    let no_value = |pieces: &[&P], name: &str| -> Result<bool> {
        for piece in pieces {
            if !piece.has_only_nulls(name)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    for piece in pieces {
        for (name, value_type, multi) in piece.columns()? {
            // Of a column without a value, a text or one whose values are not seen, the type says nothing.
            let may_say_nothing = value_type == ValueType::String || piece.is_restricted();
            let Some(&at) = known.get(&name) else {
                known.insert(name.clone(), columns.len());
                open.push(may_say_nothing.then_some(piece).into_iter().collect());
                columns.push((name, value_type, multi));
                continue;
            };
            let (_, of, several) = &mut columns[at];
            *several |= multi;
            if *of == value_type {
                match may_say_nothing {
                    true if !open[at].is_empty() => open[at].push(piece),
                    _ => open[at].clear(),
                }
            } else if may_say_nothing && no_value(&[piece], &name)? {
                continue;
            } else if !open[at].is_empty() && no_value(&open[at], &name)? {
                *of = value_type;
                open[at] = may_say_nothing.then_some(piece).into_iter().collect();
            } else {
                *of = widened(of, &value_type);
                open[at].clear();
            }
            *several &= *of == ValueType::String;
        }
    }
    if columns.is_empty() {
        columns.push((TIME.to_string(), ValueType::Long, false));
    }
    Ok(columns)
}

/// The narrowest type that holds the values of both.
fn widened(a: &ValueType, b: &ValueType) -> ValueType {
    match (a, b) {
        _ if a == b => a.clone(),
        _ if a.is_json() || b.is_json() => ValueType::json(),
        (ValueType::Array(a), ValueType::Array(b)) => ValueType::array(widened(a, b)),
        (ValueType::Array(of), one) | (one, ValueType::Array(of)) if !matches!(one, ValueType::Complex(_)) => {
            ValueType::array(widened(of, one))
        }
        _ if a.is_numeric() && b.is_numeric() => ValueType::Double,
        (ValueType::Complex(_), _) => a.clone(),
        (_, ValueType::Complex(_)) => b.clone(),
        _ => ValueType::String,
    }
}
