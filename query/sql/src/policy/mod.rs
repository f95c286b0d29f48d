//! Conditions of row policies: SQL to a native filter in which identities stand for values.
//!
//! 1. The condition is parsed as an expression alone. `CURRENT_USER`, `USER_ATTRIBUTE('name')` and `USER_GROUPS()` become
//!    texts that no one else writes, each its own; each `USER_IN_GROUP('name')` an equality of a column that no table has.
//! 2. It is taken apart at its `AND`, `OR` and `NOT` until each comparison stands by itself. The planner simplifies by what
//!    constants are, and takes an identity's text for one, and a column for one value: beside `c = 'x'` it would drop
//!    `c <> CURRENT_USER` and `c <> 'y'`, as true.
//! 3. Each part is planned as the `WHERE` of a scan of the table, which must leave nothing to do but the engine's filter.
//!    What it compares is of one type, and its filter goes by that type whatever becomes of the column ([`types`]).
//! 4. In the filter, each of these texts must stand as a whole value: it becomes the identity. One that went anywhere else
//!    (a constant that was folded, a part of a text) is refused, for there the identity would be lost.

mod marks;
mod types;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::Result as DfResult;
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, SetExpr, UnaryOperator, VisitMut};
use query::Principal;
use query::policy::{MEMBER_COLUMN, Role};
use regex::Regex;
use segment::Interval;
use segment::schema::ValueType;
use segment::time::Zone;
use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::leaves::{Shape, Table};
use crate::plan::Plan;
use crate::planner::{Outer, Planner, Tables, datasource};
use crate::planning::deep;
use crate::rewrite::Moment;
use crate::{Sql, parse, rewrite};
use marks::{MARK, Marks, compares, identities, member, names_identity};
use types::Types;

impl Sql {
    /// A role whose conditions in SQL have become filters, and whose policies and column rules fit the datasources that
    /// there are for `who`, who writes or tries it. `path` is where the role stands, for errors.
    pub fn checked(&self, mut role: Role, path: &str, who: &Principal) -> Result<Role> {
        let tables = self.broker.datasources_for_rules(who);
        let matching = |pattern: &str, at: &str| -> Result<Vec<&String>> {
            let pattern = whole(pattern, at)?;
            Ok(tables.iter().filter(|name| pattern.is_match(name)).collect())
        };
        for (idx, policy) in role.policies.iter_mut().enumerate() {
            let at = format!("{path}.policies[{idx}]");
            let named = |error: Error| Error::invalid(format!("{at}.sql: {error}"));
            let tables = matching(&policy.datasource, &format!("{at}.datasource"))?;
            let columns = |name| self.broker.columns_for_rules(name, who);
            let known: Vec<_> = tables.iter().filter_map(|name| Some((name, columns(name)?))).collect();
            match (&policy.sql, &policy.filter) {
                (None, None) => {
                    return Err(Error::invalid(format!(
                        "{at}: give sql or filter, the rows that the policy lets through"
                    )));
                }
                (Some(sql), _) => {
                    let mut filters = Vec::new();
                    for (_, columns) in &known {
                        filters.push(self.condition(columns, sql).map_err(named)?);
                    }
                    if known.is_empty() {
                        // Of a datasource that is not there yet, columns are texts.
                        let columns: Vec<_> = parse::names(sql).map_err(named)?;
                        let columns = columns.into_iter().map(|name| (name, ValueType::String, false));
                        filters.push(self.condition(&columns.collect::<Vec<_>>(), sql).map_err(named)?);
                    }
                    filters.dedup();
                    if filters.len() > 1 {
                        return Err(Error::invalid(format!(
                            "{at}.sql means different filters for the datasources that {at}.datasource matches, whose \
                             columns differ in type; give each a policy of its own"
                        )));
                    }
                    policy.filter = filters.pop();
                }
                (None, Some(filter)) => {
                    for (table, columns) in &known {
                        let unknown =
                            columns_of(filter).into_iter().find(|name| !columns.iter().any(|(n, ..)| n == name));
                        if let Some(name) = unknown {
                            let near = segment::spelling::nearest(&name, columns.iter().map(|(n, ..)| n.as_str()));
                            let hint = near.map_or(String::new(), |near| format!("; did you mean [{near}]?"));
                            return Err(Error::invalid(format!(
                                "{at}.filter: datasource [{table}] has no column [{name}]{hint}"
                            )));
                        }
                    }
                }
            }
        }
        Ok(role)
    }

