//! The supervisor spec of Kafka, and of the store's own journal: envelope and ioConfig.

use std::collections::BTreeMap;

use regex::Regex;
use segment::error::{Error, Result};
use serde_json::{Map, Value, json};

use super::data_schema::{DataSchema, check_name};
use super::fields::{Fields, kind_of, not_one_of};
use super::format::InputFormat;
use super::properties::{self, Environment};
use super::scaling::AutoScaler;
use super::tuning::Tuning;

#[derive(Debug, Clone)]
pub struct SupervisorSpec {
    pub id: String,
    pub data_schema: DataSchema,
    pub io: KafkaIo,
    pub tuning: Tuning,
    pub context: Map<String, Value>,
    pub suspended: bool,
    /// Paths of the fields that Druid has and Henge gives no meaning.
    pub ignored: Vec<String>,
    /// As posted.
    pub document: Value,
}

/// Which topics are read.
#[derive(Debug, Clone)]
pub enum Stream {
    Topic(String),
    /// All topics whose whole name matches. The text is as posted, the expression anchored.
    Pattern {
        text: String,
        regex: Regex,
    },
    /// The journal of that name that this process keeps of itself.
    Journal(String),
}

/// The type of the supervisor that reads the journal. Nobody posts one: its datasource is the store's own.
pub const JOURNAL: &str = "journal";

#[derive(Debug, Clone)]
pub struct KafkaIo {
    pub stream: Stream,
    pub format: InputFormat,
    /// As posted, values as text; `bootstrap.servers` is there.
    pub consumer_properties: BTreeMap<String, String>,
    /// Where the number follows the lag: what it starts with.
    pub task_count: u32,
    pub auto_scaler: Option<AutoScaler>,
    pub task_duration_millis: i64,
    /// Where reading starts when no position is recorded.
    pub use_earliest_offset: bool,
    pub late_rejection: Option<LateRejection>,
    /// Rows later than the task's planned end plus this are thrown away.
    pub early_rejection_millis: Option<i64>,
    /// Idle after so many milliseconds without new data; `None` never.
    pub idle_after_millis: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateRejection {
    /// Rows earlier than the task's start minus this are thrown away.
    Period(i64),
    /// Rows earlier than this instant are thrown away.
    Before(i64),
}

const IO: [&str; 17] = [
    "type",
    "topic",
    "topicPattern",
    "inputFormat",
    "consumerProperties",
    "pollTimeout",
    "taskCount",
    "autoScalerConfig",
    "taskDuration",
    "startDelay",
    "period",
    "useEarliestOffset",
    "completionTimeout",
    "lateMessageRejectionPeriod",
    "lateMessageRejectionStartDateTime",
    "earlyMessageRejectionPeriod",
    "idleConfig",
];

const IO_UNUSED: [&str; 10] = [
    "replicas",
    "stopTaskCount",
    "lagAggregator",
    "configOverrides",
    "emitTimeLagMetrics",
    "serverPriorityToReplicas",
    "boundedStreamConfig",
    "stream",
    "useEarliestSequenceNumber",
    "multiTopic",
];

impl SupervisorSpec {
    /// Reads a posted spec, nested (`spec: {…}`) or in the legacy flat form. A spec as Druid reads it back holds both:
    /// then the nested one counts.
    pub fn from_json(document: &Value) -> Result<SupervisorSpec> {
        SupervisorSpec::read(document, &properties::environment)
    }

    /// The same before anything is looked up for it: values of variables are blank. Whether one is set is not told to who
    /// may not have the spec run.
    pub fn unresolved(document: &Value) -> Result<SupervisorSpec> {
        SupervisorSpec::read(document, &properties::blank)
    }

