//! `/druid/v2/sql/statements`: statements that run on their own and whose results are kept in deep storage, in pages,
//! for a while.
//!
//! A statement is an object `<owner>/<id>/status` and an object for each page: ids are of their owners' choice, and nobody
//! is told by a clash what others have. The status is written before the statement is accepted and again when it has ended;
//! one that says it runs and that nobody runs was cut off by a crash. Every broker of a cluster tells of every statement, and
//! asks the process that runs it to end it.

mod kept;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::StreamExt;
use parking_lot::Mutex;
use query::Terms;
use query::language::failure::{Category, Failure};
use query_sql::{Format, ResultFormat, Sql, SqlAnswer, SqlColumn, Statement};
use segment::storage::objects::Objects;
use segment::time::Zone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use kept::Kept;

use super::App;
use super::manage::Parameters;
use super::sql::{Request, error_body};
use crate::audit;
use crate::auth::owner::Owner;
use crate::auth::{Caller, digest};
use crate::node::now;
use crate::rpc::statements::{Cancel, Runner, Siblings};

/// The folder of deep storage.
pub const FOLDER: &str = ".statements";

/// Statements that run at once; others wait accepted.
const RUNNING_MAX: usize = 8;

/// Those of one owner among them: others need not wait until they end.
const RUNNING_OWN_MAX: usize = 6;

/// Statements that may wait or run.
const ACCEPTED_MAX: usize = 1000;

const ROWS_PER_PAGE: u64 = 100_000;

/// Rows of the first page that a status shows.
const SAMPLE_ROWS: usize = 100;

/// The longest time between two looks at the age of what is kept.
const LOOK_MAX: Duration = Duration::from_secs(60);

pub struct Statements {
    objects: Objects,
    /// Those that wait or run in this process, by their places.
    running: Mutex<HashMap<String, Record>>,
    permits: Semaphore,
    /// By owner.
    own_permits: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// The others that may run what this process does not; `None` where there are none.
    siblings: Option<Siblings>,
    time_to_live_ms: i64,
    bytes_max: u64,
    kept: Kept,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Progress {
    Accepted,
    Running,
    Success,
    Failed,
}

/// What is said of a statement, kept beside its pages.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    id: String,
    /// Who posted it; of one that was kept before there were users, nobody.
    #[serde(flatten)]
    owner: Owner,
    /// The process that runs it, where there are several.
    #[serde(default)]
    runner: Option<Runner>,
    created: i64,
    ended: Option<i64>,
    progress: Progress,
    columns: Vec<(String, String, String)>,
    result_format: String,
    header: bool,
    types_header: bool,
    sql_types_header: bool,
    zone: String,
    stringify_arrays: bool,
    /// Rows and bytes of each.
    pages: Vec<(u64, u64)>,
    sample: Value,
    /// By which rules its rows are made, from its start on.
    #[serde(default)]
    terms: Option<Terms>,
    error: Option<Value>,
}

impl Record {
    fn place(&self) -> String {
        place(&self.owner, &self.id)
    }

    fn has_ended(&self) -> bool {
        matches!(self.progress, Progress::Success | Progress::Failed)
    }
}

/// Where a statement is kept. The name of a user may be long, and hold what names of objects may not.
fn place(owner: &Owner, id: &str) -> String {
    format!("{}/{id}", &digest(&owner.key())[..32])
}

impl Statements {
    /// Results have at most so many bytes, of one statement and of all of one owner.
    pub fn new(
        objects: Objects,
        siblings: Option<Siblings>,
        time_to_live: Duration,
        bytes_max: u64,
        owner_bytes_max: u64,
    ) -> Statements {
        Statements {
            objects,
            siblings,
            running: Mutex::default(),
            permits: Semaphore::new(RUNNING_MAX),
            own_permits: Mutex::default(),
            time_to_live_ms: i64::try_from(time_to_live.as_millis()).unwrap_or(i64::MAX),
            bytes_max,
            kept: Kept::new(owner_bytes_max),
        }
    }