    /// The native filter of a policy's condition over a table of these columns. Columns that are not there are refused.
    pub fn condition(&self, columns: &[(String, ValueType, bool)], text: &str) -> Result<Json> {
        deep(|| self.condition_of(columns, text))
    }

    fn condition_of(&self, columns: &[(String, ValueType, bool)], text: &str) -> Result<Json> {
        if text.contains(MARK) {
            return Err(Error::invalid("a condition may not contain U+0002"));
        }
        // An expression and nothing else: what it is put into cannot be left by it.
        parse::expression(text)?;
        let mut parsed = parse::parse(&format!("SELECT 1 FROM \"policed\" WHERE ({text}\n)"))?;
        let mut marks = Marks { found: Vec::new(), groups: Vec::new() };
        if let ControlFlow::Break(error) = parsed.query.visit(&mut marks) {
            return Err(error);
        }
        let zone = Zone::Utc;
        let moment = Moment { now: 0, zone: &zone, parameters: None, listed_max: None };
        if parsed.placeholders > 0 || rewrite::rewrite(&mut parsed, &moment)? {
            return Err(Error::invalid("a condition may use neither parameters nor the current time"));
        }
        let SetExpr::Select(select) = parsed.query.body.as_mut() else { return Err(beyond()) };
        let Some(condition) = select.selection.take() else { return Err(beyond()) };
        let mut columns = columns.to_vec();
        columns.extend((0..marks.groups.len()).map(|nth| (member(nth), ValueType::String, false)));
        let table = Arc::new(Table::new(vec!["policed".to_string()], &columns, true));
        let planner = self.plans().planners.of(&zone);
        let parts = Parts {
            marks: &marks,
            types: Types(&columns),
            table,
            planner: &planner,
            count: AtomicUsize::new(0),
            settling: Cell::new(false),
            scan: &parsed.query,
        };
        let filter = parts.filter(&condition, false)?;
        for (group, asked) in &marks.groups {
            if !asked.load(Ordering::Relaxed) {
                return Err(Error::invalid(format!("USER_IN_GROUP('{group}') changes nothing here; leave it out")));
            }
        }
        Ok(filter)
    }
}

fn beyond() -> Error {
    Error::invalid(
        "the condition is more than a filter of the engine can say; compare columns with constants and identities by =, \
         <>, IN, LIKE, IS NULL, <, >, BETWEEN, AND, OR and NOT, or give a native filter (of arrays arrayContainsElement, or \
         equals with an array)",
    )
}

/// The parts of a condition that are planned each by itself.
struct Parts<'a> {
    marks: &'a Marks,
    types: Types<'a>,
    table: Arc<Table>,
    planner: &'a Planner,
    /// Comparisons so far.
    count: AtomicUsize,
    /// Whether what is looked at is within something that makes the unknown certain.
    settling: Cell<bool>,
    /// `SELECT 1 FROM` the table, for a part to be the `WHERE` of.
    scan: &'a Query,
}

