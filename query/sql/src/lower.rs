//! Expressions of a plan in the words of the native engine: texts of its expression language, filters, aggregates.
//!
//! Every function here answers `None` for what it does not know for certain to mean the same there. A part of a plan is
//! pushed down only if all of its expressions translate, so an omission costs time and never an answer.

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, InList, Like, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, TryCast};
use segment::Interval;
use segment::block::Value;
use segment::schema::{TIME, ValueType};
use segment::time::Granularity;
use serde_json::{Map, Value as Json, json};

use crate::aggregates::pair_of;
use crate::convert::{DOCUMENT, TIMESTAMP, plain};
use crate::functions::{Definition, NativeFunction, literal, quote};
use crate::sketches;

/// Listed values that are spelled out in an expression; filters take any number.
const SPELLED_MAX: usize = 100;

/// Translates expressions over the columns of one table, collecting the virtual columns they need.
pub struct Lower<'a> {
    /// All columns of the table, qualified as in the plan.
    schema: &'a DFSchema,
    virtuals: Vec<(String, String, ValueType)>,
}

impl<'a> Lower<'a> {
    pub fn new(schema: &'a DFSchema) -> Lower<'a> {
        Lower { schema, virtuals: Vec::new() }
    }

    /// The virtual columns asked for so far, in Druid's JSON.
    pub fn virtual_columns(&self) -> Vec<Json> {
        self.virtuals
            .iter()
            .map(|(name, text, value_type)| {
                json!({"type": "expression", "name": name, "expression": text, "outputType": value_type.druid_name()})
            })
            .collect()
    }

    fn type_of(&self, expr: &Expr) -> Option<DataType> {
        expr.get_type(self.schema).ok()
    }

    /// The column that an expression is, if it is one that can be computed with.
    pub fn column<'e>(&self, expr: &'e Expr) -> Option<&'e str> {
        match expr {
            Expr::Alias(alias) => self.column(&alias.expr),
            // A cast to what it is already.
            Expr::Cast(cast) if self.type_of(&cast.expr)? == self.type_of(expr)? => self.column(&cast.expr),
            Expr::Column(Column { name, .. }) => (self.type_of(expr)? != DataType::Binary).then_some(name.as_str()),
            _ => None,
        }
    }

    /// The name of a column that holds the expression's values: its own if it is one, else a virtual one.
    pub fn named(&mut self, expr: &Expr) -> Option<(String, ValueType)> {
        let value_type = value_type(&self.type_of(expr)?)?;
        if let Some(column) = self.column(expr) {
            return Some((column.to_string(), value_type));
        }
        let text = self.text(expr)?;
        if let Some((name, ..)) = self.virtuals.iter().find(|(_, other, t)| *other == text && *t == value_type) {
            return Some((name.clone(), value_type));
        }
        let taken = |name: &str| self.schema.fields().iter().any(|field| field.name() == name);
        let name = (self.virtuals.len()..).map(|n| format!("v{n}")).find(|name| !taken(name))?;
        self.virtuals.push((name.clone(), text, value_type.clone()));
        Some((name, value_type))
    }

    /// The expression as text of the native language.
    pub fn text(&self, expr: &Expr) -> Option<String> {
        Some(match expr {
            Expr::Alias(alias) => self.text(&alias.expr)?,
            Expr::Column(Column { name, .. }) => quote(name, '"'),
            Expr::Literal(value, _) => literal(value)?,
            Expr::Not(inner) => format!("!({})", self.text(inner)?),
            Expr::Negative(inner) => format!("-({})", self.text(inner)?),
            Expr::IsNull(inner) | Expr::IsUnknown(inner) => format!("isnull({})", self.text(inner)?),
            Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) => format!("notnull({})", self.text(inner)?),
            Expr::IsTrue(inner) => format!("istrue({})", self.text(inner)?),
            Expr::IsFalse(inner) => format!("isfalse({})", self.text(inner)?),
            Expr::IsNotTrue(inner) => format!("nottrue({})", self.text(inner)?),
            Expr::IsNotFalse(inner) => format!("notfalse({})", self.text(inner)?),
            Expr::BinaryExpr(binary) => self.binary(binary)?,
            Expr::Between(between) => {
                let (value, low, high) =
                    (self.text(&between.expr)?, self.text(&between.low)?, self.text(&between.high)?);
                let both = format!("({value} >= {low} && {value} <= {high})");
                if between.negated { format!("!{both}") } else { both }
            }
            Expr::Like(like) => self.like_text(like)?,
            Expr::InList(list) => {
                if list.list.len() > SPELLED_MAX {
                    return None;
                }
                let value = self.text(&list.expr)?;
                let tests = list
                    .list
                    .iter()
                    .map(|item| Some(format!("{value} == {}", self.text(item)?)))
                    .collect::<Option<Vec<_>>>()?;
                let any = format!("({})", tests.join(" || "));
                if list.negated { format!("!{any}") } else { any }
            }
            Expr::Case(case) => {
                let mut parts = Vec::with_capacity(case.when_then_expr.len() * 2 + 2);
                let name = match &case.expr {
                    Some(subject) => {
                        parts.push(self.text(subject)?);
                        "case_simple"
                    }
                    None => "case_searched",
                };
                for (when, then) in &case.when_then_expr {
                    parts.push(self.text(when)?);
                    parts.push(self.text(then)?);
                }
                parts.push(case.else_expr.as_ref().map_or(Some("null".to_string()), |other| self.text(other))?);
                format!("{name}({})", parts.join(", "))
            }
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
                self.cast(expr, field.data_type())?
            }
            Expr::ScalarFunction(function) => self.function(function)?,
            _ => return None,
        })
    }

    fn binary(&self, binary: &BinaryExpr) -> Option<String> {
        let operator = match binary.op {
            Operator::Plus => "+",
            Operator::Minus => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Modulo => "%",
            Operator::Eq => "==",
            Operator::NotEq => "!=",
            Operator::Lt => "<",
            Operator::LtEq => "<=",
            Operator::Gt => ">",
            Operator::GtEq => ">=",
            Operator::And => "&&",
            Operator::Or => "||",
            Operator::StringConcat => {
                return Some(format!("concat({}, {})", self.text(&binary.left)?, self.text(&binary.right)?));
            }
            Operator::IsDistinctFrom => {
                return Some(format!("isdistinctfrom({}, {})", self.text(&binary.left)?, self.text(&binary.right)?));
            }
            Operator::IsNotDistinctFrom => {
                return Some(format!("notdistinctfrom({}, {})", self.text(&binary.left)?, self.text(&binary.right)?));
            }
            _ => return None,
        };
        let (left, right) = (self.type_of(&binary.left)?, self.type_of(&binary.right)?);
        if left == TIMESTAMP
            && matches!(right, DataType::Interval(_))
            && let Some(shifted) = self.shifted(binary)
        {
            return Some(shifted);
        }
        // Both sides are of one kind: the native language would convert where the plan would not.
        let (left_type, right_type) = (value_type(&left)?, value_type(&right)?);
        if left_type != right_type && left != DataType::Null && right != DataType::Null {
            return None;
        }
        let arithmetic = matches!(
            binary.op,
            Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
        );
        // The native language adds strings by joining them, and knows no narrow floats.
        if arithmetic && !matches!(left_type, ValueType::Long | ValueType::Double) {
            return None;
        }
        Some(format!("({} {operator} {})", self.text(&binary.left)?, self.text(&binary.right)?))
    }

    /// `timestamp ± INTERVAL literal`.
    fn shifted(&self, binary: &BinaryExpr) -> Option<String> {
        let sign = match binary.op {
            Operator::Plus => 1,
            Operator::Minus => -1,
            _ => return None,
        };
        let (months, days, millis) = match binary.right.as_ref() {
            Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => {
                (i64::from(interval.months), i64::from(interval.days), interval.nanoseconds / 1_000_000)
            }
            Expr::Literal(ScalarValue::IntervalYearMonth(Some(months)), _) => (i64::from(*months), 0, 0),
            Expr::Literal(ScalarValue::IntervalDayTime(Some(interval)), _) => {
                (0, i64::from(interval.days), i64::from(interval.milliseconds))
            }
            _ => return None,
        };
        let mut text = self.text(&binary.left)?;
        if months != 0 {
            text = format!("timestamp_shift({text}, 'P1M', {})", sign * months);
        }
        let rest = days.checked_mul(86_400_000)?.checked_add(millis)?;
        if rest != 0 {
            text = format!("({text} + {})", sign * rest);
        }
        Some(text)
    }

    fn cast(&self, expr: &Expr, to: &DataType) -> Option<String> {
        let from = self.type_of(expr)?;
        let text = self.text(expr)?;
        let longish = |t: &DataType| matches!(t, DataType::Int64 | DataType::Boolean) || *t == TIMESTAMP;
        Some(match (&from, to) {
            (from, to) if from == to => text,
            (DataType::Null, _) => text,
            (from, DataType::Int64) if longish(from) => text,
            (DataType::Int64, to) if *to == TIMESTAMP => text,
            (from, DataType::Float64) if longish(from) && *from != TIMESTAMP => format!("cast({text}, 'DOUBLE')"),
            (DataType::Float32, DataType::Float64) => text,
            (DataType::Float64 | DataType::Float32, DataType::Int64) => format!("cast({text}, 'LONG')"),
            (DataType::Utf8, DataType::Int64) => format!("cast({text}, 'LONG')"),
            (DataType::Utf8, DataType::Float64) => format!("cast({text}, 'DOUBLE')"),
            (DataType::Int64 | DataType::Float64, DataType::Utf8) => format!("cast({text}, 'STRING')"),
            (from @ DataType::List(_), DataType::List(_)) => {
                let (from, to) = (value_type(from)?, value_type(to)?);
                if from == to { text } else { format!("cast({text}, '{}')", to.druid_name()) }
            }
            (DataType::Boolean, DataType::Utf8) => {
                format!("case_searched(isnull({text}), null, {text}, 'true', 'false')")
            }
            _ => return None,
        })
    }

    fn function(&self, function: &ScalarFunction) -> Option<String> {
        let args = function.args.iter().map(|arg| self.text(arg)).collect::<Option<Vec<_>>>()?;
        let inner = function.func.inner().as_ref() as &dyn std::any::Any;
        if let Some(native) = inner.downcast_ref::<NativeFunction>() {
            return Some(native.definition.native(&args));
        }
        let same_types = || {
            let mut types = function.args.iter().map(|arg| self.type_of(arg));
            let first = types.next().flatten();
            types.all(|other| other == first)
        };
        match function.name() {
            "make_array" => Some(format!("array({})", args.join(", "))),
            "coalesce" if same_types() => Some(format!("coalesce({})", args.join(", "))),
            "nullif" if args.len() == 2 && same_types() => {
                Some(format!("case_searched({0} == {1}, null, {0})", args[0], args[1]))
            }
            _ => None,
        }
    }

    fn like_text(&self, like: &Like) -> Option<String> {
        let (mut value, mut pattern) = (self.text(&like.expr)?, self.text(&like.pattern)?);
        if like.case_insensitive {
            value = format!("lower({value})");
            pattern = format!("lower({pattern})");
        }
        let test = match like.escape_char {
            Some(escape) => format!("like({value}, {pattern}, {})", quote(&escape.to_string(), '\'')),
            None => format!("like({value}, {pattern})"),
        };
        Some(if like.negated { format!("!{test}") } else { test })
    }

    /// The expression as a filter.
    pub fn filter(&mut self, expr: &Expr) -> Option<Json> {
        Some(match expr {
            Expr::Alias(alias) => self.filter(&alias.expr)?,
            Expr::Literal(ScalarValue::Boolean(Some(true)), _) => json!({"type": "true"}),
            Expr::Literal(ScalarValue::Boolean(Some(false)), _) => json!({"type": "false"}),
            Expr::Literal(value, _) if value.is_null() => json!({"type": "expression", "expression": "null"}),
            Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => {
                let mut fields = Vec::new();
                let mut parts = vec![expr];
                while let Some(part) = parts.pop() {
                    match part {
                        Expr::BinaryExpr(binary) if binary.op == *op => {
                            parts.push(&binary.right);
                            parts.push(&binary.left);
                        }
                        other => fields.push(self.filter(other)?),
                    }
                }
                json!({"type": if *op == Operator::And { "and" } else { "or" }, "fields": fields})
            }
            Expr::Not(inner) => not(self.filter(inner)?),
            Expr::IsNull(inner) if self.column(inner).is_some() => {
                json!({"type": "null", "column": self.column(inner)?})
            }
            Expr::IsNotNull(inner) if self.column(inner).is_some() => {
                not(json!({"type": "null", "column": self.column(inner)?}))
            }
            Expr::IsTrue(inner) => json!({"type": "istrue", "field": self.filter(inner)?}),
            Expr::IsFalse(inner) => json!({"type": "isfalse", "field": self.filter(inner)?}),
            Expr::IsNotTrue(inner) => not(json!({"type": "istrue", "field": self.filter(inner)?})),
            Expr::IsNotFalse(inner) => not(json!({"type": "isfalse", "field": self.filter(inner)?})),
            Expr::BinaryExpr(binary) => match self.comparison(binary).or_else(|| self.test_of_values(binary)) {
                Some(filter) => filter,
                None => self.expression(expr)?,
            },
            Expr::Between(between) => {
                let above = BinaryExpr::new(between.expr.clone(), Operator::GtEq, between.low.clone());
                let below = BinaryExpr::new(between.expr.clone(), Operator::LtEq, between.high.clone());
                match (self.comparison(&above), self.comparison(&below)) {
                    (Some(above), Some(below)) => {
                        let both = json!({"type": "and", "fields": [above, below]});
                        if between.negated { not(both) } else { both }
                    }
                    _ => self.expression(expr)?,
                }
            }
            Expr::Like(like) => match (self.column(&like.expr), like.pattern.as_ref()) {
                (Some(column), Expr::Literal(ScalarValue::Utf8(Some(pattern)), _))
                    if !like.case_insensitive && self.type_of(&like.expr) == Some(DataType::Utf8) =>
                {
                    let mut filter = json!({"type": "like", "dimension": column, "pattern": pattern});
                    if let Some(escape) = like.escape_char {
                        filter["escape"] = escape.to_string().into();
                    }
                    if like.negated { not(filter) } else { filter }
                }
                _ => self.expression(expr)?,
            },
            Expr::InList(list) => match self.in_list(list) {
                Some(filter) => filter,
                None => self.expression(expr)?,
            },
            Expr::ScalarFunction(function) => match self.string_test(function) {
                Some(filter) => filter,
                None => self.expression(expr)?,
            },
            Expr::Case(_) | Expr::Cast(_) => self.expression(expr)?,
            _ => return None,
        })
    }

    fn expression(&self, expr: &Expr) -> Option<Json> {
        if self.type_of(expr)? != DataType::Boolean {
            return None;
        }
        Some(json!({"type": "expression", "expression": self.text(expr)?}))
    }

    fn comparison(&mut self, binary: &BinaryExpr) -> Option<Json> {
        let (left, op, right) = match (binary.left.as_ref(), binary.right.as_ref()) {
            (left, Expr::Literal(value, _)) => (left, binary.op, value),
            (Expr::Literal(value, _), right) => (right, binary.op.swap()?, value),
            _ => return None,
        };
        // The column, or a column made wider: the test is made on the column's own type.
        let (inner, widened) = match left {
            Expr::Cast(Cast { expr, field }) if *field.data_type() == DataType::Float64 => (expr.as_ref(), true),
            other => (other, false),
        };
        let column = self.column(inner)?.to_string();
        let from = self.type_of(inner)?;
        if widened && from == DataType::Int64 {
            return long_test(&column, op, double_of(right)?);
        }
        if widened && from != DataType::Float32 {
            return None;
        }
        let (value, match_type) = match (&from, right) {
            (DataType::Utf8, ScalarValue::Utf8(Some(text))) => (Json::from(plain(text)), "STRING"),
            (DataType::Int64, ScalarValue::Int64(Some(long))) => (Json::from(*long), "LONG"),
            (from, ScalarValue::TimestampMillisecond(Some(millis), None)) if *from == TIMESTAMP => {
                (Json::from(*millis), "LONG")
            }
            (DataType::Float64 | DataType::Float32, value) => {
                (serde_json::Number::from_f64(double_of(value)?).map(Json::Number)?, "DOUBLE")
            }
            _ => return None,
        };
        test(&column, op, value, match_type)
    }

    /// A test of what may be several values, of which one is enough, as that of a column.
    fn test_of_values(&mut self, binary: &BinaryExpr) -> Option<Json> {
        let (left, op, text) = match (binary.left.as_ref(), binary.right.as_ref()) {
            (left, Expr::Literal(ScalarValue::Utf8(Some(text)), _)) => (left, binary.op, text),
            (Expr::Literal(ScalarValue::Utf8(Some(text)), _), right) => (right, binary.op.swap()?, text),
            _ => return None,
        };
        let Expr::ScalarFunction(function) = left else { return None };
        let several = matches!(function.name(), "concat" | "textcat" | "array_to_mv" | "string_to_mv");
        if !(several || function.name().starts_with("mv_")) || self.type_of(left)? != DataType::Utf8 {
            return None;
        }
        let (column, _) = self.named(left)?;
        test(&column, op, Json::from(text.as_str()), "STRING")
    }

    fn in_list(&mut self, list: &InList) -> Option<Json> {
        let data_type = self.type_of(&list.expr)?;
        let mut values = Vec::with_capacity(list.list.len());
        for item in &list.list {
            values.push(match (item, &data_type) {
                (Expr::Literal(ScalarValue::Utf8(Some(text)), _), DataType::Utf8) => Json::from(plain(text)),
                (Expr::Literal(ScalarValue::Int64(Some(long)), _), DataType::Int64) => Json::from(*long),
                (Expr::Literal(ScalarValue::TimestampMillisecond(Some(millis), None), _), t) if *t == TIMESTAMP => {
                    Json::from(*millis)
                }
                (Expr::Literal(ScalarValue::Float64(Some(double)), _), DataType::Float64) => {
                    serde_json::Number::from_f64(*double).map(Json::Number)?
                }
                // A null in the list makes a test unknown; the native filter would match nulls.
                _ => return None,
            });
        }
        let (column, value_type) = self.named(&list.expr)?;
        let filter =
            json!({"type": "inType", "column": column, "matchValueType": value_type.druid_name(), "values": values});
        Some(if list.negated { not(filter) } else { filter })
    }

    /// Tests of a column's text that the engine runs on its dictionary.
    fn string_test(&self, function: &ScalarFunction) -> Option<Json> {
        let [subject, Expr::Literal(ScalarValue::Utf8(Some(text)), _)] = function.args.as_slice() else { return None };
        let column = self.column(subject)?;
        if self.type_of(subject)? != DataType::Utf8 {
            return None;
        }
        let search = |kind: &str, sensitive: bool| {
            json!({"type": "search", "dimension": column,
                "query": {"type": kind, "value": text, "caseSensitive": sensitive}})
        };
        Some(match function.name() {
            "regexp_like" => json!({"type": "regex", "dimension": column, "pattern": text}),
            "contains_string" => search("contains", true),
            "icontains_string" => search("insensitive_contains", false),
            _ => return None,
        })
    }

    /// An aggregate in Druid's JSON under a name; with it, if it takes one to finish it, a post-aggregate that carries
    /// the name `p…` made from it.
    pub fn aggregate(&mut self, expr: &Expr, name: &str) -> Option<(Json, Option<Json>)> {
        let expr = unaliased(expr);
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else { return None };
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return None;
        }
        let args = &params.args;
        if let Some(definition) = sketches::Definition::of(func) {
            let (mut aggregate, post, _) = self.sketch(definition, params, name)?;
            if let Some(test) = &params.filter {
                let test = self.filter(test)?;
                aggregate = filtered(aggregate, test, name);
            }
            return Some((aggregate, post));
        }
        let result = self.type_of(expr)?;
        let mut aggregate = match (func.name(), params.distinct, args.as_slice()) {
            ("count", false, [Expr::Literal(value, _)]) if !value.is_null() => json!({"type": "count", "name": name}),
            ("count", false, []) => json!({"type": "count", "name": name}),
            ("count", false, [arg]) => {
                let test = match self.column(arg) {
                    Some(column) => not(json!({"type": "null", "column": column})),
                    None => json!({"type": "expression", "expression": format!("notnull({})", self.text(arg)?)}),
                };
                filtered(json!({"type": "count", "name": name}), test, name)
            }
            ("count", true, [arg]) => {
                let (column, _) = self.named(arg)?;
                json!({"type": "distinctCount", "name": name, "fieldName": column})
            }
            ("sum" | "min" | "max", false, [arg]) => {
                let prefix = match (func.name(), &result) {
                    ("sum", DataType::Int64) => "long",
                    ("sum", DataType::Float64) => "double",
                    ("sum", _) => return None,
                    (_, DataType::Int64) => "long",
                    (_, result) if *result == TIMESTAMP => "long",
                    (_, DataType::Float64) => "double",
                    (_, DataType::Float32) => "float",
                    _ => return None,
                };
                let kind = match func.name() {
                    "sum" => "Sum",
                    "min" => "Min",
                    _ => "Max",
                };
                self.over(json!({"type": format!("{prefix}{kind}"), "name": name}), arg)?
            }
            ("avg", false, [arg]) if result == DataType::Float64 => {
                self.over(json!({"type": "doubleMean", "name": name}), arg)?
            }
            ("earliest_by" | "latest_by", false, [value, time, rest @ ..]) => {
                let (column, value_type) = match value {
                    // Values that ingestion kept with their times.
                    Expr::Column(column) if self.type_of(value)? == DataType::Binary => {
                        let (_, field) = self.schema.qualified_field_from_column(column).ok()?;
                        (column.name.clone(), value_type(&pair_of(field)?.1)?)
                    }
                    value => self.named(value)?,
                };
                let (time_column, time_type) = self.named(time)?;
                if time_type != ValueType::Long {
                    return None;
                }
                let kind = if func.name() == "earliest_by" { "First" } else { "Last" };
                let mut json = typed(kind, &value_type, name, &column)?;
                json["timeColumn"] = time_column.into();
                with_bytes(json, &value_type, rest.first())?
            }
            ("any_value", false, [value, rest @ ..]) => {
                let (column, value_type) = self.named(value)?;
                let json = typed("Any", &value_type, name, &column)?;
                with_bytes(json, &value_type, rest.first())?
            }
            _ => return None,
        };
        if let Some(test) = &params.filter {
            let test = self.filter(test)?;
            aggregate = filtered(aggregate, test, name);
        }
        Some((aggregate, None))
    }

    /// An aggregate that is a sketch, the post-aggregate that finishes it, and what it is over no rows.
    fn sketch(
        &mut self,
        definition: &sketches::Definition,
        params: &AggregateFunctionParams,
        name: &str,
    ) -> Option<(Json, Option<Json>, Option<Value>)> {
        let args = &params.args;
        if params.distinct {
            return None;
        }
        let whole = matches!(args.last(), Some(Expr::Literal(ScalarValue::Int64(Some(_)), _)));
        let values = definition.values(args.len(), whole);
        let mut columns = Vec::with_capacity(values);
        for arg in &args[..values] {
            let arg = match arg {
                // The plan made it a double; a sketch of numbers takes any number.
                Expr::Cast(Cast { expr, field })
                    if *field.data_type() == DataType::Float64
                        && self.type_of(expr).is_some_and(|t| t.is_numeric()) =>
                {
                    expr.as_ref()
                }
                other => other,
            };
            columns.push(match arg {
                Expr::Column(column) => column.name.clone(),
                other => self.named(other)?.0,
            });
        }
        let literal = |arg: &Expr| if let Expr::Literal(value, _) = arg { Some(value.clone()) } else { None };
        let constants = args[values..].iter().map(literal).collect::<Option<Vec<_>>>()?;
        let of_sketches = self.type_of(&args[0])? == DataType::Binary;
        let native = definition.native(&columns, of_sketches, &constants)?;
        let empty = sketches::Definition::empty(&native);
        let mut aggregate = native.aggregate;
        aggregate["name"] = name.into();
        let post = native.post.map(|(mut post, _)| {
            post["name"] = format!("p{name}").into();
            match post["type"].as_str() {
                Some("quantilesDoublesSketchToQuantile" | "quantileFromTDigestSketch") => {
                    post["field"] = json!({"type": "fieldAccess", "fieldName": name});
                }
                _ => post["fieldName"] = name.into(),
            }
            post
        });
        Some((aggregate, post, empty))
    }

    /// What an aggregate is over no rows.
    pub fn empty(&mut self, expr: &Expr) -> Value {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(expr) else { return Value::Null };
        match sketches::Definition::of(func) {
            Some(definition) => self.sketch(definition, params, "a").and_then(|(.., empty)| empty).unwrap_or_default(),
            None if func.name() == "count" => Value::Long(0),
            None => Value::Null,
        }
    }

    /// An aggregate over a column by name, or over an expression by its text.
    fn over(&self, mut aggregate: Json, arg: &Expr) -> Option<Json> {
        let arg = match arg {
            Expr::Cast(Cast { expr, field })
                if *field.data_type() == DataType::Float64
                    && self.column(expr).is_some()
                    && self.type_of(expr).is_some_and(|t| t.is_numeric()) =>
            {
                expr.as_ref()
            }
            other => other,
        };
        value_type(&self.type_of(arg)?).filter(ValueType::is_numeric)?;
        match self.column(arg) {
            Some(column) => aggregate["fieldName"] = column.into(),
            None => aggregate["expression"] = self.text(arg)?.into(),
        }
        Some(aggregate)
    }
}