    fn own_permits(&self, owner: &str) -> Arc<Semaphore> {
        let mut permits = self.own_permits.lock();
        permits.retain(|name, of| name == owner || Arc::strong_count(of) > 1);
        permits.entry(owner.to_string()).or_insert_with(|| Arc::new(Semaphore::new(RUNNING_OWN_MAX))).clone()
    }

    async fn write(&self, record: &Record) -> segment::Result<()> {
        let text = serde_json::to_vec(record).map_err(|error| segment::Error::invalid(error.to_string()))?;
        self.objects.put(&format!("{}/status", record.place()), text.into()).await
    }

    /// `None` if there is no statement at that place.
    async fn find(&self, place: &str) -> segment::Result<Option<Record>> {
        if let Some(record) = self.running.lock().get(place) {
            return Ok(Some(record.clone()));
        }
        let Some(bytes) = self.objects.get(&format!("{place}/status")).await? else { return Ok(None) };
        let unreadable = |error| segment::Error::corrupt(format!("the status of statement {place}: {error}"));
        let mut record: Record = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if !record.has_ended() && !self.running.lock().contains_key(place) && self.elsewhere(&record).is_none() {
            record.progress = Progress::Failed;
            record.ended.get_or_insert(record.created);
            let message = "the server stopped while the statement ran; run it again".to_string();
            record.error = Some(failure(Category::RuntimeFailure, "general", message).to_json(None));
        }
        Ok(Some(record))
    }

    /// Where the other process is that runs a statement.
    fn elsewhere(&self, record: &Record) -> Option<String> {
        self.siblings.as_ref()?.address(record.runner.as_ref()?)
    }

    /// Ends a statement of this process, if it has not ended. One that waits learns of it when its turn comes.
    pub fn cancel(&self, sql: &Sql, what: &Cancel) {
        self.change(&what.place, |record| record.error = Some(Value::Null));
        sql.cancel(&what.id, Some(&what.owner));
    }

    /// The first statement of that id, whosever it is.
    async fn find_anywhere(&self, id: &str) -> segment::Result<Option<Record>> {
        let is_meant = |place: &str| place.rsplit_once('/').is_some_and(|(_, of)| of == id);
        let running = self.running.lock().keys().find(|place| is_meant(place)).cloned();
        let place = match running {
            Some(place) => Some(place),
            None => self.places().await?.into_iter().find(|place| is_meant(place)),
        };
        match place {
            Some(place) => self.find(&place).await,
            None => Ok(None),
        }
    }

    /// Whether somebody asked a statement that has not ended to end.
    fn is_cancelled(&self, place: &str) -> bool {
        self.running.lock().get(place).is_some_and(|record| record.error.is_some())
    }

    fn change(&self, place: &str, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.running.lock().get_mut(place) {
            change(record);
        }
    }

    async fn remove(&self, place: &str) -> segment::Result<()> {
        // The status goes last: until then the rest can be found by it.
        self.remove_pages(place).await?;
        self.objects.delete(&format!("{place}/status")).await?;
        self.kept.remove(place);
        Ok(())
    }

    async fn remove_pages(&self, place: &str) -> segment::Result<()> {
        let status = format!("{place}/status");
        for name in self.objects.list(place).await?.iter().filter(|name| **name != status) {
            self.objects.delete(name).await?;
        }
        self.kept.set(place, 0);
        Ok(())
    }

    /// Of all statements that are kept.
    async fn places(&self) -> segment::Result<Vec<String>> {
        let names = self.objects.list("").await?;
        Ok(names.iter().filter_map(|name| name.strip_suffix("/status")).map(str::to_string).collect())
    }