impl Parts<'_> {
    /// The filter of an expression, or of its negation. Each comparison is planned by itself: the planner folds comparisons
    /// of one column with each other as if it had one value. `NOT` goes down to them, and what stands for one is negated
    /// where it is a test that is unknown of what is unknown: else the planner negates the comparison.
    fn filter(&self, expr: &Expr, negated: bool) -> Result<Json> {
        match expr {
            Expr::Nested(inner) => self.filter(inner, negated),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => self.filter(expr, !negated),
            Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
                self.all_or_any(expr, op, negated)
            }
            Expr::IsTrue(inner) => self.settled(expr, inner, "istrue", negated),
            Expr::IsNotTrue(inner) => self.settled(expr, inner, "istrue", !negated),
            Expr::IsFalse(inner) => self.settled(expr, inner, "isfalse", negated),
            Expr::IsNotFalse(inner) => self.settled(expr, inner, "isfalse", !negated),
            _ if negated => {
                let filter = self.planned(expr, false)?;
                match is_test(&filter) {
                    true => Ok(json!({"type": "not", "field": filter})),
                    false => self.planned(expr, true),
                }
            }
            _ => self.planned(expr, false),
        }
    }

    /// Whether a condition is certain, and which way.
    fn settled(&self, expr: &Expr, inner: &Expr, kind: &str, negated: bool) -> Result<Json> {
        if names_identity(expr) {
            return Err(self.lost(expr));
        }
        let around = self.settling.replace(true);
        let filter = self.filter(inner, false);
        self.settling.set(around);
        let filter = filter?;
        if !is_made_of_tests(&filter) {
            return Err(beyond());
        }
        let settled = json!({"type": kind, "field": filter});
        Ok(if negated { json!({"type": "not", "field": settled}) } else { settled })
    }

    fn all_or_any(&self, expr: &Expr, op: &BinaryOperator, negated: bool) -> Result<Json> {
        let mut operands = Vec::new();
        let mut rest = expr;
        while let Expr::BinaryOp { left, op: other, right } = rest
            && other == op
        {
            operands.push(right.as_ref());
            rest = left;
        }
        operands.push(rest);
        let all = (*op == BinaryOperator::And) != negated;
        let (kind, decided) = if all { ("and", "false") } else { ("or", "true") };
        let mut fields = Vec::new();
        let mut is_decided = false;
        for operand in operands.into_iter().rev() {
            let filter = self.filter(operand, negated)?;
            match filter {
                // It may stand for what is unknown, which is lost here.
                filter if self.settling.get() && is_constant(&filter) => return Err(beyond()),
                filter if filter["type"] == decided => is_decided = true,
                filter if is_constant(&filter) => {}
                Json::Object(mut object) if object["type"] == kind => match object.remove("fields") {
                    Some(Json::Array(inner)) => fields.extend(inner),
                    _ => return Err(beyond()),
                },
                filter => fields.push(filter),
            }
        }
        // BETWEEN, which is two comparisons by now: of several values, one lies between.
        if all && !self.settling.get() {
            fields = fields.into_iter().fold(Vec::new(), |mut joined: Vec<Json>, filter| {
                match joined.pop() {
                    None => joined.push(filter),
                    Some(last) => match both_ends(last.clone(), filter.clone()) {
                        Some(range) => joined.push(range),
                        None => joined.extend([last, filter]),
                    },
                }
                joined
            });
        }
        Ok(match fields.len() {
            _ if is_decided && names_identity(expr) => return Err(self.lost(expr)),
            _ if is_decided => json!({"type": decided}),
            0 => json!({"type": if all { "true" } else { "false" }}),
            1 => fields.remove(0),
            _ => json!({"type": kind, "fields": fields}),
        })
    }

    /// The first identity of an expression is of no effect.
    fn lost(&self, expr: &Expr) -> Error {
        let nth = identities(expr).pop_first();
        let written = nth.and_then(|nth| self.marks.found.get(nth)).map(|(_, written)| written.as_str());
        Error::invalid(match written {
            Some(written) => {
                format!("{written} must be compared with a column by = or IN; here its value would be lost")
            }
            None => "USER_IN_GROUP stands by itself, or under AND, OR and NOT; here it changes nothing".to_string(),
        })
    }

    /// The filter of an expression that is one comparison, if it names an identity.
    fn planned(&self, expr: &Expr, negated: bool) -> Result<Json> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= COMPARISONS_MAX {
            return Err(Error::invalid(format!(
                "a condition may have at most {COMPARISONS_MAX} comparisons; list values by IN"
            )));
        }
        let identity = names_identity(expr);
        if identity && !compares(expr) {
            return Err(self.lost(expr));
        }
        let mut query = self.scan.clone();
        let SetExpr::Select(select) = query.body.as_mut() else { return Err(beyond()) };
        let part = Box::new(Expr::Nested(Box::new(expr.clone())));
        select.selection = Some(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: part } } else { *part });
        let outer = Outer { limit: None, finish_sketches: false };
        let alone = Alone(self.table.clone());
        let written = self.planner.written(Box::new(query.clone()), &alone)?;
        types::check(&written).map_err(|error| Error::invalid(self.marks.told(error.to_string())))?;
        let logical = self.planner.plan(Box::new(query), &alone, outer)?;
        if is_empty(&logical) {
            // What is never true reads no table.
            return if identity { Err(self.lost(expr)) } else { Ok(json!({"type": "false"})) };
        }
        let leaf = match Plan::new(logical, self.planner)? {
            Plan::Direct { leaf: Some(leaf), ref steps, .. }
                if !steps.iter().any(|step| matches!(step, crate::plan::Step::Filter(_))) =>
            {
                leaf
            }
            _ => return Err(beyond()),
        };
        let parts = leaf.parts();
        if !matches!(parts.kind, Shape::Scan { .. }) || !parts.virtual_columns.is_empty() || !parts.semis.is_empty() {
            return Err(beyond());
        }
        let mut used = BTreeSet::new();
        let mut filters: Vec<Json> = Vec::new();
        if let Some(filter) = &parts.filter {
            filters.extend(self.types.hold(self.marks.placed(filter, &mut used)?)?.ok_or_else(beyond)?);
        }
        if identity && used != identities(expr) {
            return Err(self.lost(expr));
        }
        if parts.intervals != [Interval::ETERNITY] {
            let texts: Vec<String> = parts.intervals.iter().map(Interval::to_string).collect();
            filters.push(json!({"type": "interval", "dimension": "__time", "intervals": texts}));
        }
        Ok(match filters.len() {
            0 => json!({"type": "true"}),
            1 => filters.remove(0),
            _ => json!({"type": "and", "fields": filters}),
        })
    }
}

