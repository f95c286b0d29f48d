//! The inputFormat: how the bytes of a record or file become fields.

use segment::error::{Error, Result};
use serde_json::Value;

use super::fields::{Fields, not_one_of};
use crate::parse::path::Path;

#[derive(Debug, Clone)]
pub enum InputFormat {
    Json(Flatten),
    Delimited(Delimited),
    /// Each line is the column `line`.
    Lines,
    /// Groups of a pattern become columns.
    Regex(RegexFormat),
    /// Files only.
    Parquet(ParquetFormat),
    /// A Kafka record with its key, headers and metadata as columns. Streams only.
    Kafka(Box<KafkaFormat>),
}

/// Which fields a nested record has.
#[derive(Debug, Clone)]
pub struct Flatten {
    /// Whether top-level scalars and lists of scalars are fields.
    pub discovery: bool,
    pub fields: Vec<FlattenField>,
}

#[derive(Debug, Clone)]
pub struct FlattenField {
    pub name: String,
    pub path: Path,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Delimited {
    pub delimiter: String,
    /// Quotes are understood (csv) or are plain characters (tsv).
    pub quotes: bool,
    pub list_delimiter: String,
    pub columns: Option<Vec<String>>,
    pub header: bool,
    pub skip_rows: usize,
    pub parse_numbers: bool,
}

#[derive(Debug, Clone)]
pub struct RegexFormat {
    pub pattern: regex::Regex,
    pub columns: Vec<String>,
    pub list_delimiter: String,
}

#[derive(Debug, Clone)]
pub struct ParquetFormat {
    pub flatten: Flatten,
    pub binary_as_text: bool,
}

#[derive(Debug, Clone)]
pub struct KafkaFormat {
    pub value: InputFormat,
    pub key: Option<InputFormat>,
    /// `None` leaves headers out.
    pub headers: Option<HeaderEncoding>,
    pub header_prefix: String,
    pub key_column: String,
    pub timestamp_column: String,
    pub topic_column: String,
    pub partition_column: String,
    pub offset_column: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEncoding {
    Utf8,
    Latin1,
    Ascii,
    Utf16,
    Utf16Be,
    Utf16Le,
}

const FORMATS: [&str; 7] = ["json", "csv", "tsv", "lines", "regex", "parquet", "kafka"];
const KNOWN_ELSEWHERE: [&str; 7] = ["avro_stream", "avro_ocf", "protobuf", "orc", "thrift", "kinesis", "delta"];

impl Default for Flatten {
    fn default() -> Flatten {
        Flatten { discovery: true, fields: Vec::new() }
    }
}

impl InputFormat {
    pub fn from_json(json: &Value, path: &str, ignored: &mut Vec<String>) -> Result<InputFormat> {
        let kind = match json.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(_) => return Err(Error::invalid(format!("{path}.type must be a text"))),
            None if json.is_object() => {
                return Err(Error::invalid(format!("{path}.type is required; valid are {}", FORMATS.join(", "))));
            }
            None => return Err(Error::invalid(format!("{path} must be an object with a type"))),
        };
        match kind {
            "json" => {
                let unused = ["featureSpec", "keepNullColumns", "assumeNewlineDelimited", "useJsonNodeReader"];
                let f = Fields::open(json, path, &["type", "flattenSpec"], &unused, ignored)?;
                Ok(InputFormat::Json(Flatten::from_json(f.get("flattenSpec"), &f.path_of("flattenSpec"), ignored)?))
            }
            "csv" | "tsv" => Delimited::from_json(json, path, kind, ignored).map(InputFormat::Delimited),
            "lines" => {
                Fields::open(json, path, &["type"], &[], ignored)?;
                Ok(InputFormat::Lines)
            }
            "regex" => {
                let f = Fields::open(json, path, &["type", "pattern", "columns", "listDelimiter"], &[], ignored)?;
                let pattern = f.required_text("pattern")?;
                let pattern = regex::Regex::new(&format!("^(?:{pattern})$")).map_err(|e| {
                    Error::invalid(format!("{} is not a regular expression: {e}", f.path_of("pattern")))
                })?;
                let mut columns = f.texts("columns")?;
                if columns.is_empty() {
                    columns = (1..pattern.captures_len()).map(|i| format!("column_{i}")).collect();
                }
                let list_delimiter = f.text("listDelimiter")?.unwrap_or_else(|| "\u{1}".into());
                Ok(InputFormat::Regex(RegexFormat { pattern, columns, list_delimiter }))
            }
            "parquet" => {
                let f = Fields::open(json, path, &["type", "flattenSpec", "binaryAsString"], &["conf"], ignored)?;
                let flatten = Flatten::from_json(f.get("flattenSpec"), &f.path_of("flattenSpec"), ignored)?;
                Ok(InputFormat::Parquet(ParquetFormat { flatten, binary_as_text: f.flag("binaryAsString", false)? }))
            }
            "kafka" => KafkaFormat::from_json(json, path, ignored).map(|f| InputFormat::Kafka(Box::new(f))),
            other if KNOWN_ELSEWHERE.contains(&other) => {
                Err(Error::invalid(format!("{path}.type {other:?} is not supported; valid are {}", FORMATS.join(", "))))
            }
            other => Err(not_one_of(&format!("{path}.type"), other, &FORMATS)),
        }
    }
}

impl Flatten {
    fn from_json(json: Option<&Value>, path: &str, ignored: &mut Vec<String>) -> Result<Flatten> {
        let Some(json) = json else { return Ok(Flatten::default()) };
        let f = Fields::open(json, path, &["useFieldDiscovery", "fields", "type"], &[], ignored)?;
        let mut fields = Vec::new();
        for (i, field) in f.list("fields")?.iter().enumerate() {
            let at = format!("{}[{i}]", f.path_of("fields"));
            let field = match field {
                Value::String(name) => FlattenField { name: name.clone(), path: Path::root(name) },
                _ => FlattenField::from_json(field, &at, ignored)?,
            };
            if fields.iter().any(|other: &FlattenField| other.name == field.name) {
                return Err(Error::invalid(format!("{at}.name {:?} is there twice", field.name)));
            }
            fields.push(field);
        }
        Ok(Flatten { discovery: f.flag("useFieldDiscovery", true)?, fields })
    }
}

impl FlattenField {
    fn from_json(json: &Value, path: &str, ignored: &mut Vec<String>) -> Result<FlattenField> {
        let f = Fields::open(json, path, &["type", "name", "expr", "nodes"], &[], ignored)?;
        let kinds = ["root", "path", "jq", "tree"];
        let kind = f.required_text("type")?;
        let name = f.required_text("name")?;
        let expr = f.text("expr")?.unwrap_or_else(|| name.clone());
        let bad = |reason: String| Error::invalid(format!("{} {expr:?}: {reason}", f.path_of("expr")));
        let compiled = match kind.as_str() {
            "root" => Path::root(&expr),
            "path" => Path::json_path(&expr).map_err(bad)?,
            "jq" => Path::jq(&expr).map_err(bad)?,
            "tree" => Path::tree(&f.texts("nodes")?),
            other => return Err(not_one_of(&f.path_of("type"), other, &kinds)),
        };
        Ok(FlattenField { name, path: compiled })
    }
}

impl Delimited {
    fn from_json(json: &Value, path: &str, kind: &str, ignored: &mut Vec<String>) -> Result<Delimited> {
        let mut meant =
            vec!["type", "columns", "listDelimiter", "findColumnsFromHeader", "skipHeaderRows", "tryParseNumbers"];
        if kind == "tsv" {
            meant.push("delimiter");
        }
        let f = Fields::open(json, path, &meant, &["hasHeaderRow"], ignored)?;
        let columns = Some(f.texts("columns")?).filter(|c| !c.is_empty());
        let header = f.flag("findColumnsFromHeader", false)? || f.flag("hasHeaderRow", false)?;
        if columns.is_none() && !header {
            return Err(Error::invalid(format!(
                "{} must name the columns, or {} be true",
                f.path_of("columns"),
                f.path_of("findColumnsFromHeader")
            )));
        }
        if let Some(columns) = &columns {
            for (i, name) in columns.iter().enumerate() {
                if columns[..i].contains(name) {
                    return Err(Error::invalid(format!("{}[{i}] {name:?} is there twice", f.path_of("columns"))));
                }
            }
        }
        let delimiter =
            if kind == "csv" { ",".to_string() } else { f.text("delimiter")?.unwrap_or_else(|| "\t".into()) };
        let list_delimiter = f.text("listDelimiter")?.unwrap_or_else(|| "\u{1}".into());
        if delimiter.is_empty() || delimiter == list_delimiter {
            return Err(Error::invalid(format!(
                "{} must not be empty nor equal to the listDelimiter",
                f.path_of("delimiter")
            )));
        }
        Ok(Delimited {
            delimiter,
            quotes: kind == "csv",
            list_delimiter,
            columns,
            header,
            skip_rows: f.at_least("skipHeaderRows", 0, 0)? as usize,
            parse_numbers: f.flag("tryParseNumbers", false)?,
        })
    }
}

impl KafkaFormat {
    fn from_json(json: &Value, path: &str, ignored: &mut Vec<String>) -> Result<KafkaFormat> {
        let meant = [
            "type",
            "valueFormat",
            "headerFormat",
            "headerColumnPrefix",
            "keyFormat",
            "keyColumnName",
            "timestampColumnName",
            "topicColumnName",
            "partitionColumnName",
            "offsetColumnName",
        ];
        let f = Fields::open(json, path, &meant, &[], ignored)?;
        let inner = |name: &str, ignored: &mut Vec<String>| -> Result<Option<InputFormat>> {
            let Some(json) = f.get(name) else { return Ok(None) };
            match InputFormat::from_json(json, &f.path_of(name), ignored)? {
                InputFormat::Kafka(_) | InputFormat::Parquet(_) => {
                    Err(Error::invalid(format!("{}.type must be json, csv, tsv, lines or regex", f.path_of(name))))
                }
                format => Ok(Some(format)),
            }
        };
        f.required("valueFormat")?;
        let headers = match f.get("headerFormat") {
            None => None,
            Some(json) => {
                let at = f.path_of("headerFormat");
                let h = Fields::open(json, &at, &["type", "encoding"], &[], ignored)?;
                let kind = h.required_text("type")?;
                if kind != "string" {
                    return Err(not_one_of(&h.path_of("type"), &kind, &["string"]));
                }
                Some(match h.text("encoding")?.as_deref().unwrap_or("UTF-8") {
                    "UTF-8" => HeaderEncoding::Utf8,
                    "ISO-8859-1" => HeaderEncoding::Latin1,
                    "US-ASCII" => HeaderEncoding::Ascii,
                    "UTF-16" => HeaderEncoding::Utf16,
                    "UTF-16BE" => HeaderEncoding::Utf16Be,
                    "UTF-16LE" => HeaderEncoding::Utf16Le,
                    other => {
                        let valid = ["UTF-8", "ISO-8859-1", "US-ASCII", "UTF-16", "UTF-16BE", "UTF-16LE"];
                        return Err(not_one_of(&h.path_of("encoding"), other, &valid));
                    }
                })
            }
        };
        let name = |field: &str, default: &str| Ok::<_, Error>(f.text(field)?.unwrap_or_else(|| default.to_string()));
        Ok(KafkaFormat {
            value: inner("valueFormat", ignored)?.expect("required above"),
            key: inner("keyFormat", ignored)?,
            headers,
            header_prefix: name("headerColumnPrefix", "kafka.header.")?,
            key_column: name("keyColumnName", "kafka.key")?,
            timestamp_column: name("timestampColumnName", "kafka.timestamp")?,
            topic_column: name("topicColumnName", "kafka.topic")?,
            partition_column: name("partitionColumnName", "kafka.partition")?,
            offset_column: name("offsetColumnName", "kafka.offset")?,
        })
    }
}
