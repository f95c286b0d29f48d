//! What a condition compares, by type. A column may be of another type in the next segment, or when the role is saved
//! again, and no row is to be seen for that: a comparison goes by the type that the column has when the condition is
//! written, and what is of no such type is unknown.
//!
//! Typed filters (`equals`, `inType`, `range`) do so by themselves. Expressions take columns as they find them, so here they
//! are told: each column is cast, and a row whose value is none of the type, or several, is let through by none.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::logical_expr::{ExprSchemable, expr::ScalarFunction};
use segment::expr::Expr as Native;
use segment::schema::{TIME, ValueType};
use serde_json::{Value as Json, json};

use crate::convert::TIMESTAMP;
use crate::error::{Error, Result};

/// Functions that answer with one of their arguments, or look for one in the others: all are of one type.
const ALIKE: [&str; 18] = [
    "coalesce",
    "nullif",
    "nvl",
    "ifnull",
    "greatest",
    "least",
    "array_contains",
    "array_overlap",
    "array_offset_of",
    "array_ordinal_of",
    "mv_contains",
    "mv_overlap",
    "mv_filter_only",
    "mv_filter_none",
    "mv_offset_of",
    "mv_ordinal_of",
    "scalar_in_array",
    "decode",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Text,
    Number,
    Time,
}

impl Class {
    fn of(data_type: &DataType) -> Option<Class> {
        match data_type {
            DataType::Utf8 | DataType::Utf8View => Some(Class::Text),
            DataType::List(item) => Class::of(item.data_type()),
            data_type if *data_type == TIMESTAMP => Some(Class::Time),
            DataType::Boolean => Some(Class::Number),
            data_type if data_type.is_numeric() => Some(Class::Number),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Class::Text => "text",
            Class::Number => "a number",
            Class::Time => "a time",
        }
    }
}

/// Refuses a condition, as it is written, that has things of different types compared: one of them would be converted, and
/// which hangs on the type that the column has by chance.
pub fn check(plan: &LogicalPlan) -> Result<()> {
    let mut wrong = None;
    let mut pending = vec![plan];
    while let Some(node) = pending.pop() {
        let inputs = node.inputs();
        let Some(input) = inputs.first() else { continue };
        for expr in node.expressions() {
            let found = expr.apply(|part| {
                wrong = odd_one(part, input.schema());
                Ok(if wrong.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            });
            found.map_err(crate::planner::invalid)?;
            if let Some(message) = wrong {
                return Err(Error::invalid(message));
            }
        }
        pending.extend(inputs);
    }
    Ok(())
}

/// What is wrong with the types of one operation, if anything is.
fn odd_one(expr: &Expr, schema: &DFSchema) -> Option<String> {
    use Operator::*;
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom => {
                unlike([left.as_ref(), right.as_ref()], schema)
                    .or_else(|| whole_and_fraction([left.as_ref(), right.as_ref()], schema))
            }
            Plus | Minus | Multiply | Divide | Modulo => {
                let text = [left, right].into_iter().find(|side| class(side, schema) == Some(Class::Text))?;
                Some(format!(
                    "[{text}] is text, with which nothing can be calculated; cast it, as CAST({text} AS BIGINT)"
                ))
            }
            _ => None,
        },
        Expr::Between(between) => {
            let parts = [&*between.expr, &*between.low, &*between.high];
            unlike(parts, schema).or_else(|| whole_and_fraction(parts, schema))
        }
        Expr::InList(list) => {
            let parts = || std::iter::once(&*list.expr).chain(&list.list);
            unlike(parts(), schema).or_else(|| whole_and_fraction(parts(), schema))
        }
        Expr::Case(case) => {
            let whens = case.when_then_expr.iter().map(|(when, _)| &**when);
            let thens = case.when_then_expr.iter().map(|(_, then)| &**then);
            let compared =
                case.expr.as_deref().and_then(|subject| unlike(std::iter::once(subject).chain(whens), schema));
            compared.or_else(|| unlike(thens.chain(case.else_expr.as_deref()), schema))
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if ALIKE.contains(&func.name()) => unlike(args, schema),
        _ => None,
    }
}

fn class(expr: &Expr, schema: &DFSchema) -> Option<Class> {
    Class::of(&expr.get_type(schema).ok()?)
}

fn unlike<'e>(exprs: impl IntoIterator<Item = &'e Expr>, schema: &DFSchema) -> Option<String> {
    let mut first: Option<(&Expr, Class)> = None;
    for expr in exprs {
        let Some(class) = class(expr, schema) else { continue };
        match first {
            Some((other, as_other)) if as_other != class => {
                return Some(format!(
                    "[{}] is {} and [{}] is {}, and which of them would be converted hangs on the type that a column has \
                     at this time; compare like with like, as text in quotes or by CAST(… AS BIGINT), CAST(… AS DOUBLE) \
                     or CAST(… AS VARCHAR)",
                    told(other),
                    as_other.name(),
                    told(expr),
                    class.name()
                ));
            }
            Some(_) => {}
            None => first = Some((expr, class)),
        }
    }
    None
}