    /// Counts what is kept, and removes results that are older than they may be at that time, if it is told.
    async fn sweep(&self, now: Option<i64>) -> segment::Result<()> {
        let known = self.kept.places();
        let places = self.places().await?;
        for place in &places {
            // One that cannot be read keeps no other.
            if let Err(error) = self.sweep_one(place, now).await {
                tracing::warn!(%error, place, "results of a statement cannot be looked at or removed");
            }
        }
        // Others may have removed some.
        let there: HashSet<String> = places.into_iter().collect();
        let is_gone = |place: &&String| !self.running.lock().contains_key(place.as_str());
        known.difference(&there).filter(is_gone).for_each(|place| self.kept.remove(place));
        Ok(())
    }

    async fn sweep_one(&self, place: &str, now: Option<i64>) -> segment::Result<()> {
        let Some(record) = self.find(place).await? else { return Ok(()) };
        let is_old = |now: i64| now.saturating_sub(record.ended.unwrap_or(record.created)) > self.time_to_live_ms;
        if record.has_ended() && now.is_some_and(is_old) {
            return self.remove(place).await;
        }
        // What runs here counts its pages itself.
        if !self.running.lock().contains_key(place) {
            self.kept.set(place, record.pages.iter().map(|(_, bytes)| bytes).sum());
        }
        Ok(())
    }
}

/// Refuses what was made of rows to who would not see the same of them now: a token may be for fewer roles than its owner
/// has, and rules change.
fn check_sees(app: &App, caller: &Caller, record: &Record) -> query_sql::Result<()> {
    let who = &caller.principal;
    let Some(terms) = &record.terms else {
        if record.progress != Progress::Success {
            return Ok(());
        }
        return Err(
            query::Error::Denied("it is not known by which rules this statement ran; run it again".into()).into()
        );
    };
    // An administrator looks at what is somebody else's, and sees all that there is in any case.
    let is_whole = |table| !app.rules().is_restricted(who, table);
    if !is_own(app, caller, record) && terms.tables().all(is_whole) {
        return Ok(());
    }
    Ok(app.identity.authorizer().still_sees(who, terms)?)
}

fn is_own(app: &App, caller: &Caller, record: &Record) -> bool {
    record.owner == app.identity.owner(caller)
}

/// `None` if the caller has no such statement.
async fn find(app: &App, caller: &Caller, id: &str) -> segment::Result<Option<Record>> {
    // Of another form none is accepted, and none is looked for elsewhere.
    if !is_plain(id) {
        return Ok(None);
    }
    let own = app.statements.find(&place(&app.identity.owner(caller), id)).await?;
    match own {
        None if app.is_admin(caller) => app.statements.find_anywhere(id).await,
        own => Ok(own),
    }
}

/// Removes old results for as long as the node runs.
pub async fn expire(app: std::sync::Weak<App>) {
    // Nothing of it is removed before it can be known who runs what.
    if let Some(app) = app.upgrade()
        && let Err(error) = app.statements.sweep(None).await
    {
        tracing::warn!(%error, "results of statements cannot be counted");
    }
    loop {
        let Some(time_to_live) = app.upgrade().map(|app| app.config.statement_ttl) else { return };
        tokio::time::sleep((time_to_live / 2).min(LOOK_MAX).max(Duration::from_millis(100))).await;
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = app.statements.sweep(Some(now())).await {
            tracing::warn!(%error, "results of statements cannot be removed");
        }
    }
}

fn is_plain(id: &str) -> bool {
    let plain = |ch: char| ch.is_ascii_alphanumeric() || "-_.".contains(ch);
    !id.is_empty() && id.len() <= 200 && !id.starts_with('.') && id.chars().all(plain)
}

fn failure(category: Category, error_code: &'static str, message: String) -> Failure {
    Failure { category, persona: "USER", error_code, message, legacy: None }
}

fn invalid(app: &App, message: impl Into<String>) -> Response {
    let failure = failure(Category::InvalidInput, "invalidInput", message.into());
    super::error::failed_query(&failure, &app.address)
}

