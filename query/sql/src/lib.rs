//! SQL: from the text of a statement to rows.
//!
//! 1. [`parse`] reads the text in Druid's dialect, with the `SET` statements before it; [`chains`] makes long chains of
//!    operators shallow and refuses what stays deep. This and all planning is done on threads of [`planning`].
//! 2. [`rewrite`] turns Druid's idioms into what DataFusion plans, and settles time.
//! 3. [`planner`] plans and optimises; [`place`] replaces the largest parts it can by [`leaves`], native queries
//!    ([`lower`] says expressions in the engine's words).
//! 4. A [`plan::Plan`] is one leaf with a few steps over its rows, run directly, or a tree that DataFusion runs over
//!    its leaves ([`run`]). It is kept by the text of the statement, as long as the tables have the same columns.
//! 5. [`respond`] writes the rows in the format asked for.
//!
//! DataFusion is seen nowhere else. The clock comes in with the statement.

mod aggregates;
mod beneath;
mod chains;
mod checks;
pub mod cluster;
mod convert;
mod dialect;
pub mod error;
mod expansion;
mod explain;
mod functions;
mod idioms;
pub mod ipc;
mod leaves;
mod looked;
mod lower;
mod memory;
mod parse;
mod place;
mod plan;
mod planner;
mod planning;
mod policy;
mod remainder;
mod respond;
mod rewrite;
mod routines;
pub mod rows;
mod run;
mod running;
mod semi;
mod sketches;
mod sys;
mod system;
mod unnest;
mod windows;
mod words;
mod wrappers;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use query::deadline::until;
use query::{Broker, Budget, Principal, ResponseContext, Terms};
use segment::schema::ValueType;
use segment::time::Zone;
use serde_json::{Map, Value as Json};

pub use cluster::Cluster;
pub use error::{Error, Result};
pub use respond::{Format, ResultFormat};
pub use rewrite::Parameter;
pub use run::Batches;

use looked::Looked;
use plan::Plan;
use planner::{Planner, Planners};
use planning::{Planning, deep};
use remainder::Workers;
use run::Run;
use running::{AtWork, Registered, Running, bounded, held};

#[derive(Debug, Clone)]
pub struct Settings {
    /// Off: tables are only scanned and DataFusion does the rest. For tests that compare both.
    pub push_down: bool,
    /// Plans that are kept for statements that come again.
    pub plans_max: usize,
}

/// A statement and what came with it.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    pub text: String,
    /// Values of the `?`, in their order.
    pub parameters: Vec<Parameter>,
    /// The query context; `SET` statements in the text go before it. `sqlQueryId` is what it can be cancelled by.
    pub context: Map<String, Json>,
    /// Milliseconds since 1970 that `CURRENT_TIMESTAMP` stands for, unless `sqlCurrentTimestamp` says otherwise.
    pub now: i64,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlColumn {
    pub name: String,
    /// `LONG`, `STRING`, …
    pub native_type: String,
    /// `BIGINT`, `VARCHAR`, `TIMESTAMP`, …
    pub sql_type: String,
}

/// What a statement will answer.
#[derive(Debug, Clone)]
pub struct Outline {
    pub columns: Vec<SqlColumn>,
    /// That it shows time in.
    pub zone: Zone,
    /// It asks for a plan only.
    pub explain: bool,
}

/// What is known of a statement before its parameters have values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub columns: Vec<SqlColumn>,
    /// The columns as readers of Arrow see them.
    pub schema: SchemaRef,
    /// SQL types of the `?`, in their order.
    pub parameters: Vec<String>,
}

/// Rows on their way. Dropping it ends the statement.
pub struct SqlAnswer {
    pub columns: Vec<SqlColumn>,
    pub query_id: String,
    /// The datasources it reads.
    pub datasources: Vec<String>,
    /// By which rules: what is handed out later is checked by it.
    pub terms: Terms,
    pub context: ResponseContext,
    pub batches: Batches,
    /// That it shows time in.
    pub zone: Zone,
    /// Of the batches, but for types that are cast on the way out.
    schema: SchemaRef,
    stringify_arrays: bool,
}

impl fmt::Debug for SqlAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlAnswer")
            .field("columns", &self.columns)
            .field("query_id", &self.query_id)
            .finish_non_exhaustive()
    }
}

impl SqlAnswer {
    /// The first rows of it only.
    pub fn limited(self, rows: usize) -> SqlAnswer {
        let step = plan::Step::Limit { skip: 0, fetch: Some(rows) };
        SqlAnswer { batches: plan::apply(self.batches, &[step]), ..self }
    }

