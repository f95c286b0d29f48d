//! The dataSchema: datasource, time, dimensions, metrics, granularity and transforms. Shared by streams and batches.

use segment::aggregate::{Aggregate, AggregateKind};
use segment::error::{Error, Result};
use segment::expr::Expr;
use segment::filter::Filter;
use segment::schema::{DimensionSchema, Discovery, MultiValue, Schema, TIME, ValueType};
use segment::time::{Granularity, Interval, parse_timestamp};
use serde_json::Value;

use super::fields::{Fields, kind_of, not_one_of};
use super::spatial::SpatialDimension;
use crate::parse::timestamp::Pattern;

#[derive(Debug, Clone)]
pub struct DataSchema {
    pub datasource: String,
    pub timestamp: TimestampSpec,
    /// In their order.
    pub dimensions: Vec<DimensionSchema>,
    /// What becomes of fields that no list names.
    pub discovery: Discovery,
    pub exclusions: Vec<String>,
    pub metrics: Vec<Aggregate>,
    pub granularity: GranularitySpec,
    pub transform: TransformSpec,
}

#[derive(Debug, Clone)]
pub struct TimestampSpec {
    pub column: String,
    pub format: TimestampFormat,
    /// Taken where the column is absent or null.
    pub missing: Option<i64>,
}

#[derive(Debug, Clone)]
pub enum TimestampFormat {
    Auto,
    Iso,
    Posix,
    Millis,
    Micro,
    Nano,
    /// Seconds with a fraction.
    Ruby,
    Pattern(Pattern),
}

#[derive(Debug, Clone)]
pub struct GranularitySpec {
    /// The time chunk of a segment.
    pub segment: Granularity,
    /// What `__time` is truncated to.
    pub query: Granularity,
    pub rollup: bool,
    /// Batch: rows outside are thrown away. Sorted, not overlapping.
    pub intervals: Option<Vec<Interval>>,
}

#[derive(Debug, Clone, Default)]
pub struct TransformSpec {
    /// Name and expression; they read raw fields, not each other.
    pub transforms: Vec<(String, Expr)>,
    pub filter: Option<Filter>,
}

/// The fields of an event that something reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wanted {
    pub names: Vec<String>,
    /// Whether all other fields are wanted too, except those in `excluded`.
    pub others: bool,
    /// Whether nested values of other fields are kept.
    pub nested: bool,
    pub excluded: Vec<String>,
}

impl DataSchema {
    pub fn from_json(json: &Value, path: &str, ignored: &mut Vec<String>) -> Result<DataSchema> {
        let meant = [
            "dataSource",
            "timestampSpec",
            "dimensionsSpec",
            "metricsSpec",
            "granularitySpec",
            "transformSpec",
            "parser",
        ];
        let f = Fields::open(json, path, &meant, &["projections", "baseTable", "segmentGranularitySpec"], ignored)?;
        if f.get("parser").is_some() {
            return Err(Error::invalid(format!(
                "{} is no longer read; use timestampSpec, dimensionsSpec and the ioConfig's inputFormat",
                f.path_of("parser")
            )));
        }
        let datasource = f.required_text("dataSource")?;
        check_datasource(&datasource, &f.path_of("dataSource"))?;
        let timestamp = TimestampSpec::from_json(f.get("timestampSpec"), &f.path_of("timestampSpec"), ignored)?;
        let dimensions = Dimensions::from_json(f.get("dimensionsSpec"), &f.path_of("dimensionsSpec"), ignored)?;
        let mut metrics: Vec<Aggregate> = Vec::new();
        for (i, metric) in f.list("metricsSpec")?.iter().enumerate() {
            let at = format!("{}[{i}]", f.path_of("metricsSpec"));
            // What is stored is the state; finishing is a matter of queries.
            let mut stated = metric.clone();
            if let Some(fields) = stated.as_object_mut() {
                fields.remove("shouldFinalize");
            }
            let metric = Aggregate::from_json(&stated, &at)?;
            let clash = if metric.name == TIME {
                Some("the time column")
            } else if metrics.iter().any(|m| m.name == metric.name) {
                Some("another metric")
            } else if dimensions.given.iter().any(|d| d.name == metric.name) {
                Some("a dimension")
            } else {
                None
            };
            if let Some(other) = clash {
                return Err(Error::invalid(format!(
                    "{at}.name {:?} is also the name of {other}; rename one",
                    metric.name
                )));
            }
            if metric.name.is_empty() {
                return Err(Error::invalid(format!("{at}.name must not be empty")));
            }
            metrics.push(metric);
        }
        let mut transform = TransformSpec::from_json(f.get("transformSpec"), &f.path_of("transformSpec"), ignored)?;
        let mut exclusions = dimensions.exclusions;
        for spatial in &dimensions.spatial {
            let mut names = spatial.fields.iter().chain([&spatial.name]);
            if let Some(made) = names.find(|name| transform.transforms.iter().any(|(made, _)| made == *name)) {
                return Err(Error::invalid(format!(
                    "the spatial dimension {:?} reads {made:?}, which transformSpec makes: coordinates must be fields of the \
                     input; make the text \"x,y\" in a transform, for a dimension of type string",
                    spatial.name
                )));
            }
            exclusions.extend(
                spatial.fields.iter().filter(|name| !dimensions.given.iter().any(|d| d.name == **name)).cloned(),
            );
        }
        for spatial in &dimensions.spatial {
            transform.transforms.push((spatial.name.clone(), spatial.expression()?));
        }
        Ok(DataSchema {
            datasource,
            timestamp,
            dimensions: dimensions.given,
            discovery: dimensions.discovery,
            exclusions,
            metrics,
            granularity: GranularitySpec::from_json(f.get("granularitySpec"), &f.path_of("granularitySpec"), ignored)?,
            transform,
        })
    }