    fn read(document: &Value, environment: &Environment) -> Result<SupervisorSpec> {
        let mut ignored = Vec::new();
        let meant = ["type", "id", "spec", "dataSchema", "ioConfig", "tuningConfig", "context", "suspended"];
        let f = Fields::open(document, "", &meant, &[], &mut ignored)?;
        let kind = f.required_text("type")?;
        match kind.as_str() {
            "kafka" | JOURNAL => {}
            "kinesis" | "rabbit" | "autocompact" | "scheduled_batch" => {
                return Err(Error::invalid(format!("type {kind:?} is not supported; valid are kafka")));
            }
            other => return Err(not_one_of("type", other, &["kafka"])),
        }
        let (body, at) = match f.get("spec") {
            Some(spec) => (spec, "spec"),
            None => (document, ""),
        };
        let spec = match at {
            "" => f,
            _ => Fields::open(
                body,
                at,
                &["type", "dataSchema", "ioConfig", "tuningConfig", "context", "suspended"],
                &[],
                &mut ignored,
            )?,
        };
        let data_schema =
            DataSchema::from_json(spec.required("dataSchema")?, &spec.path_of("dataSchema"), &mut ignored)?;
        if (kind == JOURNAL) != segment::is_system(&data_schema.datasource) {
            let name = &data_schema.datasource;
            return Err(Error::invalid(match kind == JOURNAL {
                true => "type \"journal\" is the store's own; valid are kafka".to_string(),
                false => {
                    format!(
                        "{} {name:?} begins as the store's own datasources do",
                        spec.path_of("dataSchema.dataSource")
                    )
                }
            }));
        }
        let (io, at) = (spec.required("ioConfig")?, spec.path_of("ioConfig"));
        let io = KafkaIo::read(&kind, io, &at, environment, &mut ignored)?;
        let tuning = Tuning::kafka(spec.get("tuningConfig"), &spec.path_of("tuningConfig"), &mut ignored)?;
        let outer = Fields::open(document, "", &meant, &[], &mut Vec::new())?;
        let context = match outer.get("context") {
            None => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(other) => return Err(Error::invalid(format!("context must be an object, not {}", kind_of(other)))),
        };
        let id = outer.text("id")?.unwrap_or_else(|| data_schema.datasource.clone());
        check_name(&id, "id")?;
        let suspended = outer.flag("suspended", false)?;
        Ok(SupervisorSpec { id, data_schema, io, tuning, context, suspended, ignored, document: document.clone() })
    }

    /// The spec as it is read back: nested, with the legacy copies at the top level.
    pub fn to_json(&self) -> Value {
        let body = self.document.get("spec").unwrap_or(&self.document);
        let part = |name: &str| body.get(name).cloned().unwrap_or(Value::Null);
        let tuning = match part("tuningConfig") {
            Value::Null => json!({"type": "kafka"}),
            given => given,
        };
        json!({
            "type": self.io.stream.kind(),
            "id": self.id,
            "spec": {"dataSchema": part("dataSchema"), "ioConfig": part("ioConfig"), "tuningConfig": tuning},
            "dataSchema": part("dataSchema"),
            "tuningConfig": tuning,
            "ioConfig": part("ioConfig"),
            "context": self.context,
            "suspended": self.suspended,
        })
    }
}

impl KafkaIo {
    /// `kind` is the supervisor's type, which the ioConfig repeats.
    fn read(
        kind: &str,
        json: &Value,
        path: &str,
        environment: &Environment,
        ignored: &mut Vec<String>,
    ) -> Result<KafkaIo> {
        let f = Fields::open(json, path, &IO, &IO_UNUSED, ignored)?;
        if let Some(own) = f.text("type")?
            && own != kind
        {
            return Err(not_one_of(&f.path_of("type"), &own, &[kind]));
        }
        let format = InputFormat::from_json(f.required("inputFormat")?, &f.path_of("inputFormat"), ignored)?;
        if matches!(format, InputFormat::Parquet(_)) {
            return Err(Error::invalid(format!(
                "{}.type parquet cannot be read from a stream",
                f.path_of("inputFormat")
            )));
        }
        let late = (f.period("lateMessageRejectionPeriod")?, f.text("lateMessageRejectionStartDateTime")?);
        let late_rejection = match late {
            (None, None) => None,
            (Some(period), None) => Some(LateRejection::Period(period)),
            (None, Some(text)) => {
                Some(LateRejection::Before(segment::time::parse_timestamp(&text).ok_or_else(|| {
                    Error::invalid(format!(
                        "{} {text:?} is not an ISO 8601 time",
                        f.path_of("lateMessageRejectionStartDateTime")
                    ))
                })?))
            }
            (Some(_), Some(_)) => {
                return Err(Error::invalid(format!(
                    "{} and lateMessageRejectionStartDateTime exclude each other; give one",
                    f.path_of("lateMessageRejectionPeriod")
                )));
            }
        };
        let idle_after_millis = match f.get("idleConfig") {
            None => None,
            Some(json) => {
                let idle =
                    Fields::open(json, &f.path_of("idleConfig"), &["enabled", "inactiveAfterMillis"], &[], ignored)?;
                let after = idle.at_least("inactiveAfterMillis", 1, 600_000)?;
                idle.flag("enabled", false)?.then_some(after)
            }
        };
        let task_count = f.at_least("taskCount", 1, 1)?;
        if task_count > 1_000 {
            return Err(Error::invalid(format!("{} must be at most 1000, not {task_count}", f.path_of("taskCount"))));
        }
        let auto_scaler = match f.get("autoScalerConfig") {
            None => None,
            Some(json) => AutoScaler::read(json, &f.path_of("autoScalerConfig"), ignored)?,
        };
        let positive = |name: &str, default: i64| -> Result<i64> {
            match f.period(name)?.unwrap_or(default) {
                0 => Err(Error::invalid(format!("{} must be longer than nothing", f.path_of(name)))),
                millis => Ok(millis),
            }
        };
        // The stream is polled when there is room, supervisors are looked at when something changes, and publishing is
        // tried again for as long as it takes.
        f.at_least("pollTimeout", 0, 100)?;
        f.period("startDelay")?;
        positive("period", 30_000)?;
        positive("completionTimeout", 1_800_000)?;
        f.ignore(&["pollTimeout", "startDelay", "period", "completionTimeout"], ignored);
        let (stream, consumer_properties) = match kind {
            JOURNAL => (Stream::Journal(f.required_text("topic")?), BTreeMap::new()),
            _ => {
                let path = f.path_of("consumerProperties");
                (stream(&f)?, properties::read(f.required("consumerProperties")?, &path, environment)?)
            }
        };
        Ok(KafkaIo {
            stream,
            format,
            consumer_properties,
            task_count: auto_scaler.as_ref().map_or(task_count as u32, AutoScaler::first_count),
            auto_scaler,
            task_duration_millis: positive("taskDuration", 3_600_000)?,
            use_earliest_offset: f.flag("useEarliestOffset", false)?,
            late_rejection,
            early_rejection_millis: f.period("earlyMessageRejectionPeriod")?,
            idle_after_millis,
        })
    }