    /// The bytes of the response.
    pub fn body(self, format: &Format) -> BoxStream<'static, Result<Vec<u8>>> {
        respond::body(self, format.clone())
    }
}

/// Plans of longer statements are not kept: it bounds the texts that are kept to 32 MiB at 512 plans.
const KEPT_TEXT_MAX: usize = 64 << 10;

/// The SQL front end of a process.
pub struct Sql {
    broker: Arc<Broker>,
    cluster: Arc<dyn Cluster>,
    settings: Settings,
    plans: Box<Hidden<Plans>>,
    clock: AtomicU64,
    running: Arc<Mutex<Running>>,
    workers: Workers,
    planning: Planning,
    /// For planning that goes on when nobody waits for it any more.
    me: Weak<Sql>,
}

/// What DataFusion's types are part of, behind a wall: whoever holds an [`Sql`] would otherwise have the compiler walk
/// through all of them, to prove that it may be shared and to drop it, wherever it is held.
type Hidden<T> = dyn AsRef<T> + Send + Sync;

struct Plans {
    planners: Planners,
    kept: Mutex<HashMap<String, Kept>>,
}

impl AsRef<Plans> for Plans {
    fn as_ref(&self) -> &Plans {
        self
    }
}

struct Kept {
    prepared: Arc<Prepared>,
    used: u64,
}

type Columns = Arc<Vec<(String, ValueType, bool)>>;

/// A planned statement.
struct Prepared {
    overrides: Map<String, Json>,
    zone: Zone,
    explain: bool,
    plan: Plan,
    columns: Vec<SqlColumn>,
    schema: SchemaRef,
    /// The tables as they were; with other columns the plan is void.
    tables: Vec<(String, Columns)>,
    lookups: BTreeSet<String>,
    /// Whether it reads tables that are made of what its asker may know.
    lists: bool,
}

impl Prepared {
    /// The one row of `EXPLAIN PLAN FOR`.
    fn explained(&self) -> Result<RecordBatch> {
        let names: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
        explain::explain(&self.plan, &names)
    }

    /// The columns that are answered, and these as readers of Arrow see them.
    fn shown(&self) -> Result<(Vec<SqlColumn>, SchemaRef)> {
        let (columns, inner) = match self.explain {
            false => (self.columns.clone(), self.schema.clone()),
            true => {
                let inner = self.explained()?.schema();
                (columns_of(&inner), inner)
            }
        };
        let schema = ipc::outer(&columns, &inner, &self.zone);
        Ok((columns, schema))
    }
}

impl Sql {
    /// `cluster` tells what the tables of the `sys` schema hold.
    pub fn new(broker: Arc<Broker>, cluster: Arc<dyn Cluster>, settings: Settings) -> Arc<Sql> {
        let planners = Planners::new(settings.push_down, broker.lookups().clone());
        let workers = Workers::new(broker.settings().threads).expect("threads can be started");
        let planning = Planning::new(broker.settings().threads);
        Arc::new_cyclic(|me| Sql {
            broker,
            cluster,
            settings,
            plans: Box::new(Plans { planners, kept: Mutex::default() }),
            clock: AtomicU64::new(0),
            running: Arc::default(),
            workers,
            planning,
            me: me.clone(),
        })
    }

    fn plans(&self) -> &Plans {
        (*self.plans).as_ref()
    }