pub fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// The native type of values of an Arrow type.
pub fn value_type(data_type: &DataType) -> Option<ValueType> {
    Some(match data_type {
        DataType::Utf8 => ValueType::String,
        DataType::Int64 | DataType::Boolean => ValueType::Long,
        data_type if *data_type == TIMESTAMP => ValueType::Long,
        DataType::Float64 => ValueType::Double,
        DataType::Float32 => ValueType::Float,
        data_type if *data_type == DOCUMENT => ValueType::json(),
        DataType::List(field) => match value_type(field.data_type())? {
            ValueType::Array(_) | ValueType::Complex(_) => return None,
            of => ValueType::array(of),
        },
        _ => return None,
    })
}

fn typed(kind: &str, value_type: &ValueType, name: &str, column: &str) -> Option<Json> {
    let prefix = match value_type {
        ValueType::String => "string",
        ValueType::Long => "long",
        ValueType::Float => "float",
        ValueType::Double => "double",
        ValueType::Array(_) | ValueType::Complex(_) => return None,
    };
    Some(json!({"type": format!("{prefix}{kind}"), "name": name, "fieldName": column}))
}

fn with_bytes(mut aggregate: Json, value_type: &ValueType, bytes: Option<&Expr>) -> Option<Json> {
    if let (ValueType::String, Some(bytes)) = (value_type, bytes) {
        aggregate["maxStringBytes"] = long_literal(bytes)?.into();
    }
    Some(aggregate)
}

