//! Columns computed from columns, under a name that may shadow a real one. Druid has kinds of them for documents and
//! multi-value strings; each is an expression here.

use std::sync::Arc;

use segment::expr::Expr;
use segment::schema::ValueType;
use serde_json::Value as Json;

use super::Dimension;
use super::desugar::quote;
use super::fields::Fields;
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub struct VirtualColumn {
    pub name: String,
    pub expr: Expr,
    /// What the values are cast to; `None`: what the expression gives.
    pub output_type: Option<ValueType>,
    /// Columns of which the first that a segment has stands in place of the expression, which names all of them.
    pub among: Option<Arc<[String]>>,
}

const KNOWN: &str = "expression, nested-field, nested-object, nested-merge, mv-filtered, mv-regex-filtered, \
                     mv-prefix-filtered, fallback";

impl VirtualColumn {
    pub fn from_json(json: &Json, path: &str) -> Result<VirtualColumn> {
        let fields = Fields::of(json, path)?;
        let kind = fields.need_text("type")?;
        let name = match kind {
            "nested-field" => fields.need_text("outputName")?,
            _ => fields.need_text("name")?,
        };
        if name == segment::schema::TIME {
            return Err(fields.wrong("name", "a virtual column may not be named __time"));
        }
        let (text, field) = match kind {
            "expression" => (fields.need_text("expression")?.to_string(), "expression"),
            "nested-field" => (nested_field(&fields)?, "path"),
            "nested-object" => (nested_object(&fields)?, "object"),
            "nested-merge" => {
                let columns: Vec<String> = fields.texts("columns")?.iter().map(|name| quote(name, '"')).collect();
                (format!("json_merge({})", columns.join(", ")), "columns")
            }
            "mv-filtered" => {
                let values: Vec<String> = fields
                    .list("values")?
                    .iter()
                    .map(|value| value.as_str().map_or("null".to_string(), |text| quote(text, '\'')))
                    .collect();
                let not = if fields.flag("isAllowList")?.unwrap_or(true) { "" } else { "!" };
                let test = format!("{not}istrue(scalar_in_array(x, array({})))", values.join(", "));
                (kept(&fields, &test)?, "values")
            }
            "mv-regex-filtered" => {
                // A whole value must match.
                let pattern = format!("^(?:{})$", fields.need_text("pattern")?);
                let test = format!("regexp_like(x, {})", quote(&pattern, '\''));
                (kept(&fields, &test)?, "pattern")
            }
            "mv-prefix-filtered" => {
                let test = format!("strpos(x, {}) == 0", quote(fields.need_text("prefix")?, '\''));
                (kept(&fields, &test)?, "prefix")
            }
            "fallback" => return VirtualColumn::fallback(&fields, name),
            known @ "map" => {
                return Err(Error::Unsupported(format!(
                    "{path}.type: virtual column [{known}] is not supported; use an expression with nvl"
                )));
            }
            other => {
                return Err(fields.wrong("type", format_args!("unknown virtual column [{other}]; use one of {KNOWN}")));
            }
        };
        let expr = Expr::parse(&text).map_err(|error| fields.wrong(field, error))?;
        let output_type = match kind {
            "expression" => value_type(&fields, "outputType")?,
            "nested-field" => value_type(&fields, "expectedType")?,
            "nested-object" | "nested-merge" => Some(ValueType::json()),
            _ => Some(ValueType::String),
        };
        Ok(VirtualColumn { name: name.to_string(), expr, output_type, among: None })
    }