    /// The schema that a realtime index is built with. A batch's fields that are neither its dimensions nor excluded
    /// here are to be discovered.
    pub fn schema(&self) -> Schema {
        let mut exclusions = self.exclusions.clone();
        let mut exclude = |name: &str| {
            let is_dimension = self.is_dimension(name);
            if !is_dimension && !exclusions.iter().any(|e| e == name) {
                exclusions.push(name.to_string());
            }
        };
        exclude(TIME);
        exclude(&self.timestamp.column);
        for metric in &self.metrics {
            exclude(&metric.name);
            metric.columns().into_iter().for_each(&mut exclude);
        }
        Schema {
            dimensions: self.dimensions.clone(),
            discovery: self.discovery,
            exclusions,
            metrics: self.metrics.clone(),
            rollup: self.granularity.rollup,
            query_granularity: self.granularity.query.clone(),
        }
    }

    /// The raw fields that dimensions, metrics, transforms and the filter read. The timestamp column is not among them
    /// unless something else reads it too.
    pub fn wanted(&self) -> Wanted {
        let derived = |name: &str| self.transform.transforms.iter().any(|(t, _)| t == name);
        let mut names: Vec<String> = Vec::new();
        let mut want = |name: &str| {
            if name != TIME && !names.iter().any(|n| n == name) {
                names.push(name.to_string());
            }
        };
        let after: Vec<&str> = (self.dimensions.iter().map(|d| d.name.as_str()))
            .chain(self.metrics.iter().flat_map(|m| m.columns()))
            .chain(self.transform.filter.iter().flat_map(|f| f.columns()))
            .collect();
        after.into_iter().filter(|name| !derived(name)).for_each(&mut want);
        self.transform.transforms.iter().flat_map(|(_, expr)| expr.columns()).for_each(&mut want);
        let mut excluded = self.schema().exclusions;
        excluded.retain(|name| !names.contains(name));
        Wanted {
            names,
            others: self.discovery != Discovery::None,
            nested: self.discovery == Discovery::Typed,
            excluded,
        }
    }

    fn is_dimension(&self, name: &str) -> bool {
        self.dimensions.iter().any(|d| d.name == name)
    }

    /// Whether a metric or discovery could ever need more than the values of a row, so that rows cannot be skipped.
    pub fn counts_rows(&self) -> bool {
        self.metrics.iter().any(|m| matches!(m.kind, AggregateKind::Count))
    }
}

