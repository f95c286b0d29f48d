//! The pass over the syntax tree that turns Druid's SQL into SQL that DataFusion plans.
//!
//! 1. `?` become literals of the types that the request gave them.
//! 2. Time is settled here, while the zone is at hand: `TIMESTAMP '…'`, `FLOOR(t TO unit)`, `EXTRACT`, `DATE_TRUNC`,
//!    `TIMESTAMPADD`, `CURRENT_TIMESTAMP` become `time_*` calls with explicit zones, or literals.
//! 3. Names that differ (`MOD`, `NVL`, `LISTAGG`, …) and clauses that DataFusion lacks (`FETCH NEXT`) are put in its words.
//! 4. Every output gets the name Druid gives it: `EXPR$n`, and `a0` for the second `a`.

use std::collections::{HashMap, HashSet};
use std::ops::{ControlFlow, RangeInclusive};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, DuplicateTreatment, ExactNumberInfo, Expr, Fetch,
    Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, LimitClause,
    ObjectName, ObjectNamePart, Query, Select, SelectItem, TableFactor, TimezoneInfo, UnaryOperator, Value,
    ValueWithSpan, VisitMut, VisitorMut, visit_expressions, visit_relations,
};
use segment::time::Zone;

use crate::convert::values_of;
use crate::error::{Error, Result};
use crate::idioms;
use crate::parse::Parsed;
use crate::windows;

/// A value for a `?`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// A SQL type name: `VARCHAR`, `BIGINT`, `TIMESTAMP`, …
    pub sql_type: String,
    pub value: serde_json::Value,
}

impl Parameter {
    /// Some value of a type, to plan a statement with before there is a real one.
    pub fn sample(sql_type: &str) -> Parameter {
        let value = match sql_type {
            "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "TIMESTAMP" | "DATE" => serde_json::json!(1),
            "FLOAT" | "REAL" | "DOUBLE" | "DECIMAL" => serde_json::json!(1.0),
            "BOOLEAN" => serde_json::json!(true),
            "VARCHAR" | "CHAR" => serde_json::json!("1"),
            _ => serde_json::Value::Null,
        };
        Parameter { sql_type: sql_type.to_string(), value }
    }
}

/// What the tree is rewritten for.
pub struct Moment<'a> {
    /// Milliseconds since 1970 that `CURRENT_TIMESTAMP` stands for.
    pub now: i64,
    /// Where clocks are that texts without an offset are read from.
    pub zone: &'a Zone,
    /// `None` leaves the `?` as they are, to ask for their types.
    pub parameters: Option<&'a [Parameter]>,
    /// Numbers that a list may have (`maxNumericInFilters`).
    pub listed_max: Option<usize>,
}