fn long_literal(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(long)), _) => Some(*long),
        _ => None,
    }
}

fn double_of(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Float64(Some(double)) => Some(*double),
        ScalarValue::Float32(Some(double)) => Some(f64::from(*double)),
        ScalarValue::Int64(Some(long)) => Some(*long as f64),
        _ => None,
    }
    .filter(|double| double.is_finite())
}

fn not(filter: Json) -> Json {
    json!({"type": "not", "field": filter})
}

fn filtered(aggregate: Json, test: Json, name: &str) -> Json {
    json!({"type": "filtered", "name": name, "filter": test, "aggregator": aggregate})
}

fn test(column: &str, op: Operator, value: Json, match_type: &str) -> Option<Json> {
    let range = |side: &str, open: bool| {
        let mut range = Map::new();
        range.insert("type".into(), "range".into());
        range.insert("column".into(), column.into());
        range.insert("matchValueType".into(), match_type.into());
        range.insert(side.into(), value.clone());
        if open {
            range.insert(format!("{side}Open"), true.into());
        }
        Json::Object(range)
    };
    let equals = || json!({"type": "equals", "column": column, "matchValueType": match_type, "matchValue": value});
    Some(match op {
        Operator::Eq => equals(),
        Operator::NotEq => not(equals()),
        Operator::Lt => range("upper", true),
        Operator::LtEq => range("upper", false),
        Operator::Gt => range("lower", true),
        Operator::GtEq => range("lower", false),
        _ => return None,
    })
}