/// Comparisons of a condition, each of which is planned by itself.
const COMPARISONS_MAX: usize = 1000;

/// Filters of one column that are unknown of null, and of what is of another type.
const TESTS: [&str; 8] = ["equals", "inType", "range", "like", "regex", "search", "null", "interval"];

/// Whether a filter says no less when it is negated.
fn is_test(filter: &Json) -> bool {
    match filter["type"].as_str() {
        Some("not") => is_test(&filter["field"]),
        Some(kind) => TESTS.contains(&kind),
        None => false,
    }
}

fn is_made_of_tests(filter: &Json) -> bool {
    match filter["type"].as_str() {
        Some("and" | "or") => filter["fields"].as_array().is_some_and(|fields| fields.iter().all(is_made_of_tests)),
        Some("not" | "istrue" | "isfalse") => is_made_of_tests(&filter["field"]),
        _ => is_test(filter),
    }
}

fn is_constant(filter: &Json) -> bool {
    filter["type"] == "true" || filter["type"] == "false"
}

/// The range between two, of one column, of which each has one end: of several values, one is to lie between.
fn both_ends(above: Json, below: Json) -> Option<Json> {
    let (above, below) = if above.get("lower").is_some() { (above, below) } else { (below, above) };
    let same = |name: &str| above[name] == below[name];
    if above["type"] != "range" || !["type", "column", "matchValueType"].into_iter().all(same) {
        return None;
    }
    let (Json::Object(mut range), Json::Object(upper)) = (above, below) else { return None };
    if range.contains_key("upper") || upper.contains_key("lower") {
        return None;
    }
    range.extend(upper);
    Some(Json::Object(range))
}

/// A pattern that matches whole names, as rules read it.
fn whole(text: &str, at: &str) -> Result<Regex> {
    Regex::new(&format!("(?s)^(?:{text})$"))
        .map_err(|error| Error::invalid(format!("{at}: [{text}] is no regular expression: {error}")))
}

/// The columns that a filter's JSON names.
fn columns_of(filter: &Json) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![filter];
    while let Some(json) = pending.pop() {
        match json {
            Json::Object(object) => {
                for (name, value) in object {
                    match (name.as_str(), value) {
                        ("column" | "dimension", Json::String(column)) if column != MEMBER_COLUMN => {
                            found.push(column.clone())
                        }
                        _ => pending.push(value),
                    }
                }
            }
            Json::Array(items) => pending.extend(items),
            _ => {}
        }
    }
    found
}

/// Whether a plan is known to have no row.
fn is_empty(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(empty) => !empty.produce_one_row,
        LogicalPlan::Projection(projection) => is_empty(&projection.input),
        LogicalPlan::Filter(filter) => is_empty(&filter.input),
        _ => false,
    }
}

/// The one table of a condition.
struct Alone(Arc<Table>);

impl Tables for Alone {
    fn table(&self, reference: &TableReference) -> DfResult<Arc<dyn TableSource>> {
        match datasource(reference) {
            Some("policed") => Ok(self.0.clone()),
            _ => Err(DataFusionError::Plan(
                "a condition is about the columns of its own table; it cannot ask others".into(),
            )),
        }
    }

    fn may_lookup(&self, _name: &str) -> bool {
        false
    }
}