/// Rewrites the tree in place. Tells whether the result depends on the moment it is run (`CURRENT_TIMESTAMP`), so that
/// its plan must not be kept.
pub fn rewrite(parsed: &mut Parsed, moment: &Moment<'_>) -> Result<bool> {
    if let Some(parameters) = moment.parameters
        && parsed.placeholders != parameters.len()
    {
        return Err(Error::invalid(format!(
            "statement has {} parameter marks (?) and parameters has {} entries; give one for each",
            parsed.placeholders,
            parameters.len()
        )));
    }
    let mut rewriter = Rewriter { moment, momentary: false, windows: Vec::new(), copied: 0 };
    match parsed.query.visit(&mut rewriter) {
        ControlFlow::Continue(()) => Ok(rewriter.momentary),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter<'a> {
    moment: &'a Moment<'a>,
    momentary: bool,
    /// The windows that the SELECTs around the expression at hand name, the innermost last.
    windows: Vec<windows::Named>,
    /// Parts of expressions that stand twice because of what they are rewritten to.
    copied: usize,
}

/// Copies that a statement may lead to. Copies of copies double with every level of nesting.
const COPIED_MAX: usize = 100_000;

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        // The planner forgets the tables around the elements of an array; those of a call it remembers.
        if let Expr::Array(array) = expr
            && !array.elem.is_empty()
        {
            let mut elements = std::mem::take(&mut array.elem);
            // Truths are numbers in an array.
            for element in &mut elements {
                if let Expr::Value(ValueWithSpan { value: Value::Boolean(flag), .. }) = element {
                    *element = number(i64::from(*flag));
                }
            }
            *expr = call("make_array", elements);
        }
        if let Expr::InSubquery { expr: what, subquery, negated } = expr
            && let Expr::Tuple(parts) = what.as_ref()
        {
            match idioms::tuple_in(parts, (**subquery).clone(), *negated) {
                Ok(exists) => *expr = exists,
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match idioms::table(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let Err(error) = check_withs(query) {
            return ControlFlow::Break(error);
        }
        if let Some(Fetch { with_ties, percent, quantity }) = query.fetch.take() {
            if with_ties || percent {
                return ControlFlow::Break(Error::Unsupported("FETCH takes a number of rows and ONLY".into()));
            }
            let limit = quantity.unwrap_or_else(|| number(1));
            let offset = match query.limit_clause.take() {
                Some(LimitClause::LimitOffset { offset, .. }) => offset,
                _ => None,
            };
            query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(limit), offset, limit_by: Vec::new() });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        idioms::wildcards(select);
        match windows::named(select) {
            Ok(named) => self.windows.push(named),
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        self.windows.pop();
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            keys.retain(|key| !matches!(key, Expr::Tuple(parts) if parts.is_empty()));
        }
        name_outputs(&mut select.projection);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match self.expr(expr) {
            Ok(Some(new)) => *expr = new,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

/// Tables that a WITH may stand for. One that is used twice is planned twice, and so is all it uses.
const WITHS_MAX: f64 = 2_000.0;

fn check_withs(query: &Query) -> Result<()> {
    let mut sizes: HashMap<&str, f64> = HashMap::new();
    for with in query.with.iter().flat_map(|with| &with.cte_tables) {
        let mut size = 1.0;
        let _ = visit_relations(&with.query, |name| {
            let name = name.0.last().and_then(|part| part.as_ident()).map_or("", |ident| ident.value.as_str());
            size += sizes.get(name).copied().unwrap_or(1.0);
            ControlFlow::<()>::Continue(())
        });
        let name = with.alias.name.value.as_str();
        if size > WITHS_MAX {
            return Err(Error::invalid(format!(
                "WITH {name} stands for {size:.0} tables once those it uses are written out, more than {WITHS_MAX}; \
                 use the inner ones less often"
            )));
        }
        sizes.insert(name, size);
    }
    Ok(())
}

/// `EXPR$n` for expressions without a name; a number after names that come again.
fn name_outputs(items: &mut [SelectItem]) {
    let mut taken: HashSet<String> = HashSet::new();
    for (position, item) in items.iter_mut().enumerate() {
        let name = match &*item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident.value.clone(),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                parts.last().map(|part| part.value.clone()).unwrap_or_default()
            }
            SelectItem::UnnamedExpr(_) => format!("EXPR${position}"),
            SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
            _ => continue,
        };
        let mut unique = name.clone();
        let mut nth = 0;
        while !taken.insert(unique.clone()) {
            unique = format!("{name}{nth}");
            nth += 1;
        }
        let plain = matches!(item, SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)));
        if plain && unique == name {
            continue;
        }
        let alias = Ident::with_quote('"', unique);
        match item {
            SelectItem::UnnamedExpr(expr) => {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
            SelectItem::ExprWithAlias { alias: old, .. } => *old = alias,
            _ => {}
        }
    }
}

impl Rewriter<'_> {
    /// The expression to put in place of one whose parts have been rewritten already.
    fn expr(&mut self, expr: &mut Expr) -> Result<Option<Expr>> {
        Ok(match expr {
            Expr::Value(ValueWithSpan { value: Value::Placeholder(mark), .. }) => {
                let Some(parameters) = self.moment.parameters else { return Ok(None) };
                let nth: usize = mark.trim_start_matches('$').parse().unwrap_or(0);
                let parameter = nth.checked_sub(1).and_then(|idx| parameters.get(idx));
                let parameter = parameter.ok_or_else(|| Error::invalid(format!("unknown parameter mark {mark}")))?;
                Some(self.parameter(parameter, nth)?)
            }
            Expr::Value(ValueWithSpan { value: Value::UnicodeStringLiteral(text), .. }) => Some(text_literal(text)),
            Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("pi") => {
                let pi = Expr::value(Value::Number(std::f64::consts::PI.to_string(), false));
                Some(cast(pi, DataType::Double(ExactNumberInfo::None)))
            }
            Expr::Interval(interval) => idioms::interval(interval)?.map(Expr::Interval),
            // Else one aggregate is planned as two, whose names are the same once this is folded.
            Expr::Cast {
                expr: inner,
                data_type: DataType::Integer(_) | DataType::BigInt(_) | DataType::Int(_),
                ..
            } if matches!(inner.as_ref(), Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. })
                    if text.parse::<i64>().is_ok()) =>
            {
                Some(take(inner))
            }
            Expr::TypedString(typed) => {
                let text = typed.value.clone().into_string().unwrap_or_default();
                match &typed.data_type {
                    DataType::Timestamp(..) | DataType::Datetime(_) => Some(self.instant(&text, "TIMESTAMP")?),
                    DataType::Date => Some(self.instant(&text, "DATE")?),
                    _ => None,
                }
            }
            // What pydruid calls a BIGINT.
            Expr::Cast { data_type: data_type @ DataType::Custom(..), .. }
                if data_type.to_string().eq_ignore_ascii_case("LONG") =>
            {
                *data_type = DataType::BigInt(None);
                None
            }
            Expr::Cast { kind, expr: inner, data_type, format: None, .. } => match data_type {
                DataType::Timestamp(..) | DataType::Datetime(_) => match literal_text(inner) {
                    Some(text) if *kind != CastKind::TryCast => Some(self.instant(&text, "TIMESTAMP")?),
                    _ => None,
                },
                DataType::Date => Some(match literal_text(inner) {
                    Some(text) => self.instant(&text, "DATE")?,
                    None => self.floor(as_timestamp(take(inner)), "P1D"),
                }),
                _ => None,
            },
            Expr::Floor { expr: inner, field: CeilFloorKind::DateTimeField(field) } => match field {
                DateTimeField::NoDateTime => None,
                field => {
                    let period = period_of(&field.to_string())?;
                    Some(self.floor(take(inner), period))
                }
            },
            Expr::Ceil { expr: inner, field: CeilFloorKind::DateTimeField(field) } => match field {
                DateTimeField::NoDateTime => None,
                field => {
                    let period = period_of(&field.to_string())?;
                    let mut args = vec![take(inner), text_literal(period)];
                    self.add_zone(&mut args, 3);
                    Some(call("time_ceil", args))
                }
            },
            Expr::Extract { field, expr: inner, .. } => {
                let mut args = vec![take(inner), text_literal(&field.to_string().to_ascii_uppercase())];
                self.add_zone(&mut args, 2);
                Some(call("time_extract", args))
            }
            Expr::BinaryOp { op: BinaryOperator::Spaceship, left, right } => {
                Some(Expr::IsNotDistinctFrom(Box::new(take(left)), Box::new(take(right))))
            }
            Expr::BinaryOp { op: BinaryOperator::PGRegexNotMatch, left, right } => {
                Some(Expr::IsDistinctFrom(Box::new(take(left)), Box::new(take(right))))
            }
            Expr::BinaryOp { op: BinaryOperator::StringConcat, left, right } => {
                Some(call("concat", vec![take(left), take(right)]))
            }
            Expr::Like { expr: inner, .. } | Expr::ILike { expr: inner, .. }
                if !matches!(inner.as_ref(), Expr::Value(_)) =>
            {
                **inner = cast(take(inner), DataType::Varchar(None));
                None
            }
            Expr::InList { list, .. } if self.moment.listed_max.is_some_and(|max| numbers(list) > max) => {
                return Err(Error::invalid(format!(
                    "Filters for column [IN] exceeds configured filter limit of [{}] for numeric values. Cast [{}] \
                     values of IN clause to String",
                    self.moment.listed_max.unwrap_or_default(),
                    list.len()
                )));
            }
            // A list of texts and numbers is one of texts.
            Expr::InList { list, .. } if list.iter().any(|item| literal_text(item).is_some()) && numbers(list) > 0 => {
                for item in list {
                    if let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) = item {
                        *item = text_literal(digits);
                    }
                }
                None
            }
            // A column listed with truths is one of texts or numbers; a text column holds them as words.
            Expr::InList { expr: inner, list, .. }
                if matches!(inner.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_)) =>
            {
                for item in list {
                    if let Expr::Value(ValueWithSpan { value: Value::Boolean(flag), .. }) = item {
                        *item = text_literal(&flag.to_string());
                    }
                }
                None
            }
            Expr::Position { expr: what, r#in } => Some(call("strpos", vec![take(r#in), take(what)])),
            Expr::Substring { expr: text, substring_from, substring_for, .. } => {
                let mut args = vec![take(text), substring_from.as_mut().map_or_else(|| number(1), take)];
                args.extend(substring_for.as_mut().map(take));
                Some(call("substring", args))
            }
            Expr::Between { expr: inner, negated, low, high } => {
                let value = take(inner);
                self.copy(&value)?;
                let both = binary(
                    binary(value.clone(), BinaryOperator::GtEq, take(low)),
                    BinaryOperator::And,
                    binary(value, BinaryOperator::LtEq, take(high)),
                );
                Some(match negated {
                    true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(both))) },
                    false => Expr::Nested(Box::new(both)),
                })
            }
            Expr::Function(function) => self.function(function)?,
            _ => None,
        })
    }

    fn function(&mut self, function: &mut Function) -> Result<Option<Expr>> {
        let mut name = match function.name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => ident.value.to_ascii_lowercase(),
            _ => return Ok(None),
        };
        if let Some(Spelling { theirs, ours, arguments }) = SPELLINGS.iter().find(|known| known.theirs == name) {
            if let FunctionArguments::List(FunctionArgumentList { args, .. }) = &mut function.args {
                // Said here: what is planned has another name.
                if !arguments.contains(&args.len()) {
                    return Err(Error::invalid(format!(
                        "function {} takes {} arguments, {} given",
                        theirs.to_ascii_uppercase(),
                        count_of(arguments),
                        args.len()
                    )));
                }
                if *theirs == "group_concat" && args.len() == 1 {
                    args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(text_literal(","))));
                }
            }
            rename(&mut function.name, ours);
            name = ours.to_string();
        }
        if let Some(over) = &mut function.over {
            let none = windows::Named::new();
            windows::of_function(&name, over, self.windows.last().unwrap_or(&none))?;
        }
        if matches!(name.as_str(), "current_timestamp" | "localtimestamp" | "now") {
            self.momentary = true;
            if let FunctionArguments::List(FunctionArgumentList { args, .. }) = &function.args
                && let Some([FunctionArg::Unnamed(FunctionArgExpr::Expr(digits))]) = args.get(..1)
                && !digits.to_string().parse::<u8>().is_ok_and(|digits| digits <= 3)
            {
                let name = name.to_ascii_uppercase();
                return Err(Error::invalid(format!(
                    "Argument to function '{name}' must be a valid precision between '0' and '3'"
                )));
            }
            return Ok(Some(instant_literal(self.moment.now)));
        }
        if name == "current_date" {
            self.momentary = true;
            return Ok(Some(self.floor(instant_literal(self.moment.now), "P1D")));
        }
        let FunctionArguments::List(FunctionArgumentList { args: list, duplicate_treatment, clauses }) =
            &mut function.args
        else {
            return Ok(None);
        };
        // Aggregates: names and the size arguments that only bound Druid's buffers.
        let joined = ["listagg", "string_agg"].contains(&name.as_str());
        let keep = match name.as_str() {
            "array_agg" | "array_concat_agg" => Some(1),
            "string_agg" => Some(2),
            "listagg" => {
                rename(&mut function.name, "string_agg");
                if list.len() == 1 {
                    list.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(text_literal(""))));
                }
                Some(2)
            }
            "variance" => {
                rename(&mut function.name, "var_samp");
                None
            }
            _ => None,
        };
        if let Some(keep) = keep {
            if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(size))) = list.get(keep)
                && literal_text(size).is_some()
            {
                return Err(Error::invalid(format!(
                    "{}: parameter `maxBytes` must be a numeric literal",
                    name.to_ascii_uppercase()
                )));
            }
            list.truncate(keep);
            // Distinct values come in their order, which the other aggregate has of its own.
            if name == "array_agg"
                && *duplicate_treatment == Some(DuplicateTreatment::Distinct)
                && function.over.is_none()
                && clauses.is_empty()
                && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = list.first_mut()
            {
                *value = call("make_array", vec![std::mem::replace(value, null())]);
                rename(&mut function.name, "array_concat_agg");
            }
            if joined && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.first_mut() {
                *first = call("text_of", vec![std::mem::replace(first, null())]);
            }
            // DataFusion gives it a type of its own; here it is a VARCHAR like any other.
            let whole = || match cast(Expr::Function(function.clone()), DataType::Varchar(None)) {
                Expr::Cast { expr, data_type, array, format, .. } => {
                    Expr::Cast { kind: CastKind::TryCast, expr, data_type, array, format }
                }
                other => other,
            };
            return Ok(joined.then(whole));
        }
        // What is summed out of a document is a number; bits are those of one.
        if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.first_mut() {
            match (name.as_str(), &mut *first) {
                ("sum" | "avg", Expr::Function(inner)) if inner.name.to_string().eq_ignore_ascii_case("json_value") => {
                    rename(&mut inner.name, "json_value_double");
                }
                ("bit_and" | "bit_or" | "bit_xor", first) => {
                    *first = cast(std::mem::replace(first, null()), DataType::BigInt(None));
                }
                _ => {}
            }
        }
        if *duplicate_treatment == Some(DuplicateTreatment::Distinct) || function.over.is_some() {
            return Ok(None);
        }
        let Some(mut args) = plain_args(list) else { return Ok(None) };
        let exact = |count: usize, signature: &str| match args.len() == count {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "function {} takes {count} arguments, {} given; write {signature}",
                name.to_ascii_uppercase(),
                args.len()
            ))),
        };
        Ok(match name.as_str() {
            "time_floor" | "time_ceil" => {
                self.add_zone(&mut args, 3);
                Some(call(&name, args))
            }
            "time_shift" => {
                self.add_zone(&mut args, 3);
                Some(call(&name, args))
            }
            "time_extract" | "time_parse" | "time_format" => {
                if name == "time_extract" && args.len() == 1 {
                    args.push(text_literal("EPOCH"));
                }
                self.add_zone(&mut args, 2);
                Some(call(&name, args))
            }
            "date_trunc" => {
                exact(2, "DATE_TRUNC('unit', timestamp)")?;
                let unit = literal_text(&args[0]).ok_or_else(|| {
                    Error::invalid("DATE_TRUNC takes a literal unit such as 'day' as its first argument")
                })?;
                let period = period_of(&unit)?;
                let time = args.swap_remove(1);
                Some(self.floor(time, period))
            }
            "timestampadd" => {
                exact(3, "TIMESTAMPADD(unit, count, timestamp)")?;
                let period = period_of(&unit_name(&args[0])?)?;
                let time = args.pop().unwrap_or_else(null);
                let count = args.pop().unwrap_or_else(null);
                let mut new = vec![time, text_literal(period), count];
                self.add_zone(&mut new, 3);
                Some(call("time_shift", new))
            }
            "timestampdiff" => {
                exact(3, "TIMESTAMPDIFF(unit, from, to)")?;
                let unit = unit_name(&args[0])?;
                period_of(&unit)?;
                args[0] = text_literal(&unit);
                Some(call("timestampdiff", args))
            }
            "time_in_interval" => {
                exact(2, "TIME_IN_INTERVAL(timestamp, 'start/end')")?;
                let text = literal_text(&args[1])
                    .ok_or_else(|| Error::invalid("TIME_IN_INTERVAL takes a literal ISO 8601 interval 'start/end'"))?;
                let interval = segment::Interval::parse(&text).map_err(|error| Error::invalid(error.to_string()))?;
                let time = args.swap_remove(0);
                self.copy(&time)?;
                Some(Expr::Nested(Box::new(binary(
                    binary(time.clone(), BinaryOperator::GtEq, instant_literal(interval.start)),
                    BinaryOperator::And,
                    binary(time, BinaryOperator::Lt, instant_literal(interval.end)),
                ))))
            }
            "millis_to_timestamp" => {
                exact(1, "MILLIS_TO_TIMESTAMP(millis)")?;
                Some(as_timestamp(cast(args.swap_remove(0), DataType::BigInt(None))))
            }
            "timestamp_to_millis" => {
                exact(1, "TIMESTAMP_TO_MILLIS(timestamp)")?;
                Some(cast(as_timestamp(args.swap_remove(0)), DataType::BigInt(None)))
            }
            "mod" => {
                exact(2, "MOD(x, y)")?;
                let right = args.swap_remove(1);
                let left = args.swap_remove(0);
                Some(Expr::Nested(Box::new(binary(
                    Expr::Nested(Box::new(left)),
                    BinaryOperator::Modulo,
                    Expr::Nested(Box::new(right)),
                ))))
            }
            // The time that these go by is a column like any other from here on.
            "earliest" | "latest" => {
                let Some(value) = args.first() else {
                    return Err(Error::invalid(format!("function {} takes an expression", name.to_ascii_uppercase())));
                };
                let time = Ident::with_quote('"', segment::schema::TIME);
                let time = match value {
                    Expr::CompoundIdentifier(parts) => {
                        let mut parts = parts.clone();
                        parts.pop();
                        parts.push(time);
                        Expr::CompoundIdentifier(parts)
                    }
                    _ => Expr::Identifier(time),
                };
                args.insert(1, time);
                let mut new = call(&format!("{name}_by"), args);
                if let Expr::Function(new) = &mut new {
                    new.filter = function.filter.take();
                }
                Some(new)
            }
            "nvl" | "ifnull" => Some(call("coalesce", args)),
            _ => None,
        })
    }

    /// Counts an expression that is about to stand twice.
    fn copy(&mut self, expr: &Expr) -> Result<()> {
        let left = COPIED_MAX.saturating_sub(self.copied);
        let mut parts = 0;
        let counted = visit_expressions(expr, |_| {
            parts += 1;
            if parts > left { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if counted.is_break() {
            return Err(Error::invalid("statement nests too many BETWEENs or intervals in each other; flatten it"));
        }
        self.copied += parts;
        Ok(())
    }

    /// Appends `NULL`s up to the place of the zone argument, and the zone, where the statement gave none.
    fn add_zone(&self, args: &mut Vec<Expr>, place: usize) {
        if self.moment.zone.is_utc() || args.len() > place {
            return;
        }
        args.resize(place, null());
        args.push(text_literal(self.moment.zone.name()));
    }

    fn floor(&self, time: Expr, period: &str) -> Expr {
        let mut args = vec![time, text_literal(period)];
        self.add_zone(&mut args, 3);
        call("time_floor", args)
    }

    /// A literal instant, read in the zone of the statement.
    fn instant(&self, text: &str, what: &str) -> Result<Expr> {
        let t = instant_of(text, self.moment.zone).ok_or_else(|| {
            let form = if what == "DATE" { "yyyy-MM-dd" } else { "yyyy-MM-dd HH:mm:ss" };
            Error::invalid(format!("illegal {what} literal '{text}': not in format '{form}'"))
        })?;
        Ok(instant_literal(t))
    }

    fn parameter(&self, parameter: &Parameter, nth: usize) -> Result<Expr> {
        use serde_json::Value as Json;
        let refuse = || {
            Error::invalid(format!(
                "parameter {nth} of type [{}] cannot take the value given; give one of that type",
                parameter.sql_type
            ))
        };
        if parameter.value.is_null() {
            return Ok(null());
        }
        let long = || match &parameter.value {
            Json::Number(number) => number.as_i64(),
            Json::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        Ok(match parameter.sql_type.to_ascii_uppercase().as_str() {
            "VARCHAR" | "CHAR" => match &parameter.value {
                Json::String(text) if values_of(text).is_some() => {
                    return Err(Error::invalid(format!(
                        "parameter {nth} begins with U+001E and goes on as a list, which stands for several values here; \
                         leave the U+001E out"
                    )));
                }
                Json::String(text) => text_literal(text),
                Json::Number(number) => text_literal(&number.to_string()),
                Json::Bool(flag) => text_literal(&flag.to_string()),
                _ => return Err(refuse()),
            },
            "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" => number(long().ok_or_else(refuse)?),
            "FLOAT" | "REAL" | "DOUBLE" | "DECIMAL" => {
                let double = match &parameter.value {
                    Json::Number(number) => number.as_f64(),
                    Json::String(text) => text.trim().parse().ok(),
                    _ => None,
                };
                let double: f64 = double.filter(|double| double.is_finite()).ok_or_else(refuse)?;
                cast(Expr::value(Value::Number(format!("{double:?}"), false)), DataType::Double(ExactNumberInfo::None))
            }
            "BOOLEAN" => match &parameter.value {
                Json::Bool(flag) => Expr::value(Value::Boolean(*flag)),
                Json::String(text) if text.eq_ignore_ascii_case("true") => Expr::value(Value::Boolean(true)),
                Json::String(text) if text.eq_ignore_ascii_case("false") => Expr::value(Value::Boolean(false)),
                _ => return Err(refuse()),
            },
            "TIMESTAMP" | "DATE" => match &parameter.value {
                Json::Number(number) => instant_literal(number.as_i64().ok_or_else(refuse)?),
                Json::String(text) => self.instant(text, "TIMESTAMP")?,
                _ => return Err(refuse()),
            },
            other => {
                return Err(Error::invalid(format!(
                    "parameter {nth} has type [{other}]; use VARCHAR, BIGINT, INTEGER, DOUBLE, FLOAT, BOOLEAN, TIMESTAMP or DATE"
                )));
            }
        })
    }
}

/// `yyyy-MM-dd[ HH:mm:ss[.SSS]]` or ISO 8601; without an offset it is read in the zone.
pub fn instant_of(text: &str, zone: &Zone) -> Option<i64> {
    let text = text.trim();
    if !text.starts_with(|ch: char| ch.is_ascii_digit()) {
        return None;
    }
    // A year of four digits is one; other numbers alone are none.
    if !text.contains('-') && text.len() != 4 {
        return None;
    }
    segment::time::parse_timestamp_in(text, zone)
}

/// The ISO period of a time unit, in the names of `FLOOR(… TO …)` and `DATE_TRUNC`.
fn period_of(unit: &str) -> Result<&'static str> {
    Ok(match unit.to_ascii_lowercase().trim_end_matches('s') {
        "millisecond" => "PT0.001S",
        "second" => "PT1S",
        "minute" => "PT1M",
        "hour" => "PT1H",
        "day" => "P1D",
        "week" => "P1W",
        "month" => "P1M",
        "quarter" => "P3M",
        "year" => "P1Y",
        "decade" => "P10Y",
        "century" | "centurie" => "P100Y",
        "millennium" | "millenium" => "P1000Y",
        _ => {
            return Err(Error::invalid(format!(
                "[{unit}] is not a time unit; use SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER or YEAR"
            )));
        }
    })
}

/// The unit that is the first argument of `TIMESTAMPADD`: a word, which parses as a column, or a string.
fn unit_name(expr: &Expr) -> Result<String> {
    let name = match expr {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        other => literal_text(other),
    };
    let name = name.ok_or_else(|| Error::invalid("the first argument is a time unit such as DAY"))?;
    let upper = name.to_ascii_uppercase();
    Ok(upper.strip_prefix("SQL_TSI_").unwrap_or(&upper).to_string())
}

fn plain_args(list: &[FunctionArg]) -> Option<Vec<Expr>> {
    list.iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

fn numbers(list: &[Expr]) -> usize {
    let is_number = |item: &&Expr| matches!(item, Expr::Value(ValueWithSpan { value: Value::Number(..), .. }));
    list.iter().filter(is_number).count()
}

fn take(expr: &mut Box<Expr>) -> Expr {
    std::mem::replace(expr.as_mut(), null())
}

fn null() -> Expr {
    Expr::value(Value::Null)
}

fn number(value: i64) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

fn text_literal(text: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(text.to_string()))
}

fn literal_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text.clone()),
        _ => None,
    }
}

fn instant_literal(t: i64) -> Expr {
    as_timestamp(number(t))
}

fn as_timestamp(expr: Expr) -> Expr {
    cast(expr, DataType::Timestamp(None, TimezoneInfo::None))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// What Superset makes of functions that its users name as Druid does: it reads and writes their SQL anew.
const SPELLINGS: [Spelling; 4] = [
    Spelling { theirs: "approx_distinct", ours: "approx_count_distinct", arguments: 1..=1 },
    Spelling { theirs: "group_concat", ours: "string_agg", arguments: 1..=3 },
    Spelling { theirs: "str_position", ours: "strpos", arguments: 2..=2 },
    Spelling { theirs: "variance_pop", ours: "var_pop", arguments: 1..=1 },
];

struct Spelling {
    theirs: &'static str,
    ours: &'static str,
    arguments: RangeInclusive<usize>,
}

fn count_of(arguments: &RangeInclusive<usize>) -> String {
    match (arguments.start(), arguments.end()) {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    }
}

fn rename(name: &mut ObjectName, to: &str) {
    *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(to))]);
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