/// A long compared with a double, as a comparison of longs.
fn long_test(column: &str, op: Operator, value: f64) -> Option<Json> {
    // Beyond this not every long has a double of its own.
    if value.abs() > 9e15 {
        return None;
    }
    let long = |value: f64| Json::from(value as i64);
    match op {
        Operator::Eq | Operator::NotEq if value.fract() == 0.0 => test(column, op, long(value), "LONG"),
        Operator::Lt | Operator::GtEq => test(column, op, long(value.ceil()), "LONG"),
        Operator::Gt | Operator::LtEq => test(column, op, long(value.floor()), "LONG"),
        _ => None,
    }
}

/// The years 1 to 9999, in which every instant is in a bucket of every granularity.
const CALENDAR: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;

/// The intervals that a condition on `__time`, or on the start of its bucket, alone allows; `None` if it is about anything
/// else.
pub fn intervals(expr: &Expr) -> Option<Vec<Interval>> {
    let all = Interval::ETERNITY;
    match expr {
        Expr::Alias(alias) => intervals(&alias.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let (left, right) = (intervals(left)?, intervals(right)?);
            Some(intersect(&left, &right))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut both = intervals(left)?;
            both.extend(intervals(right)?);
            Some(Interval::merge(&both))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (time, op, t) = match (left.as_ref(), right.as_ref()) {
                (time, Expr::Literal(ScalarValue::TimestampMillisecond(Some(t), None), _)) => (time, *op, *t),
                (Expr::Literal(ScalarValue::TimestampMillisecond(Some(t), None), _), time) => (time, op.swap()?, *t),
                _ => return None,
            };
            // The first instant whose time is not before the constant, and the first whose time is after it.
            let (not_before, after) = match time {
                Expr::Column(column) if column.name == TIME => {
                    let t = t.clamp(all.start, all.end - 1);
                    (t, t + 1)
                }
                floor if CALENDAR.contains(&t) => {
                    let granularity = Granularity::from_json(&time_bucket(floor)?).ok()?;
                    if granularity.steps() {
                        return None;
                    }
                    let bucket = granularity.bucket(t);
                    (if bucket.start == t { t } else { bucket.end }, bucket.end)
                }
                _ => return None,
            };
            let interval = match op {
                Operator::Eq => Interval { start: not_before, end: after },
                Operator::Lt => Interval { start: all.start, end: not_before },
                Operator::LtEq => Interval { start: all.start, end: after },
                Operator::Gt => Interval { start: after, end: all.end },
                Operator::GtEq => Interval { start: not_before, end: all.end },
                _ => return None,
            };
            Some(Interval::merge(&[interval]))
        }
        Expr::Between(between) if !between.negated => {
            let above = Expr::BinaryExpr(BinaryExpr::new(between.expr.clone(), Operator::GtEq, between.low.clone()));
            let below = Expr::BinaryExpr(BinaryExpr::new(between.expr.clone(), Operator::LtEq, between.high.clone()));
            Some(intersect(&intervals(&above)?, &intervals(&below)?))
        }
        _ => None,
    }
}