    /// Runs a statement. What is missing of its tables is known when this returns, before the first row.
    pub fn run<'a>(&'a self, statement: &'a Statement, who: &'a Principal) -> BoxFuture<'a, Result<SqlAnswer>> {
        self.answer(statement, who).boxed()
    }

    /// A statement's context, with what every statement has that does not set it itself.
    pub fn context(&self, statement: &Statement) -> Map<String, Json> {
        let mut context = statement.context.clone();
        self.broker.settings().with_defaults(&mut context);
        context
    }

    /// A statement with all of its context.
    fn whole<'s>(&self, statement: &'s Statement) -> Cow<'s, Statement> {
        match self.broker.settings().default_context.is_empty() {
            true => Cow::Borrowed(statement),
            false => Cow::Owned(Statement { context: self.context(statement), ..statement.clone() }),
        }
    }

    async fn answer(&self, statement: &Statement, who: &Principal) -> Result<SqlAnswer> {
        let statement = &*self.whole(statement);
        let prepared = self.prepared_in_time(statement, who).await?;
        let mut context = statement.context.clone();
        context.extend(prepared.overrides.clone());
        let query_id = match context.get("sqlQueryId").and_then(Json::as_str) {
            Some(id) if !id.is_empty() => id.to_string(),
            _ => format!("sql-{}-{}", statement.now, self.clock.fetch_add(1, Ordering::Relaxed)),
        };
        // Leaves are cancelled by the id of the statement.
        context.insert("queryId".to_string(), query_id.clone().into());
        let stringify_arrays = stringify_arrays(&context);
        let registered = self.register(&query_id, who, &prepared)?;
        let terms = registered.work.terms.clone();
        let planner = self.plans().planners.of(&prepared.zone);
        let answer =
            |columns: Vec<SqlColumn>, schema: SchemaRef, context: ResponseContext, batches: Batches| SqlAnswer {
                columns,
                query_id: query_id.clone(),
                datasources: prepared.tables.iter().map(|(name, _)| name.clone()).collect(),
                terms: terms.clone(),
                context,
                batches,
                schema,
                zone: prepared.zone.clone(),
                stringify_arrays,
            };
        if prepared.explain {
            let row = prepared.explained()?;
            let (columns, schema) = (columns_of(row.schema_ref()), row.schema());
            let batches = futures::stream::iter([Ok(row)]).boxed();
            return Ok(answer(columns, schema, ResponseContext::default(), batches));
        }
        let run =
            Arc::new(Run::new(self.broker.clone(), who.clone(), context, registered.work.ended.clone(), planner)?);
        let (batches, uncovered) = match &prepared.plan {
            Plan::Direct { leaf: None, schema, steps } => {
                let row = plan::one_row(schema.clone());
                (plan::apply(futures::stream::iter([row]).boxed(), steps), Vec::new())
            }
            Plan::Direct { leaf: Some(leaf), schema, steps } => {
                let (batches, uncovered) = run.leaf(leaf, schema.clone()).await?;
                let rest = until(held(plan::apply(batches, steps), registered), run.remaining(), Err(Error::Timeout));
                (rest, uncovered)
            }
            Plan::Tree(plan) => {
                let rows = run.tree(plan).await?;
                let uncovered = run.uncovered();
                let remaining = run.remaining();
                let rest = held(bounded(self.workers.read(rows), run), registered);
                (until(rest, remaining, Err(Error::Timeout)), uncovered)
            }
        };
        let context = ResponseContext { uncovered, overflowed: false };
        Ok(answer(prepared.columns.clone(), prepared.schema.clone(), context, batches))
    }

    /// Ends the statements of that id, of one owner or of any; whether there were any.
    pub fn cancel(&self, query_id: &str, owner: Option<&str>) -> bool {
        let mut ended = false;
        for work in lock(&self.running).get(query_id).into_iter().flatten() {
            if owner.is_none_or(|owner| work.who.name == owner) {
                work.ended.store(true, Ordering::Relaxed);
                ended = true;
            }
        }
        self.broker.cancel(query_id, owner) || ended
    }

    /// Ends the statements and queries of a principal, who may not go on asking.
    pub fn end_queries_of(&self, name: &str) {
        self.end(&|work| work.who.name == name);
        self.broker.end_queries_of(name);
    }

    /// Ends the statements and queries of callers who would see something else now than when they began.
    pub fn policies_changed(&self) {
        let authorizer = self.broker.authorizer();
        self.end(&|work| authorizer.still_sees(&work.who, &work.terms).is_err());
        self.broker.policies_changed();
    }

    fn end(&self, which: &dyn Fn(&AtWork) -> bool) {
        for work in lock(&self.running).values().flatten().filter(|work| which(work)) {
            work.ended.store(true, Ordering::Relaxed);
        }
    }

    /// The native queries that a statement becomes, in Druid's JSON.
    pub fn explain(&self, statement: &Statement, who: &Principal) -> Result<Vec<Json>> {
        let prepared = self.prepared(statement, who)?;
        Ok(prepared.plan.leaves().iter().map(|leaf| leaf.json.clone()).collect())
    }

    /// Whether a statement is one native query and simple steps over its rows.
    pub fn is_direct(&self, statement: &Statement, who: &Principal) -> Result<bool> {
        Ok(matches!(self.prepared(statement, who)?.plan, Plan::Direct { .. }))
    }

    /// What is known of a statement before it runs, but for its parameters: they have values.
    pub fn outline<'a>(&'a self, statement: &'a Statement, who: &'a Principal) -> BoxFuture<'a, Result<Outline>> {
        let outline = async move {
            let prepared = self.prepared_in_time(&self.whole(statement), who).await?;
            let (columns, zone) = (prepared.columns.clone(), prepared.zone.clone());
            Ok(Outline { columns, zone, explain: prepared.explain })
        };
        outline.boxed()
    }

    /// The columns a statement would answer and the types of its `?`, before there are values for them. The parameters of
    /// the statement are not looked at.
    pub fn describe<'a>(&'a self, statement: &'a Statement, who: &'a Principal) -> BoxFuture<'a, Result<Description>> {
        self.described(statement, who).boxed()
    }

    async fn described(&self, statement: &Statement, who: &Principal) -> Result<Description> {
        let statement = self.whole(statement).into_owned();
        let (asked, asker) = (statement.clone(), who.clone());
        let parameters = self.planned(&statement, move |sql| sql.parameters(&asked, &asker)).await?;
        let samples = parameters.iter().map(|sql_type| Parameter::sample(sql_type)).collect();
        let prepared = self.prepared_in_time(&Statement { parameters: samples, ..statement }, who).await?;
        let (columns, schema) = prepared.shown()?;
        Ok(Description { columns, schema, parameters })
    }

    /// The SQL types of a statement's `?`.
    fn parameters(&self, statement: &Statement, who: &Principal) -> Result<Vec<String>> {
        let mut parsed = parse::parse(&statement.text)?;
        let count = parsed.placeholders;
        let mut parameters = vec!["VARCHAR".to_string(); count];
        if count > 0 {
            let moment = rewrite::Moment { now: statement.now, zone: &Zone::Utc, parameters: None, listed_max: None };
            rewrite::rewrite(&mut parsed, &moment)?;
            let seen = Looked::new(self, who);
            let planner = self.plans().planners.of(&Zone::Utc);
            // Where a place leaves its type open, planning may refuse; a text is taken anywhere.
            let lookups = self.broker.lookups();
            let types = self.broker.authorizer().scope(lookups, who, || planner.placeholders(parsed.query, &seen));
            let types = types.unwrap_or_default();
            for (nth, data_type) in types {
                if let Some(parameter) = nth.checked_sub(1).and_then(|idx| parameters.get_mut(idx)) {
                    *parameter = types_of(&data_type, None).1;
                }
            }
        }
        Ok(parameters)
    }

    /// The columns a statement would answer as readers of Arrow see them, without running it.
    pub fn schema<'a>(&'a self, statement: &'a Statement, who: &'a Principal) -> BoxFuture<'a, Result<SchemaRef>> {
        async move { Ok(self.prepared_in_time(&self.whole(statement), who).await?.shown()?.1) }.boxed()
    }

    fn prepared(&self, statement: &Statement, who: &Principal) -> Result<Arc<Prepared>> {
        let statement = &*self.whole(statement);
        let key = self.plan_key(statement, who);
        match self.kept_counted(&key, who) {
            Some(prepared) => Ok(prepared),
            None => deep(|| self.prepared_anew(statement, who, key)),
        }
    }

    /// The same for a statement with all of its context, no later than its deadline.
    async fn prepared_in_time(&self, statement: &Statement, who: &Principal) -> Result<Arc<Prepared>> {
        let key = self.plan_key(statement, who);
        if let Some(prepared) = self.kept_counted(&key, who) {
            return Ok(prepared);
        }
        let (asked, who) = (statement.clone(), who.clone());
        self.planned(statement, move |sql| sql.prepared_anew(&asked, &who, key)).await
    }

    /// What planning makes of a statement with all of its context, no later than its deadline.
    async fn planned<T: Send + 'static>(
        &self,
        statement: &Statement,
        work: impl FnOnce(&Sql) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let remaining = Budget::from_context(&statement.context, self.broker.settings())?.remaining();
        let sql = self.me.upgrade().ok_or_else(|| Error::Busy("the server is stopping".into()))?;
        self.planning.run(remaining, move || work(&sql)).await
    }

    fn plan_key(&self, statement: &Statement, who: &Principal) -> String {
        // Plans hold what the caller's rules say of lookups and names, so they are kept for that caller under those rules.
        let rules = self.broker.authorizer().current();
        let rules = rules.stamp();
        format!("{}\0{}\0{rules}\0{who:?}", key_of(statement), self.broker.lookups().generation())
    }

    fn kept_counted(&self, key: &str, who: &Principal) -> Option<Arc<Prepared>> {
        let kept = self.kept(key, who);
        let outcome = if kept.is_some() { "hit" } else { "miss" };
        metrics::counter!("henge_query_plan_cache_total", "outcome" => outcome).increment(1);
        kept
    }

    /// The plan that is kept for a key, if its tables are as they were.
    fn kept(&self, key: &str, who: &Principal) -> Option<Arc<Prepared>> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let prepared = lock(&self.plans().kept).get_mut(key).map(|kept| {
            kept.used = now;
            kept.prepared.clone()
        })?;
        let same = |(name, columns): &(String, Columns)| {
            self.broker.columns(name, who).is_some_and(|fresh| Arc::ptr_eq(&fresh, columns) || fresh == *columns)
        };
        prepared.tables.iter().all(same).then_some(prepared)
    }

    /// Needs the stack of a planning thread.
    fn prepared_anew(&self, statement: &Statement, who: &Principal, key: String) -> Result<Arc<Prepared>> {
        let (prepared, keep) = self.prepare(statement, who)?;
        let prepared = Arc::new(prepared);
        if keep && self.settings.plans_max > 0 && key.len() <= KEPT_TEXT_MAX {
            let used = self.clock.fetch_add(1, Ordering::Relaxed);
            let mut plans = lock(&self.plans().kept);
            if plans.len() >= self.settings.plans_max
                && !plans.contains_key(&key)
                && let Some(oldest) = plans.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone())
            {
                plans.remove(&oldest);
            }
            plans.insert(key, Kept { prepared: prepared.clone(), used });
        }
        Ok(prepared)
    }

    fn prepare(&self, statement: &Statement, who: &Principal) -> Result<(Prepared, bool)> {
        let mut parsed = parse::parse(&statement.text)?;
        let overrides = std::mem::take(&mut parsed.context);
        let explain = parsed.explain;
        let get = |key: &str| overrides.get(key).or_else(|| statement.context.get(key)).filter(|json| !json.is_null());
        let zone = zone_of(get("sqlTimeZone"))?;
        let now = match get("sqlCurrentTimestamp") {
            None => statement.now,
            Some(json) => json
                .as_str()
                .and_then(segment::time::parse_timestamp)
                .or_else(|| json.as_i64())
                .ok_or_else(|| Error::invalid("sqlCurrentTimestamp is an ISO 8601 timestamp"))?,
        };
        let outer_limit = match get("sqlOuterLimit") {
            None => None,
            Some(json) => {
                let rows = json.as_i64().or_else(|| json.as_str().and_then(|text| text.trim().parse().ok()));
                let rows = rows.ok_or_else(|| Error::invalid("sqlOuterLimit is a number of rows"))?;
                usize::try_from(rows).ok()
            }
        };
        let listed_max = match get("maxNumericInFilters").map(|json| json.as_i64()) {
            None | Some(Some(-1)) => None,
            Some(Some(max)) if max > 0 => Some(max as usize),
            Some(_) => return Err(Error::invalid("[maxNumericInFilters] must be greater than 0, or -1 for no limit")),
        };
        let moment = rewrite::Moment { now, zone: &zone, parameters: Some(&statement.parameters), listed_max };
        let momentary = rewrite::rewrite(&mut parsed, &moment)?;
        let timed = get("requireTimeCondition").is_some_and(|json| json.as_bool() == Some(true) || *json == "true");
        let planner = self.plans().planners.of(&zone);
        let seen = Looked::new(self, who);
        let outer = planner::Outer {
            limit: outer_limit,
            finish_sketches: get("sqlFinalizeOuterSketches").is_some_and(is_true),
        };
        let lookups = self.broker.lookups();
        let logical = self.broker.authorizer().scope(lookups, who, || planner.plan(parsed.query, &seen, outer));
        let logical = logical.map_err(|error| parse::placed(error, &statement.text))?;
        let schema = logical.schema().inner().clone();
        if let Some(field) = schema.fields().iter().find(|field| !respond::can_show(field.data_type())) {
            return Err(Error::invalid(format!(
                "column '{}' is a {}, which an answer cannot hold; take it apart or cast it",
                field.name(),
                functions::sql_name(field.data_type())
            )));
        }
        let columns = columns_of(&schema);
        let plan = Plan::new(logical, &planner)?;
        if timed && let Some(leaf) = plan.all_leaves().iter().find(|leaf| leaf.is_timeless()) {
            return Err(Error::invalid(format!(
                "requireTimeCondition is enabled, all queries must include a filter condition on the __time column; \
                 the one of [{}] has none",
                leaf.datasources.join(", ")
            )));
        }
        let lists = seen.system.load(Ordering::Relaxed);
        let tables = seen.members.into_inner().unwrap_or_default();
        let lookups = seen.lookups.into_inner().unwrap_or_default();
        let prepared = Prepared { overrides, zone, explain, plan, columns, schema, tables, lookups, lists };
        Ok((prepared, !momentary && !lists))
    }

    fn register(&self, query_id: &str, who: &Principal, prepared: &Prepared) -> Result<Registered> {
        let tables = prepared.tables.iter().map(|(table, _)| table.as_str());
        let terms = self.broker.authorizer().terms(who, tables, &prepared.lookups, prepared.lists)?;
        let work = Arc::new(AtWork { ended: Arc::new(AtomicBool::new(false)), who: who.clone(), terms });
        lock(&self.running).entry(query_id.to_string()).or_default().push(work.clone());
        Ok(Registered { running: self.running.clone(), query_id: query_id.to_string(), work })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn zone_of(named: Option<&Json>) -> Result<Zone> {
    match named {
        None | Some(Json::Null) => Ok(Zone::Utc),
        Some(Json::String(name)) => Zone::parse(name).map_err(|error| Error::invalid(format!("sqlTimeZone: {error}"))),
        Some(_) => Err(Error::invalid("sqlTimeZone is a string such as America/Los_Angeles")),
    }
}

/// Whether arrays are shown as text, which they are unless the context says otherwise.
pub fn stringify_arrays(context: &Map<String, Json>) -> bool {
    flag(context, "sqlStringifyArrays").unwrap_or(true)
}

fn is_true(json: &Json) -> bool {
    json.as_bool().unwrap_or_else(|| json.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}

fn flag(context: &Map<String, Json>, key: &str) -> Option<bool> {
    match context.get(key)? {
        Json::Bool(flag) => Some(*flag),
        Json::String(text) => Some(text.eq_ignore_ascii_case("true")),
        _ => None,
    }
}

/// What a plan depends on besides the tables.
fn key_of(statement: &Statement) -> String {
    let mut key = statement.text.clone();
    for name in
        ["sqlTimeZone", "sqlOuterLimit", "requireTimeCondition", "maxNumericInFilters", "sqlFinalizeOuterSketches"]
    {
        key.push('\0');
        if let Some(json) = statement.context.get(name) {
            key.push_str(&json.to_string());
        }
    }
    for parameter in &statement.parameters {
        key.push('\0');
        key.push_str(&parameter.sql_type);
        key.push(' ');
        key.push_str(&parameter.value.to_string());
    }
    key
}

/// The columns of an answer. A name that comes again gets a number, as Druid gives it.
fn columns_of(schema: &Schema) -> Vec<SqlColumn> {
    let mut columns: Vec<SqlColumn> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let (native_type, sql_type) = types_of(field.data_type(), field.metadata().get(leaves::NATIVE_TYPE));
        let mut name = field.name().clone();
        let mut nth = 0;
        while columns.iter().any(|column| column.name == name) {
            name = format!("{}{nth}", field.name());
            nth += 1;
        }
        columns.push(SqlColumn { name, native_type, sql_type });
    }
    columns
}

fn types_of(data_type: &DataType, native: Option<&String>) -> (String, String) {
    let (native_type, sql_type) = match data_type {
        DataType::Int64 | DataType::UInt64 => ("LONG", "BIGINT"),
        DataType::Boolean => ("LONG", "BOOLEAN"),
        DataType::Timestamp(..) => ("LONG", "TIMESTAMP"),
        DataType::Date32 | DataType::Date64 => ("LONG", "DATE"),
        data_type if data_type.is_integer() => ("LONG", "INTEGER"),
        DataType::Float32 | DataType::Float16 => ("FLOAT", "FLOAT"),
        DataType::Float64 | DataType::Decimal128(..) | DataType::Decimal256(..) => ("DOUBLE", "DOUBLE"),
        DataType::List(inner) => {
            let (inner, _) = types_of(inner.data_type(), None);
            return (format!("ARRAY<{inner}>"), "ARRAY".to_string());
        }
        DataType::LargeUtf8 => ("COMPLEX<json>", "OTHER"),
        DataType::Binary => return (native.cloned().unwrap_or_else(|| "COMPLEX".to_string()), "OTHER".to_string()),
        _ => ("STRING", "VARCHAR"),
    };
    (native_type.to_string(), sql_type.to_string())
}

const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Sql>();
    shared::<Planner>();
};