impl TimestampSpec {
    fn from_json(json: Option<&Value>, path: &str, ignored: &mut Vec<String>) -> Result<TimestampSpec> {
        let Some(json) = json else {
            return Ok(TimestampSpec { column: "timestamp".into(), format: TimestampFormat::Auto, missing: None });
        };
        let f = Fields::open(json, path, &["column", "format", "missingValue", "type"], &[], ignored)?;
        let format = f.text("format")?.unwrap_or_else(|| "auto".into());
        let format = TimestampFormat::parse(&format)
            .map_err(|reason| Error::invalid(format!("{} {format:?}: {reason}", f.path_of("format"))))?;
        let missing = match f.get("missingValue") {
            None => None,
            Some(Value::Number(n)) => n.as_i64(),
            Some(Value::String(text)) => Some(parse_timestamp(text).ok_or_else(|| {
                Error::invalid(format!("{} {text:?} is not an ISO 8601 time", f.path_of("missingValue")))
            })?),
            Some(other) => {
                return Err(Error::invalid(format!(
                    "{} must be an ISO 8601 time, not {}",
                    f.path_of("missingValue"),
                    kind_of(other)
                )));
            }
        };
        let column = f.text("column")?.unwrap_or_else(|| "timestamp".into());
        Ok(TimestampSpec { column, format, missing })
    }
}

impl TimestampFormat {
    pub fn parse(format: &str) -> Result<TimestampFormat, String> {
        let names = ["auto", "iso", "posix", "millis", "micro", "nano", "ruby"];
        Ok(match format.to_ascii_lowercase().as_str() {
            "auto" => TimestampFormat::Auto,
            "iso" => TimestampFormat::Iso,
            "posix" => TimestampFormat::Posix,
            "millis" => TimestampFormat::Millis,
            "micro" => TimestampFormat::Micro,
            "nano" => TimestampFormat::Nano,
            "ruby" => TimestampFormat::Ruby,
            _ => TimestampFormat::Pattern(
                Pattern::parse(format).map_err(|reason| format!("{reason}; named formats are {}", names.join(", ")))?,
            ),
        })
    }
}

struct Dimensions {
    given: Vec<DimensionSchema>,
    /// What some of these are computed from.
    spatial: Vec<SpatialDimension>,
    discovery: Discovery,
    exclusions: Vec<String>,
}

impl Dimensions {
    fn from_json(json: Option<&Value>, path: &str, ignored: &mut Vec<String>) -> Result<Dimensions> {
        let (discovery, exclusions) = (Discovery::Strings, Vec::new());
        let mut found = Dimensions { given: Vec::new(), spatial: Vec::new(), discovery, exclusions };
        let Some(json) = json else { return Ok(found) };
        let meant =
            ["dimensions", "dimensionExclusions", "includeAllDimensions", "useSchemaDiscovery", "spatialDimensions"];
        let f = Fields::open(json, path, &meant, &["forceSegmentSortByTime"], ignored)?;
        let mut seen: Vec<String> = Vec::new();
        for (i, dimension) in f.list("dimensions")?.iter().enumerate() {
            let at = format!("{}[{i}]", f.path_of("dimensions"));
            let read = match dimension.get("type").and_then(Value::as_str) {
                Some(kind) if kind.eq_ignore_ascii_case("spatial") => {
                    let spatial = SpatialDimension::from_json(dimension, &at, "name", ignored)?;
                    found.spatial.push(spatial.clone());
                    text_dimension(&spatial.name, &at)?
                }
                _ => dimension_from_json(dimension, &at, ignored)?,
            };
            if read.name == TIME {
                if read.value_type == ValueType::Long {
                    continue;
                }
                return Err(Error::invalid(format!(
                    "{at}.name {TIME} is the time column; give its dimension type long or leave it out"
                )));
            }
            if seen.contains(&read.name) {
                return Err(Error::invalid(format!("{at}.name {:?} is there twice", read.name)));
            }
            seen.push(read.name.clone());
            found.given.push(read);
        }
        found.exclusions = f.texts("dimensionExclusions")?;
        if let Some(name) = found.exclusions.iter().find(|e| seen.contains(e)) {
            return Err(Error::invalid(format!(
                "{} has {name:?}, which is also a dimension",
                f.path_of("dimensionExclusions")
            )));
        }
        found.discovery =
            match (f.flag("useSchemaDiscovery", false)?, f.flag("includeAllDimensions", false)?, seen.is_empty()) {
                (true, _, _) => Discovery::Typed,
                (false, true, _) | (false, false, true) => Discovery::Strings,
                (false, false, false) => Discovery::None,
            };
        for (i, dimension) in f.list("spatialDimensions")?.iter().enumerate() {
            let at = format!("{}[{i}]", f.path_of("spatialDimensions"));
            let spatial = SpatialDimension::from_json(dimension, &at, "dimName", ignored)?;
            if seen.contains(&spatial.name) || spatial.name == TIME {
                return Err(Error::invalid(format!("{at}.dimName {:?} is there twice", spatial.name)));
            }
            seen.push(spatial.name.clone());
            found.given.push(text_dimension(&spatial.name, &at)?);
            found.spatial.push(spatial);
        }
        Ok(found)
    }
}

