//! An aggregate whose steps are expressions (Druid's `expression` aggregator).

use serde_json::{Value as Json, json};

use crate::block::Value;
use crate::error::Result;
use crate::expr::Expr;
use crate::fields::Fields;
use crate::schema::ValueType;

#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    pub fields: Vec<String>,
    /// The name under which expressions see what was folded so far.
    pub accumulator: String,
    pub initial: Expr,
    pub initial_combine: Expr,
    /// Whether it is null over no rows; else what it starts with.
    pub null_if_none: bool,
    pub takes_nulls: bool,
    pub combines_nulls: bool,
    /// Takes a row in.
    pub step: Expr,
    /// Takes another's result in, which it sees under the name `partial`.
    pub combine: Expr,
    pub partial: String,
    /// Makes the result of what was folded, which it sees as `o`.
    pub finish: Option<Expr>,
    /// Bytes that what is folded may have.
    pub bytes_max: usize,
    /// `combine` as written, if it was.
    pub combine_text: Option<String>,
}

/// The bytes a state may have unless told otherwise.
const BYTES_DEFAULT: i64 = 1024;

impl Fold {
    /// The name of what is to be finished.
    pub const OUTPUT: &str = "o";

    pub(super) fn parse(fields: &Fields) -> Result<Fold> {
        let expr = |field: &str, text: &str| {
            Expr::parse(text).map_err(|error| fields.wrong(field, &format!("cannot be read: {error}")))
        };
        let names = match fields.get("fields") {
            None => Vec::new(),
            Some(_) => fields
                .list("fields")?
                .iter()
                .map(|name| name.as_str().map(str::to_string))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| fields.wrong("fields", "must be column names"))?,
        };
        let name = fields.text("name")?.unwrap_or_default();
        let step = expr("fold", &fields.need_text("fold")?)?;
        let combine_text = fields.text("combine")?;
        let (combine, partial) = match (&combine_text, names.as_slice()) {
            (Some(text), _) => (expr("combine", text)?, name),
            (None, [one]) => (step.clone(), one.clone()),
            (None, _) => {
                return Err(fields.wrong("combine", "is missing; only over one field the fold itself combines"));
            }
        };
        let initial = expr("initialValue", &fields.need_text("initialValue")?)?;
        let initial_combine = match fields.text("initialCombineValue")? {
            Some(text) => expr("initialCombineValue", &text)?,
            None => initial.clone(),
        };
        let flag = |field: &str, default: bool| match fields.get(field) {
            None => Ok(default),
            Some(_) => fields.flag(field),
        };
        let takes_nulls = flag("shouldAggregateNullInputs", true)?;
        Ok(Fold {
            fields: names,
            accumulator: fields.text("accumulatorIdentifier")?.unwrap_or_else(|| "__acc".to_string()),
            initial,
            initial_combine,
            null_if_none: flag("isNullUnlessAggregated", true)?,
            takes_nulls,
            combines_nulls: flag("shouldCombineAggregateNullInputs", takes_nulls)?,
            step,
            combine,
            partial,
            finish: fields.text("finalize")?.map(|text| expr("finalize", &text)).transpose()?,
            bytes_max: fields.integer("maxSizeBytes", BYTES_DEFAULT, 8, 1 << 30)? as usize,
            combine_text,
        })
    }

    /// The first or last of times, in milliseconds or as text, which leaves as text.
    pub(super) fn time(fields: &Fields, earlier: &str) -> Result<Fold> {
        let expr = |text: &str| {
            Expr::parse(text).map_err(|error| fields.wrong("timeFormat", &format!("cannot be used: {error}")))
        };
        let quoted = |name: &str| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        let (column, name) = (fields.need_text("fieldName")?, fields.text("name")?.unwrap_or_default());
        let time = match fields.text("timeFormat")?.as_deref() {
            None | Some("auto" | "iso" | "millis") => format!("timestamp({})", quoted(&column)),
            Some(format) => {
                let format = format.replace('\\', "\\\\").replace('\'', "\\'");
                format!("timestamp_parse({}, '{format}')", quoted(&column))
            }
        };
        let chosen = |t: &str| format!("if(isnull({t}), __acc, if(isnull(__acc) || {t} {earlier} __acc, {t}, __acc))");
        let combine = chosen(&quoted(&name));
        Ok(Fold {
            fields: vec![column],
            accumulator: "__acc".to_string(),
            initial: expr("null")?,
            initial_combine: expr("null")?,
            null_if_none: true,
            takes_nulls: false,
            combines_nulls: false,
            step: expr(&chosen(&time))?,
            combine: expr(&combine)?,
            partial: name,
            finish: Some(expr("timestamp_format(o)")?),
            bytes_max: BYTES_DEFAULT as usize,
            combine_text: Some(combine),
        })
    }

    pub fn to_json(&self, name: &str) -> Json {
        let mut json = json!({
            "type": "expression", "name": name, "fields": self.fields, "accumulatorIdentifier": self.accumulator,
            "initialValue": self.initial.to_string(), "initialCombineValue": self.initial_combine.to_string(),
            "isNullUnlessAggregated": self.null_if_none, "shouldAggregateNullInputs": self.takes_nulls,
            "shouldCombineAggregateNullInputs": self.combines_nulls, "fold": self.step.to_string(),
            "maxSizeBytes": self.bytes_max,
        });
        if let Some(text) = &self.combine_text {
            json["combine"] = text.as_str().into();
        }
        if let Some(finish) = &self.finish {
            json["finalize"] = finish.to_string().into();
        }
        json
    }

    /// Type of the finished value, as far as it is known ahead.
    pub fn value_type(&self) -> ValueType {
        let start = type_of(&self.initial.value(&|_| Value::Null));
        match &self.finish {
            None => start.unwrap_or(ValueType::String),
            Some(finish) => finish
                .value_type(&|name| (name == Fold::OUTPUT).then(|| start.clone()).flatten())
                .unwrap_or(ValueType::String),
        }
    }
}

fn type_of(value: &Value) -> Option<ValueType> {
    match value {
        Value::Long(_) => Some(ValueType::Long),
        Value::Double(_) => Some(ValueType::Double),
        Value::Text(_) => Some(ValueType::String),
        Value::Json(_) => Some(ValueType::json()),
        Value::List(items) => Some(ValueType::array(items.iter().find_map(type_of).unwrap_or(ValueType::String))),
        Value::Null | Value::Bytes(_) => None,
    }
}
