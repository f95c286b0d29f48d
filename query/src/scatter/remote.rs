//! Tables on other nodes as what a source is made of: their rows are read, as many columns and as few rows as will do, and made
//! into segments here. Runs on a thread that may wait.

use std::collections::BTreeSet;
use std::sync::Arc;

use segment::Interval;
use segment::filter::Filter;
use segment::schema::{TIME, ValueType};
use tokio::runtime::Handle;

use super::Request;
use super::rows::Scanning;
use crate::engine::Piece;
use crate::error::Result;
use crate::language::parse::BATCH_ROWS;
use crate::language::{DataSource, Query, Scan, ScanFormat, ScanOrder, Scope};
use crate::node::refuse_gaps;
use crate::outcome::{Outcome, Rows};
use crate::source::{Ask, Made, Opened, Origin};
use crate::table::ResponseContext;
use crate::view::Stored;

/// Where the tables of a query are that is answered here.
pub struct Remote {
    pub request: Request,
    pub runtime: Handle,
}

/// Rows of one segment whose columns are alike.
struct Making {
    place: usize,
    columns: Vec<(String, ValueType)>,
    made: Made,
}

impl Stored for Remote {
    fn open(&self, tables: &[&str], ask: &Ask, origin: &Origin) -> Result<Opened> {
        let columns = ask.columns.as_ref().map(|columns: &BTreeSet<String>| {
            let mut names = vec![TIME.to_string()];
            names.extend(columns.iter().filter(|name| *name != TIME).cloned());
            names
        });
        let source = match tables {
            [one] => DataSource::Table(one.to_string()),
            many => DataSource::Union(many.iter().map(|name| DataSource::Table(name.to_string())).collect()),
        };
        let query = Arc::new(Query::Scan(Scan {
            scope: Scope {
                source,
                intervals: ask.intervals.clone(),
                filter: (ask.narrow && !ask.filters.is_empty()).then(|| Filter::And(ask.filters.clone())),
                virtual_columns: Arc::from([]),
                segment: ask.segment.clone(),
            },
            columns: columns.unwrap_or_default(),
            format: ScanFormat::CompactedList,
            batch_size: BATCH_ROWS as usize,
            limit: None,
            offset: 0,
            order: ScanOrder::None,
        }));
        let mut opened = Opened { pieces: Vec::new(), uncovered: Vec::new(), held: Vec::new() };
        if tables.is_empty() || ask.intervals.is_empty() {
            return Ok(opened);
        }
        let mut scanning = self.runtime.block_on(self.request.scan(&query, true))?;
        opened.uncovered = scanning.uncovered.clone();
        let mut making: Option<Making> = None;
        while let Some(chunk) = self.runtime.block_on(scanning.next_chunk())? {
            let columns: Vec<(String, ValueType)> =
                chunk.table.columns.iter().map(|(name, value_type, _)| (name.clone(), value_type.clone())).collect();
            let place = chunk.place();
            // What is made of several segments (rounded times) is one to whoever asks.
            let is_none = scanning.id(place).is_none();
            let goes_on = |making: &Making| making.place == place && (is_none || making.columns == columns);
            if making.as_ref().is_some_and(|making| !goes_on(making))
                && let Some(done) = making.take()
            {
                finish(done, &scanning, ask, &mut opened);
            }
            let current = match &mut making {
                Some(making) => making,
                none => none.insert(Making { place, columns, made: Made::new(origin.budget)? }),
            };
            current.made.add(&chunk.table)?;
        }
        if let Some(done) = making {
            finish(done, &scanning, ask, &mut opened);
        }
        Ok(opened)
    }

    fn rounds(&self) -> bool {
        true
    }

    fn whole(&self, query: &Arc<Query>) -> Option<Result<Outcome>> {
        let source = &query.scope().source;
        if !source.is_stored() {
            return None;
        }
        match self.request.sight.rounds(&source.tables()) {
            Ok(true) => None,
            Ok(false) => Some(self.runtime.block_on(self.request.stored(query))),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Rows that are made are a piece of the segment that they are from.
fn finish(making: Making, scanning: &Scanning, ask: &Ask, opened: &mut Opened) {
    let id = scanning.id(making.place).cloned();
    let (segment, taken) = making.made.finish();
    opened.held.push(taken);
    if segment.rows() > 0 {
        let id = id.unwrap_or_else(|| segment.id().clone());
        opened.pieces.push(Piece::whole(id, Arc::new(segment), ask.intervals.clone()));
    }
}

impl Request {
    /// The outcome of a query over tables.
    pub async fn stored(&self, query: &Arc<Query>) -> Result<Outcome> {
        if !matches!(**query, Query::Scan(_)) {
            return self.folded(query).await;
        }
        let mut scanning = self.scan(query, false).await?;
        let uncovered: Vec<Interval> = std::mem::take(&mut scanning.uncovered);
        refuse_gaps(&uncovered, &self.budget)?;
        Ok(Outcome {
            context: ResponseContext { uncovered, ..ResponseContext::default() },
            touched: scanning.touched,
            buckets: Vec::new(),
            rows: Rows::Stream { batches: scanning.batches(()), runtime: Handle::current() },
        })
    }
}