fn text_dimension(name: &str, path: &str) -> Result<DimensionSchema> {
    check_column(name, path)?;
    Ok(DimensionSchema {
        name: name.to_string(),
        value_type: ValueType::String,
        multi_value: MultiValue::default(),
        indexed: true,
        auto: false,
    })
}

fn dimension_from_json(json: &Value, path: &str, ignored: &mut Vec<String>) -> Result<DimensionSchema> {
    if let Value::String(name) = json {
        return text_dimension(name, path);
    }
    let meant = ["type", "name", "multiValueHandling", "createBitmapIndex", "castToType"];
    let f = Fields::open(json, path, &meant, &["maxStringLength", "columnFormatSpec", "formatVersion"], ignored)?;
    let mut schema = text_dimension(&f.required_text("name")?, &f.path_of("name"))?;
    schema.indexed = f.flag("createBitmapIndex", true)?;
    if let Some(text) = f.text("multiValueHandling")? {
        schema.multi_value = match text.to_ascii_uppercase().as_str() {
            "SORTED_ARRAY" => MultiValue::SortedArray,
            "SORTED_SET" => MultiValue::SortedSet,
            "ARRAY" => MultiValue::Array,
            _ => {
                return Err(not_one_of(
                    &f.path_of("multiValueHandling"),
                    &text,
                    &["SORTED_ARRAY", "SORTED_SET", "ARRAY"],
                ));
            }
        };
    }
    let kind = f.text("type")?.unwrap_or_else(|| "string".into());
    schema.value_type = match kind.to_ascii_lowercase().as_str() {
        "string" => ValueType::String,
        "long" => ValueType::Long,
        "float" => ValueType::Float,
        "double" => ValueType::Double,
        "auto" => match f.text("castToType")? {
            None => {
                schema.auto = true;
                ValueType::String
            }
            Some(cast) => match ValueType::from_druid_name(&cast) {
                Some(value_type) if !matches!(value_type, ValueType::Complex(_)) || value_type.is_json() => value_type,
                _ => {
                    return Err(not_one_of(
                        &f.path_of("castToType"),
                        &cast,
                        &["STRING", "LONG", "FLOAT", "DOUBLE", "ARRAY<STRING>", "ARRAY<LONG>", "ARRAY<DOUBLE>"],
                    ));
                }
            },
        },
        "json" => ValueType::json(),
        _ => {
            return Err(not_one_of(
                &f.path_of("type"),
                &kind,
                &["string", "long", "float", "double", "auto", "json", "spatial"],
            ));
        }
    };
    Ok(schema)
}

impl GranularitySpec {
    fn from_json(json: Option<&Value>, path: &str, ignored: &mut Vec<String>) -> Result<GranularitySpec> {
        let empty = Value::Object(Default::default());
        let meant = ["type", "segmentGranularity", "queryGranularity", "rollup", "intervals"];
        let f = Fields::open(json.unwrap_or(&empty), path, &meant, &[], ignored)?;
        match f.text("type")?.as_deref() {
            None | Some("uniform") => {}
            Some("arbitrary") => {
                return Err(Error::invalid(format!(
                    "{} \"arbitrary\" is not supported; use \"uniform\"",
                    f.path_of("type")
                )));
            }
            Some(other) => return Err(not_one_of(&f.path_of("type"), other, &["uniform"])),
        }
        let granularity = |name: &str, default: &str| -> Result<Granularity> {
            let default = Value::String(default.into());
            Granularity::from_json(f.get(name).unwrap_or(&default))
                .map_err(|e| Error::invalid(format!("{}: {e}", f.path_of(name))))
        };
        let segment = granularity("segmentGranularity", "DAY")?;
        check_segment_granularity(&segment, &f.path_of("segmentGranularity"))?;
        let query = granularity("queryGranularity", "NONE")?;
        let intervals = match f.get("intervals") {
            None => None,
            Some(Value::String(text)) => Some(vec![interval(text, &f.path_of("intervals"))?]),
            Some(_) => {
                let texts = f.texts("intervals")?;
                let at = |i: usize| format!("{}[{i}]", f.path_of("intervals"));
                let list =
                    texts.iter().enumerate().map(|(i, text)| interval(text, &at(i))).collect::<Result<Vec<_>>>()?;
                (!list.is_empty()).then(|| Interval::merge(&list))
            }
        };
        Ok(GranularitySpec { segment, query, rollup: f.flag("rollup", true)?, intervals })
    }
}

