//! Idioms of Druid's SQL that are longer than a name, each turned into a tree that DataFusion plans.
//!
//! - `TABLE(APPEND('a', 'b'))` becomes a table of the schema [`APPENDED`], whose name lists the tables.
//! - `INTERVAL '1 2' DAY TO HOUR` becomes an interval of its smallest unit.
//! - `(a, b) IN (SELECT x, y …)` becomes an EXISTS.
//! - `t.*` names the table as FROM does.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Interval,
    ObjectName, ObjectNamePart, Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, Value, ValueWithSpan,
};

use crate::error::{Error, Result};

/// The schema of tables that are several read as one.
pub const APPENDED: &str = "$append";

/// The table that a table function stands for. Refuses what may stand behind a table and is not heeded.
pub fn table(factor: &mut TableFactor) -> Result<()> {
    // What DataFusion passes over would change the answer.
    if let TableFactor::Table { sample, version, with_hints, .. } = factor {
        let what = [
            ("TABLESAMPLE", sample.is_some()),
            ("FOR SYSTEM_TIME", version.is_some()),
            ("WITH (…)", !with_hints.is_empty()),
        ];
        if let Some((what, _)) = what.iter().find(|(_, there)| *there) {
            return Err(Error::Unsupported(format!("{what} behind a table is not supported; write a WHERE")));
        }
    }
    let TableFactor::TableFunction { expr, alias } = factor else { return Ok(()) };
    let Expr::Function(function) = &*expr else { return Ok(()) };
    let name = function.name.to_string();
    if !name.eq_ignore_ascii_case("append") {
        return Err(Error::Unsupported(format!(
            "TABLE({}(…)) is not supported here; use TABLE(APPEND('table', …)), or post an ingestion task",
            name.to_ascii_uppercase()
        )));
    }
    let FunctionArguments::List(list) = &function.args else { return Ok(()) };
    let tables: Option<Vec<String>> = list
        .args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(ValueWithSpan {
                value: Value::SingleQuotedString(name),
                ..
            }))) => Some(name.clone()),
            _ => None,
        })
        .collect();
    let tables = tables.filter(|tables| !tables.is_empty()).ok_or_else(|| {
        Error::invalid("All arguments of call APPEND should be literal strings: APPEND('first', 'second')")
    })?;
    let parts = [APPENDED.to_string(), serde_json::json!(tables).to_string()];
    let alias = alias.take();
    *factor = TableFactor::Table {
        name: ObjectName(parts.iter().map(|part| ObjectNamePart::Identifier(Ident::with_quote('"', part))).collect()),
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    Ok(())
}

/// The tables that a name of [`APPENDED`] lists.
pub fn appended(name: &str) -> Option<Vec<String>> {
    serde_json::from_str(name).ok()
}

/// `INTERVAL '…' LARGE TO SMALL` as one number of the small unit; `None` if it is plain already.
pub fn interval(interval: &Interval) -> Result<Option<Interval>> {
    use DateTimeField::{Day, Hour, Minute, Month, Second, Year};
    let (Some(from), Some(to)) = (&interval.leading_field, &interval.last_field) else { return Ok(None) };
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = interval.value.as_ref() else {
        return Ok(None);
    };
    // How many of the small unit the parts of the text are, from left to right.
    let (marks, weights, unit): (&str, &[i64], _) = match (from, to) {
        (Year, Month) => ("-", &[12, 1], Month),
        (Day, Hour) => (" ", &[24, 1], Hour),
        (Day, Minute) => (" :", &[1440, 60, 1], Minute),
        (Day, Second) => (" ::", &[86_400, 3600, 60, 1], Second),
        (Hour, Minute) => (":", &[60, 1], Minute),
        (Hour, Second) => ("::", &[3600, 60, 1], Second),
        (Minute, Second) => (":", &[60, 1], Second),
        _ => return Err(Error::invalid(format!("INTERVAL {from} TO {to} is none; the first unit is the larger one"))),
    };
    let refuse = || {
        let form = format!("a number for each unit from {from} to {to}");
        Error::invalid(format!("illegal INTERVAL literal '{text}': give {form}"))
    };
    let (negative, mut rest) = match text.trim().strip_prefix('-') {
        Some(rest) => (true, rest.trim()),
        None => (false, text.trim()),
    };
    let mut total: i64 = 0;
    for (idx, weight) in weights.iter().enumerate() {
        let part = match marks.chars().nth(idx) {
            Some(mark) => {
                let (part, after) = rest.split_once(mark).ok_or_else(refuse)?;
                rest = after.trim_start();
                part
            }
            None => rest,
        };
        // Fractions of seconds are below the precision of time here.
        let whole = part.split('.').next().unwrap_or(part);
        let value: i64 = whole.trim().parse().map_err(|_| refuse())?;
        total = value.checked_mul(*weight).and_then(|value| total.checked_add(value)).ok_or_else(refuse)?;
    }
    let total = if negative { -total } else { total };
    Ok(Some(Interval {
        value: Box::new(Expr::value(Value::SingleQuotedString(total.to_string()))),
        leading_field: Some(unit),
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }))
}

/// `(a, b) IN (query)` as an EXISTS over the query's columns. Of the negation nulls would have to be told apart.
pub fn tuple_in(parts: &[Expr], query: Query, negated: bool) -> Result<Expr> {
    if negated {
        return Err(Error::Unsupported("(…, …) NOT IN (SELECT …) is not supported; use NOT EXISTS".into()));
    }
    let alias = Ident::with_quote('"', "$in");
    let names: Vec<Ident> = (0..parts.len()).map(|idx| Ident::with_quote('"', format!("$in{idx}"))).collect();
    let test = parts.iter().zip(&names).map(|(part, name)| Expr::BinaryOp {
        left: Box::new(part.clone()),
        op: BinaryOperator::Eq,
        right: Box::new(Expr::CompoundIdentifier(vec![alias.clone(), name.clone()])),
    });
    let test = test.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    });
    let columns = names.iter().map(|name| TableAliasColumnDef { name: name.clone(), data_type: None }).collect();
    let from = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(TableAlias { explicit: true, name: alias, columns, at: None }),
        sample: None,
    };
    let select = Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![SelectItem::UnnamedExpr(Expr::value(Value::Number("1".into(), false)))],
        exclude: None,
        into: None,
        from: vec![TableWithJoins { relation: from, joins: Vec::new() }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: test,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    let query = Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    };
    Ok(Expr::Exists { subquery: Box::new(query), negated: false })
}

/// `t.*` of a table that stands in FROM as `schema.t`, by that name.
pub fn wildcards(select: &mut Select) {
    let mut tables: Vec<&ObjectName> = Vec::new();
    for from in &select.from {
        let factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
        tables.extend(factors.filter_map(|factor| match factor {
            TableFactor::Table { name, alias: None, .. } if name.0.len() > 1 => Some(name),
            _ => None,
        }));
    }
    for item in &mut select.projection {
        let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item else {
            continue;
        };
        if let [only] = name.0.as_slice()
            && let Some(table) = tables.iter().find(|table| table.0.last() == Some(only))
        {
            *name = (*table).clone();
        }
    }
}