pub fn intersect(left: &[Interval], right: &[Interval]) -> Vec<Interval> {
    let mut out = Vec::new();
    for a in left {
        out.extend(right.iter().map(|b| a.intersect(b)).filter(|both| !both.is_empty()));
    }
    Interval::merge(&out)
}

/// The granularity of `time_floor(__time, period[, origin[, zone]])` with literal arguments, in Druid's JSON.
pub fn time_bucket(expr: &Expr) -> Option<Json> {
    let Expr::ScalarFunction(function) = unaliased(expr) else { return None };
    let inner = function.func.inner().as_ref() as &dyn std::any::Any;
    let definition: &Definition = inner.downcast_ref::<NativeFunction>()?.definition;
    if definition.name != "time_floor" {
        return None;
    }
    let mut args = function.args.iter();
    // Superset casts the time to what it is.
    let time = match args.next()? {
        Expr::Cast(cast) if *cast.field.data_type() == TIMESTAMP => cast.expr.as_ref(),
        plain => plain,
    };
    match time {
        Expr::Column(column) if column.name == TIME => {}
        _ => return None,
    }
    let Expr::Literal(ScalarValue::Utf8(Some(period)), _) = args.next()? else { return None };
    let mut granularity = json!({"type": "period", "period": period, "timeZone": "UTC"});
    match args.next() {
        None => {}
        Some(Expr::Literal(origin, _)) if origin.is_null() => {}
        Some(Expr::Literal(ScalarValue::TimestampMillisecond(Some(origin), None), _)) => {
            granularity["origin"] = segment::time::format_timestamp(*origin).into();
        }
        Some(_) => return None,
    }
    match args.next() {
        None => {}
        Some(Expr::Literal(zone, _)) if zone.is_null() => {}
        Some(Expr::Literal(ScalarValue::Utf8(Some(zone)), _)) => granularity["timeZone"] = zone.as_str().into(),
        Some(_) => return None,
    }
    Some(granularity)
}