/// Time chunks must not be so small that every event gets its own segment.
fn check_segment_granularity(granularity: &Granularity, path: &str) -> Result<()> {
    const LEAST_MILLIS: i64 = 1_000;
    let too_fine = match granularity {
        Granularity::None => true,
        Granularity::All => false,
        Granularity::Duration { millis, .. } => *millis < LEAST_MILLIS,
        Granularity::Period(_) => {
            let bucket = granularity.bucket(0);
            bucket.end.saturating_sub(bucket.start) < LEAST_MILLIS
        }
    };
    if too_fine {
        return Err(Error::invalid(format!("{path} must be at least one second, such as HOUR or DAY")));
    }
    Ok(())
}

fn interval(text: &str, path: &str) -> Result<Interval> {
    let interval = Interval::parse(text).map_err(|e| Error::invalid(format!("{path}: {e}")))?;
    if interval.is_empty() {
        return Err(Error::invalid(format!("{path} {text:?} is empty; its end must be after its start")));
    }
    Ok(interval)
}

impl TransformSpec {
    fn from_json(json: Option<&Value>, path: &str, ignored: &mut Vec<String>) -> Result<TransformSpec> {
        let Some(json) = json else { return Ok(TransformSpec::default()) };
        let f = Fields::open(json, path, &["transforms", "filter", "type"], &[], ignored)?;
        let mut transforms: Vec<(String, Expr)> = Vec::new();
        for (i, transform) in f.list("transforms")?.iter().enumerate() {
            let at = format!("{}[{i}]", f.path_of("transforms"));
            let t = Fields::open(transform, &at, &["type", "name", "expression"], &[], ignored)?;
            let kind = t.required_text("type")?;
            if kind != "expression" {
                return Err(not_one_of(&t.path_of("type"), &kind, &["expression"]));
            }
            let name = t.required_text("name")?;
            if transforms.iter().any(|(other, _)| *other == name) {
                return Err(Error::invalid(format!("{at}.name {name:?} is there twice")));
            }
            let text = t.required_text("expression")?;
            let expr = Expr::parse(&text).map_err(|e| Error::invalid(format!("{}: {e}", t.path_of("expression"))))?;
            transforms.push((name, expr));
        }
        let filter = match f.get("filter") {
            None => None,
            Some(json) => Some(Filter::from_json(json, &f.path_of("filter"))?),
        };
        Ok(TransformSpec { transforms, filter })
    }
}

/// Retention rules of all datasources stand under this name; one that was called so could not be told from all.
const ALL: &str = "_default";

/// As [`check_name`], of what rows are written into.
pub fn check_datasource(name: &str, path: &str) -> Result<()> {
    match name {
        ALL => Err(Error::invalid(format!(
            "{path} {ALL:?} is the name under which the retention rules of all datasources stand: choose another"
        ))),
        _ => check_name(name, path),
    }
}

/// Druid's rules for the name of a datasource, which supervisors' ids follow too.
pub fn check_name(name: &str, path: &str) -> Result<()> {
    let bad = |reason: &str| Err(Error::invalid(format!("{path} {name:?} {reason}")));
    if name.trim().is_empty() {
        return Err(Error::invalid(format!("{path} must not be empty")));
    }
    if name.len() > 255 {
        return Err(Error::invalid(format!("{path} must be at most 255 bytes, not {}", name.len())));
    }
    if name.starts_with('.') {
        return bad("must not start with a dot");
    }
    if name.contains('/') {
        return bad("must not contain a slash");
    }
    if name.chars().any(|c| c.is_control() || (c.is_whitespace() && c != ' ')) {
        return bad("must not contain control characters nor whitespace other than the space");
    }
    Ok(())
}

fn check_column(name: &str, path: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(format!("{path} must not be empty")));
    }
    Ok(())
}