    /// The times that rows may have when a task starts at `started_at`: inclusive and exclusive bound.
    pub fn window(&self, started_at: i64) -> (i64, i64) {
        let from = match self.late_rejection {
            None => i64::MIN,
            Some(LateRejection::Period(millis)) => started_at.saturating_sub(millis),
            Some(LateRejection::Before(at)) => at,
        };
        let until = self.early_rejection_millis.map_or(i64::MAX, |millis| {
            started_at.saturating_add(self.task_duration_millis).saturating_add(millis).saturating_add(1)
        });
        (from, until)
    }
}

impl Stream {
    /// The supervisor's type.
    pub fn kind(&self) -> &'static str {
        match self {
            Stream::Topic(_) | Stream::Pattern { .. } => "kafka",
            Stream::Journal(_) => JOURNAL,
        }
    }
}

fn stream(f: &Fields) -> Result<Stream> {
    let topic = f.text("topic")?.or(f.text("stream")?);
    match (topic, f.text("topicPattern")?) {
        (Some(_), Some(_)) => {
            Err(Error::invalid(format!("{} and topicPattern exclude each other; give one", f.path_of("topic"))))
        }
        (None, None) => Err(Error::invalid(format!("{} (or topicPattern) is required", f.path_of("topic")))),
        (Some(topic), None) => {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if topic.is_empty() || topic.len() > 249 || !topic.chars().all(fits) || topic == "." || topic == ".." {
                let at = f.path_of("topic");
                return Err(Error::invalid(format!(
                    "{at} must be 1 to 249 letters, digits, dots, underscores or hyphens (for a pattern use topicPattern)"
                )));
            }
            Ok(Stream::Topic(topic))
        }
        (None, Some(text)) => {
            let regex = Regex::new(&format!("^(?:{text})$")).map_err(|e| {
                Error::invalid(format!("{} is not a regular expression: {e}", f.path_of("topicPattern")))
            })?;
            Ok(Stream::Pattern { text, regex })
        }
    }
}