    fn fallback(fields: &Fields, name: &str) -> Result<VirtualColumn> {
        let mut among = Vec::new();
        for (i, json) in fields.list("columns")?.iter().enumerate() {
            let dimension = Dimension::from_json(json, &format!("{}[{i}]", fields.at("columns")))?;
            if !dimension.is_plain() {
                return Err(Error::Unsupported(format!(
                    "{}[{i}]: a fallback is among columns as they are; put the function on the dimension that reads it",
                    fields.at("columns")
                )));
            }
            among.push(dimension.column);
        }
        if among.is_empty() {
            return Err(fields.wrong("columns", "must name at least one column"));
        }
        let quoted: Vec<String> = among.iter().map(|column| quote(column, '"')).collect();
        let text = format!("coalesce({})", quoted.join(", "));
        let expr = Expr::parse(&text).map_err(|error| fields.wrong("columns", error))?;
        Ok(VirtualColumn { name: name.to_string(), expr, output_type: None, among: Some(among.into()) })
    }

    /// As it is where some columns are, which `exists` tells.
    pub(crate) fn settled(&self, exists: &dyn Fn(&str) -> bool) -> VirtualColumn {
        let Some(among) = &self.among else { return self.clone() };
        let found = among.iter().find(|column| exists(column)).or(among.first());
        let expr = found.map_or_else(|| self.expr.clone(), |column| Expr::column(column));
        VirtualColumn { expr, among: None, ..self.clone() }
    }
}

fn value_type(fields: &Fields, name: &str) -> Result<Option<ValueType>> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let known = ValueType::from_druid_name(text);
    known.map(Some).ok_or_else(|| {
        fields.wrong(name, format_args!("type [{text}] is not supported; use STRING, LONG, FLOAT or DOUBLE"))
    })
}

/// A value of a document, in the type that is expected of it.
fn nested_field(fields: &Fields) -> Result<String> {
    let column = quote(fields.need_text("columnName")?, '"');
    let path = match fields.get("path") {
        Some(_) if fields.flag("useJqSyntax")?.unwrap_or(false) => format!("${}", fields.need_text("path")?),
        Some(_) => fields.need_text("path")?.to_string(),
        None => {
            let mut path = "$".to_string();
            for (i, part) in fields.list("pathParts")?.iter().enumerate() {
                let at = format!("{}[{i}]", fields.at("pathParts"));
                let part = Fields::of(part, &at)?;
                match part.need_text("type")? {
                    "arrayElement" => path.push_str(&format!("[{}]", part.long("index")?.unwrap_or(0))),
                    _ => path.push_str(&format!("['{}']", part.need_text("field")?)),
                }
            }
            path
        }
    };
    let path = quote(&path, '\'');
    let expected = fields.text("expectedType")?.unwrap_or("STRING");
    let raw = fields.flag("processFromRaw")?.unwrap_or(false) || expected.eq_ignore_ascii_case("COMPLEX<json>");
    Ok(match raw {
        true => format!("json_query({column}, {path})"),
        false => format!("json_value({column}, {path}, {})", quote(expected, '\'')),
    })
}

fn nested_object(fields: &Fields) -> Result<String> {
    let Some(object) = fields.need("object")?.as_object() else {
        return Err(fields.wrong("object", "must be an object of expressions"));
    };
    let mut parts = Vec::with_capacity(object.len());
    for (key, value) in object {
        let at = format!("{}.{key}", fields.at("object"));
        let value = Fields::of(value, &at)?;
        parts.push(format!("{}, {}", quote(key, '\''), value.need_text("expression")?));
    }
    Ok(format!("json_object({})", parts.join(", ")))
}

/// The values of the delegate's column that pass a test of `x`; null if none does.
fn kept(fields: &Fields, test: &str) -> Result<String> {
    let delegate = fields.need("delegate")?;
    let column = match delegate.as_str() {
        Some(name) => name.to_string(),
        None => {
            let at = fields.at("delegate");
            let delegate = Fields::of(delegate, &at)?;
            match delegate.text("type")? {
                None | Some("default") => delegate.need_text("dimension")?.to_string(),
                Some(other) => return Err(delegate.wrong("type", format_args!("must be default, not [{other}]"))),
            }
        }
    };
    let kept = format!("filter((x) -> {test}, {})", quote(&column, '"'));
    Ok(format!("if(array_length({kept}) > 0, {kept}, null)"))
}
