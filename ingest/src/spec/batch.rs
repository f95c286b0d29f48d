//! The spec of a native batch task: `index_parallel` and `index`.

use std::path::PathBuf;

use segment::error::{Error, Result};
use serde_json::{Map, Value};

use super::data_schema::DataSchema;
use super::fields::{Fields, kind_of, not_one_of};
use super::format::InputFormat;
use super::http::HttpSource;
use super::tuning::{Tuning, positive_or};

#[derive(Debug, Clone)]
pub struct BatchSpec {
    /// `index_parallel` or `index`.
    pub kind: String,
    pub id: Option<String>,
    pub data_schema: DataSchema,
    pub source: InputSource,
    pub format: InputFormat,
    /// Add to what is there instead of replacing the time chunks that get rows.
    pub append: bool,
    /// Also remove what is in the intervals and gets no new rows.
    pub drop_existing: bool,
    pub tuning: Tuning,
    pub context: Map<String, Value>,
    /// Paths of the fields that Druid has and Henge gives no meaning.
    pub ignored: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum InputSource {
    Inline(String),
    Local {
        /// Files below this folder whose names match `filter` (`*` and `?`).
        folder: Option<PathBuf>,
        filter: String,
        files: Vec<PathBuf>,
    },
    Http(HttpSource),
}

const BODY: [&str; 3] = ["dataSchema", "ioConfig", "tuningConfig"];
const SOURCES: [&str; 3] = ["inline", "local", "http"];

impl BatchSpec {
    pub fn from_json(document: &Value) -> Result<BatchSpec> {
        let mut ignored = Vec::new();
        let unused = ["groupId", "resource", "dataSource"];
        let outer = Fields::open(document, "", &["type", "id", "spec", "context"], &unused, &mut ignored)?;
        let kind = outer.required_text("type")?;
        if kind != "index_parallel" && kind != "index" {
            return Err(not_one_of("type", &kind, &["index_parallel", "index"]));
        }
        let f = Fields::open(outer.required("spec")?, "spec", &BODY, &["context"], &mut ignored)?;
        let data_schema = DataSchema::from_json(f.required("dataSchema")?, &f.path_of("dataSchema"), &mut ignored)?;
        if segment::is_system(&data_schema.datasource) {
            let (at, name) = (f.path_of("dataSchema.dataSource"), &data_schema.datasource);
            return Err(Error::invalid(format!("{at} {name:?} begins as the store's own datasources do")));
        }

        let meant = ["type", "inputSource", "inputFormat", "appendToExisting", "dropExisting"];
        let io = Fields::open(f.required("ioConfig")?, &f.path_of("ioConfig"), &meant, &[], &mut ignored)?;
        if let Some(given) = io.text("type")?
            && given != "index_parallel"
            && given != "index"
        {
            return Err(not_one_of(&io.path_of("type"), &given, &["index_parallel", "index"]));
        }
        let source = InputSource::from_json(io.required("inputSource")?, &io.path_of("inputSource"), &mut ignored)?;
        let format = InputFormat::from_json(io.required("inputFormat")?, &io.path_of("inputFormat"), &mut ignored)?;
        match (&format, &source) {
            (InputFormat::Kafka(_), _) => {
                return Err(Error::invalid(format!("{}.type kafka is for streams only", io.path_of("inputFormat"))));
            }
            (InputFormat::Parquet(_), InputSource::Inline(_)) => {
                return Err(Error::invalid(format!(
                    "{}.type parquet needs files, not an inline source",
                    io.path_of("inputFormat")
                )));
            }
            _ => {}
        }
        let append = io.flag("appendToExisting", false)?;
        let drop_existing = io.flag("dropExisting", false)?;
        if drop_existing && append {
            return Err(Error::invalid(format!(
                "{} and appendToExisting exclude each other",
                io.path_of("dropExisting")
            )));
        }
        if drop_existing && data_schema.granularity.intervals.is_none() {
            let at = f.path_of("dataSchema.granularitySpec.intervals");
            return Err(Error::invalid(format!("{at} is required with dropExisting")));
        }

        let at = f.path_of("tuningConfig");
        let mut tuning = Tuning::batch(f.get("tuningConfig"), &at, &mut ignored)?;
        if let Some(json) = f.get("tuningConfig").and_then(|t| t.get("partitionsSpec")).filter(|p| !p.is_null()) {
            read_partitions(json, &format!("{at}.partitionsSpec"), &mut tuning, &mut ignored)?;
        }
        let context = match outer.get("context") {
            None => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(other) => return Err(Error::invalid(format!("context must be an object, not {}", kind_of(other)))),
        };
        let id = outer.text("id")?;
        if let Some(id) = &id {
            super::data_schema::check_name(id, "id")?;
        }
        Ok(BatchSpec { kind, id, data_schema, source, format, append, drop_existing, tuning, context, ignored })
    }
}

/// Rows are cut into segments by number, in the order they come; what asks for another partitioning is noted.
fn read_partitions(json: &Value, path: &str, tuning: &mut Tuning, ignored: &mut Vec<String>) -> Result<()> {
    let meant = [
        "type",
        "maxRowsPerSegment",
        "maxTotalRows",
        "targetRowsPerSegment",
        "targetPartitionSize",
        "maxPartitionSize",
    ];
    let unused = ["numShards", "partitionDimensions", "partitionDimension", "partitionFunction", "assumeGrouped"];
    let f = Fields::open(json, path, &meant, &unused, ignored)?;
    let kinds = ["dynamic", "hashed", "range", "single_dim"];
    let kind = f.text("type")?.unwrap_or_else(|| "dynamic".into());
    match kind.as_str() {
        "dynamic" => {}
        "hashed" | "range" | "single_dim" => ignored.push(f.path_of("type")),
        other => return Err(not_one_of(&f.path_of("type"), other, &kinds)),
    }
    for name in ["targetPartitionSize", "targetRowsPerSegment", "maxPartitionSize", "maxRowsPerSegment"] {
        tuning.max_rows_per_segment = positive_or(&f, name, tuning.max_rows_per_segment)?;
    }
    tuning.max_total_rows = positive_or(&f, "maxTotalRows", tuning.max_total_rows)?;
    Ok(())
}

impl InputSource {
    fn from_json(json: &Value, path: &str, ignored: &mut Vec<String>) -> Result<InputSource> {
        let Some(kind) = json.get("type").and_then(Value::as_str) else {
            return Err(Error::invalid(format!("{path}.type is required; valid are {}", SOURCES.join(", "))));
        };
        match kind {
            "inline" => {
                let f = Fields::open(json, path, &["type", "data"], &[], ignored)?;
                Ok(InputSource::Inline(f.required_text("data")?))
            }
            "local" => {
                let f = Fields::open(json, path, &["type", "baseDir", "filter", "files"], &["systemFields"], ignored)?;
                let folder = f.text("baseDir")?.map(PathBuf::from);
                let files: Vec<PathBuf> = f.texts("files")?.into_iter().map(PathBuf::from).collect();
                if folder.is_some() != files.is_empty() {
                    return Err(Error::invalid(format!("{path} must have either baseDir or files")));
                }
                let filter = f.text("filter")?.filter(|t| !t.is_empty()).unwrap_or_else(|| "*".into());
                Ok(InputSource::Local { folder, filter, files })
            }
            "http" => HttpSource::from_json(json, path, ignored).map(InputSource::Http),
            "s3" | "google" | "azureStorage" | "azure" | "hdfs" | "druid" | "sql" | "combining" | "delta"
            | "iceberg" => {
                Err(Error::invalid(format!("{path}.type {kind:?} is not supported; valid are {}", SOURCES.join(", "))))
            }
            other => Err(not_one_of(&format!("{path}.type"), other, &SOURCES)),
        }
    }
}