fn full(app: &App, message: String) -> Response {
    let failure = failure(Category::CapacityExceeded, "general", message);
    super::error::failed_query(&failure, &app.address)
}

fn unknown(app: &App, id: &str) -> Response {
    let failure =
        failure(Category::NotFound, "notFound", format!("Query [{id}] was not found; its results may be too old"));
    super::error::failed_query(&failure, &app.address)
}

fn refused(app: &App, error: &query_sql::Error) -> Response {
    let (category, body) = error_body(app, error);
    (super::error::status(category), Json(body)).into_response()
}

fn broken(error: &segment::Error) -> Response {
    tracing::warn!(%error, "results of a statement");
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"error": error.to_string()}))).into_response()
}

pub async fn enabled() -> Json<Value> {
    Json(json!({"enabled": true}))
}

pub async fn post(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = match Request::read(&headers, &body) {
        Ok(request) => request,
        Err((code, message)) => {
            return (code, Json(json!({"error": message, "errorMessage": message}))).into_response();
        }
    };
    match request.context.get("executionMode").and_then(Value::as_str) {
        Some(mode) if mode.eq_ignore_ascii_case("async") => {}
        Some(mode) => {
            return invalid(
                &app,
                format!("executionMode [{mode}] is not that of statements; set context.executionMode to [ASYNC]"),
            );
        }
        None => return invalid(&app, "executionMode is missing; set context.executionMode to [ASYNC]"),
    }
    let rows_per_page = match request.context.get("rowsPerPage") {
        None | Some(Value::Null) => ROWS_PER_PAGE,
        Some(rows) => match rows.as_u64().filter(|rows| *rows > 0) {
            Some(rows) => rows,
            None => return invalid(&app, format!("rowsPerPage must be a number above 0, not {rows}")),
        },
    };
    let id = match request.context.get("sqlQueryId").and_then(Value::as_str) {
        // It becomes part of a name in deep storage.
        Some(id) if is_plain(id) => id.to_string(),
        Some(id) if !id.is_empty() => {
            return invalid(
                &app,
                format!(
                    "sqlQueryId [{id}] must be letters, digits, dashes, underscores and dots within it, 200 at most"
                ),
            );
        }
        _ => format!("query-{}", uuid::Uuid::new_v4()),
    };
    let mut context = request.context.clone();
    context.insert("sqlQueryId".into(), json!(id));
    // Nobody waits for it: it may take as long as any query.
    if !app.broker.settings().default_context.contains_key("timeout") {
        context.entry("timeout").or_insert(json!(app.config.query_timeout_max_ms));
    }
    let statement =
        Statement { text: request.text.clone(), parameters: request.parameters.clone(), context, now: now() };
    let who = &caller.principal;
    audit::note(|details| details.query("sql", &id, &statement.text));
    let outline = match app.sql.outline(&statement, who).await {
        Ok(outline) if outline.explain => {
            return super::sql::query(State(app.clone()), Extension(caller), headers, body).await;
        }
        Ok(outline) => outline,
        Err(error) => return refused(&app, &error),
    };
    let columns = outline.columns.into_iter();
    let record = Record {
        id: id.clone(),
        owner: app.identity.owner(&caller),
        runner: app.statements.siblings.as_ref().map(|siblings| siblings.own.clone()),
        created: statement.now,
        ended: None,
        progress: Progress::Accepted,
        columns: columns.map(|column| (column.name, column.native_type, column.sql_type)).collect(),
        result_format: request.format.result_format.name().to_string(),
        header: request.format.header,
        types_header: request.format.types_header,
        sql_types_header: request.format.sql_types_header,
        zone: outline.zone.name().to_string(),
        stringify_arrays: query_sql::stringify_arrays(&app.sql.context(&statement)),
        pages: Vec::new(),
        sample: json!([]),
        terms: None,
        error: None,
    };
    let place = record.place();
    match app.statements.find(&place).await {
        Ok(None) => {}
        Ok(Some(_)) => {
            return invalid(&app, format!("sqlQueryId [{id}] is taken by a statement of yours; give another or none"));
        }
        Err(error) => return broken(&error),
    }
    {
        let mut running = app.statements.running.lock();
        if running.contains_key(&place) {
            drop(running);
            return invalid(&app, format!("sqlQueryId [{id}] is taken by a statement of yours; give another or none"));
        }
        let own = running.values().filter(|of| of.owner == record.owner).count();
        if running.len() >= ACCEPTED_MAX || own >= ACCEPTED_MAX - ACCEPTED_MAX / 4 {
            let all = running.len();
            drop(running);
            return full(
                &app,
                format!("{all} statements wait or run already, {own} of them are yours; try again later"),
            );
        }
        if let Err(why) = app.statements.kept.add(&place, 0) {
            drop(running);
            return full(&app, why);
        }
        running.insert(place.clone(), record.clone());
    }
    // In a task of its own: whoever sent it may leave before it is written, and what has its place runs.
    let described = Json(described(&record, false));
    let accepting = tokio::spawn(accept(app.clone(), caller, statement, record, rows_per_page as usize)).await;
    match accepting.unwrap_or_else(|error| Err(segment::Error::io("accepting the statement", error.into()))) {
        Ok(()) => described.into_response(),
        Err(error) => broken(&error),
    }
}

