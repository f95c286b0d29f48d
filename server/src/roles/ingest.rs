//! Runs tasks: the coordinator's orders to the worker, the worker's reports to the coordinator.

use std::collections::BTreeMap;

use coordinator::{Condition, Phase, TaskProgress, TaskRecord, TaskState};
use ingest::report::{ParseProblem, Rates, RowStats};
use ingest::{PartitionKey, Positions, StartTask, StopReason, TaskReport};
use segment::time::format_timestamp;
use serde_json::{Map, Value, json};

use super::ledger::ours;

pub fn order(task: TaskRecord, attempt: i64) -> StartTask {
    StartTask {
        id: task.id,
        group_id: task.group_id,
        datasource: task.datasource,
        kind: task.kind,
        supervisor: task.supervisor,
        document: task.document,
        group: task.group,
        groups: task.groups,
        generation: task.generation,
        created_at: task.created_at,
        attempt,
    }
}

pub fn reason(reason: coordinator::StopReason) -> StopReason {
    match reason {
        coordinator::StopReason::Suspend => StopReason::Suspend,
        coordinator::StopReason::Replace => StopReason::Replace,
        coordinator::StopReason::Terminate => StopReason::Terminate,
        coordinator::StopReason::Shutdown => StopReason::Shutdown,
        coordinator::StopReason::Reset => StopReason::Reset,
        coordinator::StopReason::Cancel => StopReason::Cancel,
    }
}

pub fn progress(report: &TaskReport, now: i64) -> TaskProgress {
    TaskProgress {
        id: report.id.clone(),
        attempt: report.attempt,
        caught_up: report.caught_up,
        done: report.is_done(),
        state: match report.state {
            ingest::TaskState::Running => TaskState::Running,
            ingest::TaskState::Success => TaskState::Success,
            ingest::TaskState::Failed => TaskState::Failed,
        },
        phase: match report.phase {
            ingest::report::Phase::Starting => Phase::Starting,
            ingest::report::Phase::Reading => Phase::Reading,
            ingest::report::Phase::Idle => Phase::Idle,
            ingest::report::Phase::Publishing | ingest::report::Phase::Waiting | ingest::report::Phase::Ended => {
                Phase::Publishing
            }
        },
        condition: condition(&report.condition),
        error: report.error.clone(),
        positions: ours(&report.positions),
        lag: report.lag().into_iter().map(|(key, lag)| (key.to_string(), lag)).collect(),
        report: told(report, now),
    }
}

fn condition(condition: &ingest::report::Condition) -> Condition {
    use ingest::report::Condition as Theirs;
    match condition {
        Theirs::Connecting => Condition::Connecting,
        Theirs::Healthy => Condition::Healthy,
        Theirs::UnableToConnect(text) => Condition::UnableToConnect(text.clone()),
        Theirs::LostContact(text) => Condition::LostContact(text.clone()),
        Theirs::StreamProblem(text) | Theirs::StorageProblem(text) => Condition::Hindered(text.clone()),
    }
}

/// The report as the catalog keeps it, made of the pieces that Druid's status, stats and report pages show.
fn told(report: &TaskReport, now: i64) -> Value {
    let offsets = |positions: &Positions| by_partition(positions.0.iter().map(|(key, at)| (key, *at)));
    let lag = report.lag();
    let publishing: Vec<Value> = report
        .publishing
        .iter()
        .map(|p| json!({"sequence": p.sequence, "startingOffsets": offsets(&p.from), "currentOffsets": offsets(&p.to), "published": p.published}))
        .collect();
    let incidents: Vec<Value> = report
        .incidents
        .iter()
        .map(|i| json!({"timestamp": format_timestamp(i.at), "message": i.message, "streamException": i.stream}))
        .collect();
    json!({
        "startingOffsets": offsets(&report.start),
        "currentOffsets": offsets(&report.positions),
        "latestOffsets": offsets(&report.ends),
        "offsetsLastUpdated": format_timestamp(report.ends_at),
        "lag": by_partition(lag.iter().map(|(key, lag)| (key, *lag))),
        "startTime": format_timestamp(report.started_at),
        "remainingSeconds": ((report.sequence_closes_at - now) / 1000).max(0),
        "state": format!("{:?}", report.phase).to_uppercase(),
        "caughtUp": report.caught_up,
        "publishing": publishing,
        "incidents": incidents,
        "rowStats": row_stats(&report.rows),
        "movingAverages": {"1m": rates(&report.rates[0]), "5m": rates(&report.rates[1]), "15m": rates(&report.rates[2])},
        "parseErrors": report.parse_problems.iter().map(parse_error).collect::<Vec<_>>(),
        "segmentsPublished": report.segments_published,
        "ignored": report.ignored_fields,
        "errorMsg": report.error,
    })
}

/// Keyed by the partition's number, or by `topic:partition` if there are several topics.
fn by_partition<'a>(entries: impl Iterator<Item = (&'a PartitionKey, i64)>) -> Value {
    let entries: Vec<_> = entries.collect();
    let one_topic = entries.windows(2).all(|pair| pair[0].0.topic == pair[1].0.topic);
    let name = |key: &PartitionKey| if one_topic { key.partition.to_string() } else { key.to_string() };
    let sorted: BTreeMap<&PartitionKey, i64> = entries.into_iter().collect();
    Value::Object(sorted.into_iter().map(|(key, number)| (name(key), json!(number))).collect::<Map<_, _>>())
}

fn row_stats(rows: &RowStats) -> Value {
    json!({
        "processed": rows.processed,
        "processedBytes": rows.processed_bytes,
        "processedWithError": rows.processed_with_error,
        "thrownAway": rows.thrown_away.total(),
        "thrownAwayByReason": {
            "filtered": rows.thrown_away.filtered,
            "beforeMinimumMessageTime": rows.thrown_away.late,
            "afterMaximumMessageTime": rows.thrown_away.early,
        },
        "unparseable": rows.unparseable,
        "restored": rows.restored,
    })
}

fn rates(rates: &Rates) -> Value {
    json!({
        "processed": rates.processed,
        "processedBytes": rates.processed_bytes,
        "processedWithError": rates.processed_with_error,
        "unparseable": rates.unparseable,
        "thrownAway": rates.thrown_away,
    })
}

fn parse_error(problem: &ParseProblem) -> Value {
    json!({
        "input": problem.input,
        "errorType": "ParseException",
        "details": [format!("{} ({})", problem.reason, problem.place)],
        "timeOfExceptionMillis": problem.at,
    })
}