/// What is wrong where a whole number is compared with a fraction: the planner would make whole bounds of it, which hold other
/// fractions, should the column come to have some.
fn whole_and_fraction<'e>(exprs: impl IntoIterator<Item = &'e Expr> + Clone, schema: &DFSchema) -> Option<String> {
    let of_longs = exprs.clone().into_iter().find(|expr| {
        let whole = |part: &Expr| part.get_type(schema).is_ok_and(|of| of.is_integer());
        let column = |part: &Expr| matches!(part, Expr::Column(_)) && whole(part);
        let widened = |part: &Expr| match part {
            Expr::Cast(cast) => cast.field.data_type().is_floating() && column(&cast.expr),
            _ => false,
        };
        column(expr) || widened(expr) || (whole(expr) && !matches!(expr, Expr::Literal(..)))
    })?;
    let fraction = exprs.into_iter().find(|expr| match expr {
        Expr::Literal(value, _) => {
            value.data_type().is_floating() || matches!(value.data_type(), DataType::Decimal128(..))
        }
        _ => false,
    })?;
    Some(format!(
        "[{}] is a whole number and [{}] is not; compare it with a whole number, by < or <= as is meant, without a CAST",
        told(of_longs),
        told(fraction)
    ))
}

/// As its writer knows it.
fn told(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => column.name.clone(),
        Expr::Literal(value, _) => value.to_string(),
        other => other.to_string().replace("policed.", ""),
    }
}

/// The types of the columns that a condition is written for.
pub struct Types<'a>(pub &'a [(String, ValueType, bool)]);

impl Types<'_> {
    /// Filters that together are the filter, in which expressions go by the types; `None` where one computes with a column of
    /// several values, of which it says this or that, or with arrays or documents.
    pub fn hold(&self, filter: Json) -> Result<Option<Vec<Json>>> {
        let mut read = BTreeSet::new();
        let mut filters = vec![self.held(filter, &mut read)?];
        for column in read {
            let Some((_, value_type, several)) = self.0.iter().find(|(name, ..)| *name == column) else { continue };
            // What functions make of an array that became one of other values, or a document, is no answer about it.
            if *several || matches!(value_type, ValueType::Array(_) | ValueType::Complex(_)) {
                return Ok(None);
            }
            if let Some((_, of)) = native(&column, value_type) {
                filters.push(json!({"type": "single", "column": column, "matchValueType": of}));
            }
        }
        Ok(Some(filters))
    }

    fn held(&self, filter: Json, read: &mut BTreeSet<String>) -> Result<Json> {
        Ok(match filter {
            Json::Object(object) if object.get("type").is_some_and(|kind| kind == "expression") => {
                let text = object.get("expression").and_then(Json::as_str).unwrap_or_default();
                json!({"type": "expression", "expression": self.cast(text, read)?})
            }
            Json::Object(object) => {
                let held = object.into_iter().map(|(name, value)| Ok((name, self.held(value, read)?)));
                Json::Object(held.collect::<Result<_>>()?)
            }
            Json::Array(items) => items.into_iter().map(|item| self.held(item, read)).collect::<Result<_>>()?,
            other => other,
        })
    }

    /// An expression that reads columns by their types.
    fn cast(&self, text: &str, read: &mut BTreeSet<String>) -> Result<String> {
        let parse = |text: &str| Native::parse(text).map_err(|error| Error::invalid(error.to_string()));
        let expression = parse(text)?;
        read.extend(expression.columns().into_iter().map(str::to_string));
        let cast = |name: &str| {
            let (_, value_type, _) = self.0.iter().find(|(column, ..)| column == name)?;
            let (to, _) = native(name, value_type)?;
            Native::parse(&format!("cast({}, '{to}')", Native::column(name))).ok()
        };
        let text = expression.replaced(&cast).canonical();
        // It is read again wherever the policy is, and may have become too deep for that.
        parse(&text)?;
        Ok(text)
    }
}

/// What to cast a column to, and what its values must be; `None` for what is of the same type always, and for what no cast
/// makes of another. A float is what it is of a column of floats, and rounded, so not surely what was written, where doubles
/// were to be.
fn native(name: &str, value_type: &ValueType) -> Option<(&'static str, &'static str)> {
    match value_type {
        _ if name == TIME => None,
        ValueType::Long => Some(("LONG", "LONG")),
        ValueType::Double => Some(("DOUBLE", "DOUBLE")),
        ValueType::Float => Some(("DOUBLE", "FLOAT")),
        ValueType::String => Some(("STRING", "STRING")),
        ValueType::Array(_) | ValueType::Complex(_) => None,
    }
}