/// Keeps a statement that has its place, and begins to run it.
async fn accept(
    app: Arc<App>,
    caller: Caller,
    statement: Statement,
    record: Record,
    rows_per_page: usize,
) -> segment::Result<()> {
    if let Err(error) = app.statements.write(&record).await {
        app.statements.running.lock().remove(&record.place());
        app.statements.kept.remove(&record.place());
        return Err(error);
    }
    tokio::spawn(run(app, caller, statement, record.place(), rows_per_page));
    Ok(())
}

/// Runs an accepted statement to its end.
async fn run(app: Arc<App>, caller: Caller, statement: Statement, place: String, rows_per_page: usize) {
    let id = statement.context.get("sqlQueryId").and_then(Value::as_str).unwrap_or_default().to_string();
    let statements = &app.statements;
    let own = statements.own_permits(&app.identity.owner(&caller).key());
    let Ok(own_permit) = own.acquire().await else { return };
    let Ok(permit) = statements.permits.acquire().await else { return };
    let cancelled = statements.is_cancelled(&place);
    statements.change(&place, |record| record.progress = Progress::Running);
    let begun = statements.running.lock().get(&place).cloned();
    // Others find it where it is kept. That it waits still is no harm if it cannot be.
    if let (Some(record), Some(_), false) = (begun, &statements.siblings, cancelled)
        && let Err(error) = statements.write(&record).await
    {
        tracing::warn!(%error, %id, "that a statement runs cannot be written");
    }
    let outcome = match cancelled {
        true => Err(query_sql::Error::Cancelled),
        false => {
            let (app, id, place) = (app.clone(), id.clone(), place.clone());
            // In a task of its own, so that whatever befalls it, the statement ends.
            let work = async move {
                let path = format!("/druid/v2/sql/statements/{id}");
                let work = super::sql::measured(&app, &id, || pages(&app, &caller, &place, &statement, rows_per_page));
                crate::audit::followed(&app.audit, caller.address, path, work).await
            };
            let ended = tokio::spawn(work).await;
            ended.unwrap_or_else(|error| Err(query_sql::Error::Bug(format!("the statement broke off: {error}"))))
        }
    };
    // What is left is to tell of it.
    drop((permit, own_permit));
    let Some(mut record) = statements.running.lock().get(&place).cloned() else { return };
    record.ended = Some(now());
    match outcome {
        Ok(made) => {
            record.progress = Progress::Success;
            record.pages = made.pages;
            record.sample = made.sample;
            record.terms = Some(made.terms);
            record.error = None;
        }
        Err(error) => {
            record.progress = Progress::Failed;
            record.error = Some(error_body(&app, &error).1);
            // Nobody can read what there is of it.
            if let Err(error) = statements.remove_pages(&place).await {
                tracing::warn!(%error, %id, "pages of a statement that failed cannot be removed");
            }
        }
    }
    // It is told once it is kept: an end that was told outlives a crash.
    while let Err(error) = statements.write(&record).await {
        tracing::warn!(%error, %id, "the status of a statement cannot be written; trying again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    statements.running.lock().remove(&place);
}

struct Made {
    pages: Vec<(u64, u64)>,
    sample: Value,
    terms: Terms,
}

async fn pages(
    app: &App,
    caller: &Caller,
    place: &str,
    statement: &Statement,
    rows_per_page: usize,
) -> query_sql::Result<Made> {
    let answer = super::sql::run(app, statement, &caller.principal).await?;
    if !answer.context.uncovered.is_empty() {
        // What is kept is read later, when nobody asks any more what it lacks.
        return Err(query::Error::Unavailable(
            "rows that the statement is about are not available yet; run it again".into(),
        )
        .into());
    }
    let (columns, zone) = (answer.columns.clone(), answer.zone.clone());
    let (none, terms) = (answer.no_rows()?, answer.terms.clone());
    app.statements.change(place, |record| record.terms = Some(terms.clone()));
    let mut pages = answer.pages(rows_per_page);
    let (mut written, mut bytes, mut sample) = (Vec::new(), 0, json!([]));
    while let Some(page) = pages.next().await {
        let page = page?;
        if app.statements.is_cancelled(place) {
            return Err(query_sql::Error::Cancelled);
        }
        bytes += page.bytes.len() as u64;
        if bytes > app.statements.bytes_max {
            return Err(query_sql::Error::Busy(format!(
                "the result has more than {} bytes (setting sql.statement_bytes_max); narrow the statement",
                app.statements.bytes_max
            )));
        }
        if written.is_empty() {
            let stringify_arrays = query_sql::stringify_arrays(&app.sql.context(statement));
            sample = first_rows(&columns, page.bytes.clone(), zone.clone(), stringify_arrays).await?;
        }
        let size = page.bytes.len() as u64;
        app.statements.kept.add(place, size).map_err(query_sql::Error::Busy)?;
        let name = format!("{place}/page-{}", written.len());
        let kept = app.statements.objects.put(&name, page.bytes.into()).await;
        kept.map_err(|error| query_sql::Error::Bug(error.to_string()))?;
        written.push((page.rows as u64, size));
    }
    // It counts as no page, and has the types that readers of Arrow want.
    if written.is_empty() {
        let kept = app.statements.objects.put(&format!("{place}/page-0"), none.into()).await;
        kept.map_err(|error| query_sql::Error::Bug(error.to_string()))?;
    }
    if app.statements.is_cancelled(place) {
        return Err(query_sql::Error::Cancelled);
    }
    Ok(Made { pages: written, sample, terms })
}

async fn first_rows(
    columns: &[SqlColumn],
    page: Vec<u8>,
    zone: Zone,
    stringify_arrays: bool,
) -> query_sql::Result<Value> {
    let none = futures::stream::empty().boxed();
    let answer = SqlAnswer::of_pages(columns.to_vec(), page, none, zone, stringify_arrays)?.limited(SAMPLE_ROWS);
    let format = Format { result_format: ResultFormat::Array, ..Format::default() };
    let chunks: Vec<_> = answer.body(&format).collect().await;
    let text = chunks.into_iter().collect::<query_sql::Result<Vec<_>>>()?.concat();
    serde_json::from_slice(&text).map_err(|error| query_sql::Error::Bug(error.to_string()))
}

/// Druid's `SqlStatementResult`.
fn described(record: &Record, detail: bool) -> Value {
    let schema: Vec<Value> = record
        .columns
        .iter()
        .map(|(name, native, sql)| json!({"name": name, "type": sql, "nativeType": native}))
        .collect();
    // What came of nothing has no columns: whether they are still there for the asker is not known.
    let schema = if record.progress == Progress::Failed { Vec::new() } else { schema };
    let mut json = json!({
        "queryId": record.id,
        "state": record.progress,
        "createdAt": segment::time::format_timestamp(record.created),
        "schema": schema,
        "durationMs": record.ended.map_or(-1, |ended| ended - record.created),
    });
    match record.progress {
        Progress::Success => {
            let pages: Vec<Value> = record
                .pages
                .iter()
                .enumerate()
                .map(|(page, (rows, bytes))| json!({"id": page, "numRows": rows, "sizeInBytes": bytes}))
                .collect();
            json["result"] = json!({
                "numTotalRows": record.pages.iter().map(|(rows, _)| rows).sum::<u64>(),
                "totalSizeInBytes": record.pages.iter().map(|(_, bytes)| bytes).sum::<u64>(),
                "resultFormat": record.result_format,
                "dataSource": "__query_select",
                "sampleRecords": record.sample,
                "pages": pages,
            });
        }
        Progress::Failed => json["errorDetails"] = record.error.clone().unwrap_or(Value::Null),
        Progress::Accepted | Progress::Running => {}
    }
    if detail {
        json["stages"] = json!([]);
        json["counters"] = json!({});
        json["warnings"] = json!([]);
    }
    json
}

/// Has it on record that results of a statement are asked for, and whose it is if it is somebody else's.
fn note_reading(app: &App, caller: &Caller, record: &Record) {
    let datasources: Vec<&str> = record.terms.iter().flat_map(Terms::tables).collect();
    audit::note(|details| {
        details.results(&record.id);
        details.reads(datasources.into_iter());
        details.object = Some(record.owner.name.clone()).filter(|_| !is_own(app, caller, record));
    });
}

pub async fn status(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    uri: Uri,
) -> Response {
    match find(&app, &caller, &id).await {
        Ok(Some(record)) => {
            // It shows the first rows. Who waits for the end of a statement asks for its status many times.
            if !is_own(&app, &caller, &record) && record.progress == Progress::Success {
                note_reading(&app, &caller, &record);
            }
            match check_sees(&app, &caller, &record) {
                Ok(()) => Json(described(&record, Parameters::of(&uri).has("detail"))).into_response(),
                Err(error) => refused(&app, &error),
            }
        }
        Ok(None) => unknown(&app, &id),
        Err(error) => broken(&error),
    }
}

/// 202 while the statement can still be ended, 200 after: then it is gone, with its results.
pub async fn cancel(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response {
    let record = match find(&app, &caller, &id).await {
        Ok(Some(record)) => record,
        Ok(None) => return unknown(&app, &id),
        Err(error) => return broken(&error),
    };
    audit::note(|details| {
        details.object = Some(record.owner.name.clone()).filter(|_| !is_own(&app, &caller, &record));
    });
    if record.has_ended() {
        return match app.statements.remove(&record.place()).await {
            Ok(()) => StatusCode::OK.into_response(),
            Err(error) => broken(&error),
        };
    }
    let what = Cancel { place: record.place(), id, owner: record.owner.name.clone() };
    if let (Some(address), Some(siblings)) = (app.statements.elsewhere(&record), &app.statements.siblings) {
        return match siblings.cancel(&address, &what).await {
            Ok(()) => StatusCode::ACCEPTED.into_response(),
            Err(error) => {
                super::error::Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response()
            }
        };
    }
    app.statements.cancel(&app.sql, &what);
    StatusCode::ACCEPTED.into_response()
}

pub async fn results(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    uri: Uri,
) -> Response {
    let parameters = Parameters::of(&uri);
    let record = match find(&app, &caller, &id).await {
        Ok(Some(record)) => record,
        Ok(None) => return unknown(&app, &id),
        Err(error) => return broken(&error),
    };
    note_reading(&app, &caller, &record);
    if let Err(error) = check_sees(&app, &caller, &record) {
        audit::note(|details| details.error = Some(format!("{:?}", error.kind())));
        return refused(&app, &error);
    }
    match record.progress {
        Progress::Success => {}
        Progress::Failed => {
            let message = record.error.as_ref().and_then(|error| error["errorMessage"].as_str()).unwrap_or_default();
            return invalid(&app, format!("Query [{id}] failed: {message}"));
        }
        Progress::Accepted | Progress::Running => {
            return invalid(&app, format!("Query [{id}] has not ended yet; ask again later"));
        }
    }
    let pages = match parameters.get("page") {
        None => 0..record.pages.len(),
        Some(text) => match text.parse::<usize>() {
            Ok(page) if page < record.pages.len().max(1) => page..(page + 1).min(record.pages.len()),
            _ => {
                return invalid(
                    &app,
                    format!("page [{text}] is not one of the {} pages, counted from 0", record.pages.len()),
                );
            }
        },
    };
    let result_format = match parameters.get("resultFormat").unwrap_or(&record.result_format).parse::<ResultFormat>() {
        Ok(result_format) => result_format,
        Err(error) => return invalid(&app, error.to_string()),
    };
    let pages = if pages.is_empty() && result_format == ResultFormat::Arrow { 0..1 } else { pages };
    let mut response = if pages.is_empty() {
        StatusCode::OK.into_response()
    } else {
        let format = Format {
            result_format,
            header: record.header,
            types_header: record.types_header,
            sql_types_header: record.sql_types_header,
        };
        match kept(&app, &record, pages, &format).await {
            Ok(response) => response,
            Err(error) => return refused(&app, &error),
        }
    };
    let content = HeaderValue::from_static(result_format.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, content);
    if let Some(name) = parameters.get("filename") {
        let name: String = name.chars().filter(|ch| !ch.is_control() && !"\"\\/".contains(*ch)).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
            response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
        }
    }
    response
}

/// The pages as one answer; the next is read when the one before it is written.
async fn kept(
    app: &Arc<App>,
    record: &Record,
    pages: std::ops::Range<usize>,
    format: &Format,
) -> query_sql::Result<Response<Body>> {
    let columns = record.columns.iter().cloned();
    let columns = columns.map(|(name, native_type, sql_type)| SqlColumn { name, native_type, sql_type }).collect();
    let zone = Zone::parse(&record.zone).map_err(|error| query_sql::Error::Bug(error.to_string()))?;
    let (app, place) = (app.clone(), record.place());
    let rows: Vec<u64> = record.pages.iter().map(|(rows, _)| *rows).collect();
    let read = futures::stream::iter(pages).then(move |page| {
        let (app, name) = (app.clone(), format!("{place}/page-{page}"));
        let rows = rows.get(page).map_or(0, |rows| *rows as usize);
        async move {
            match app.statements.objects.get(&name).await {
                Ok(Some(bytes)) => Ok((bytes.to_vec(), rows)),
                Ok(None) => {
                    Err(query_sql::Error::Invalid("the results were deleted, or were too old and removed".into()))
                }
                Err(error) => Err(query_sql::Error::Bug(error.to_string())),
            }
        }
    });
    let counted = audit::counted(read.boxed(), |(_, rows)| *rows);
    let mut bytes = counted.map(|page| page.map(|(bytes, _)| bytes)).boxed();
    let first = bytes.next().await.unwrap_or_else(|| Err(query_sql::Error::Bug("a result has no pages".into())))?;
    let answer = SqlAnswer::of_pages(columns, first, bytes, zone, record.stringify_arrays)?;
    super::native::stream(answer.body(format).map(|chunk| chunk.map(Bytes::from)).boxed()).await
}
