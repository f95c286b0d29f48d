//! Syntax tree to plan: names and types as Druid has them, DataFusion's rules, then the leaves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue, SchemaError, TableReference};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, Cast, Expr, ExprSchemable, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, Operator,
    ScalarUDF, TableSource, TryCast, WindowUDF, lit,
};
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{NullOrdering, ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::{BinaryOperator, DataType as SqlType, Query, Statement as Tree};
use segment::lookup::Lookups;
use segment::time::Zone;

use crate::checks;
use crate::convert::{DOCUMENT, TIMESTAMP};
use crate::error::{Error, Result};
use crate::expansion;
use crate::functions;
use crate::place;
use crate::rewrite::instant_of;
use crate::routines;
use crate::semi;
use crate::sketches;
use crate::unnest;

/// Everything a plan is made with except tables: built once a zone.
pub struct Planner {
    pub state: SessionState,
    planners: Vec<Arc<dyn ExprPlanner>>,
    /// The same, which convert no text and no number for an operator.
    plain: Vec<Arc<dyn ExprPlanner>>,
    types: Arc<dyn TypePlanner>,
    push_down: bool,
}

/// What the planner asks for tables.
pub trait Tables {
    /// Errors say that the caller sees no such table.
    fn table(&self, name: &TableReference) -> DfResult<Arc<dyn TableSource>>;

    /// Whether the caller may read the lookup of that name.
    fn may_lookup(&self, name: &str) -> bool;
}

/// Nothing in DataFusion parallelises what is left above the leaves: the leaves use all threads already, and one
/// partition keeps their order.
const PARTITIONS: usize = 1;

impl Planner {
    pub fn new(zone: &Zone, push_down: bool, lookups: &Arc<Lookups>) -> Planner {
        let mut config = SessionConfig::new().with_target_partitions(PARTITIONS).with_information_schema(false);
        let options = config.options_mut();
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.execution.collect_statistics = false;
        // Its two planners disagree on whether some CASE can be null; nothing here relies on that.
        options.execution.skip_physical_aggregate_schema_check = true;
        let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Optimizer::new()
            .rules
            .into_iter()
            // It would hide a distinct count that the engine has, behind two aggregates.
            .filter(|rule| rule.name() != "single_distinct_aggregation_to_group_by")
            .collect();
        let functions = functions::all(lookups);
        let mut analyzer = Analyzer::new().rules;
        if let (Some(format), Some(long)) = (functions.get("time_format"), functions.get("long_of")) {
            analyzer.push(Arc::new(Casts { format: format.clone(), long: long.clone() }));
        }
        let mut builder = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_optimizer_rules(rules)
            .with_analyzer_rules(analyzer);
        let planners = |builder: &mut SessionStateBuilder, converts: bool| {
            let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(Operators {
                zone: zone.clone(),
                converts,
                json_long: functions.get("json_value_long").cloned(),
                json_double: functions.get("json_value_double").cloned(),
            })];
            planners.extend(builder.expr_planners().iter().flatten().cloned());
            planners
        };
        let (planners, plain) = (planners(&mut builder, true), planners(&mut builder, false));
        let aggregate: Vec<Arc<AggregateUDF>> = crate::aggregates::all().into_values().collect();
        builder.scalar_functions().get_or_insert_default().extend(functions.into_values());
        builder.aggregate_functions().get_or_insert_default().extend(aggregate);
        Planner { state: builder.build(), planners, plain, types: Arc::new(Types), push_down }
    }

    /// The optimised plan with its leaves.
    pub fn plan(&self, query: Box<Query>, tables: &dyn Tables, outer: Outer) -> Result<LogicalPlan> {
        let plan = self.read(query, tables, &self.planners)?;
        expansion::check(&plan)?;
        checks::check(&plan).map_err(invalid)?;
        checks::lookups(&plan, &|name| tables.may_lookup(name)).map_err(invalid)?;
        let plan = unnest::flatten(plan).map_err(invalid)?;
        let plan = semi::each_once(plan).map_err(invalid)?;
        let plan = self.sketches_finished(plan, outer.finish_sketches).map_err(invalid)?;
        let plan = match outer.limit {
            Some(rows) => {
                LogicalPlanBuilder::from(plan).limit(0, Some(rows)).and_then(|b| b.build()).map_err(invalid)?
            }
            None => plan,
        };
        let plan = self.state.optimize(&plan).map_err(invalid)?;
        place::place(plan, self.push_down).map_err(invalid)
    }

    /// The plan as the statement says it, in which nothing is converted for it.
    pub fn written(&self, query: Box<Query>, tables: &dyn Tables) -> Result<LogicalPlan> {
        self.read(query, tables, &self.plain)
    }

    fn read(&self, query: Box<Query>, tables: &dyn Tables, planners: &[Arc<dyn ExprPlanner>]) -> Result<LogicalPlan> {
        let context = Names { planner: self, tables, planners };
        let options = ParserOptions::new()
            .with_enable_ident_normalization(false)
            .with_map_string_types_to_utf8view(false)
            .with_default_null_ordering(NullOrdering::NullsMin);
        SqlToRel::new_with_options(&context, options).sql_statement_to_plan(Tree::Query(query)).map_err(invalid)
    }

    /// The types that the places of the placeholders ask for, by their number from 1; one may ask for none.
    pub fn placeholders(&self, query: Box<Query>, tables: &dyn Tables) -> Result<HashMap<usize, DataType>> {
        let types = self.read(query, tables, &self.planners)?.get_parameter_types().map_err(invalid)?;
        let numbered = |(name, data_type): (String, Option<DataType>)| {
            Some((name.trim_start_matches('$').parse().ok()?, data_type?))
        };
        Ok(types.into_iter().filter_map(numbered).collect())
    }
}

impl Planner {
    /// Sketches that a statement answers as what they say, where that is asked for or their way.
    fn sketches_finished(&self, plan: LogicalPlan, asked: bool) -> DfResult<LogicalPlan> {
        let schema = plan.schema().clone();
        let finishes = |field: &Field| match field.metadata().get(sketches::FINISHES) {
            Some(when) => *field.data_type() == DataType::Binary && (asked || when == "always"),
            None => false,
        };
        let Some(finish) = self.state.scalar_functions().get("sketch_finalize") else { return Ok(plan) };
        if !schema.fields().iter().any(|field| finishes(field)) {
            return Ok(plan);
        }
        let outputs = schema.iter().map(|(relation, field)| {
            let column = Expr::from((relation, field));
            if finishes(field) { finish.call(vec![column]).alias(field.name()) } else { column }
        });
        LogicalPlanBuilder::from(plan).project(outputs.collect::<Vec<_>>())?.build()
    }
}

/// What is done to a statement's answer as a whole.
pub struct Outer {
    pub limit: Option<usize>,
    pub finish_sketches: bool,
}

/// What planning refuses is the statement's fault, in DataFusion's words without their wrapping.
pub fn invalid(error: DataFusionError) -> Error {
    match error {
        DataFusionError::NotImplemented(text) => Error::Unsupported(format!("not supported: {text}")),
        DataFusionError::Plan(text) => {
            Error::Invalid(unknown_function(&text).or_else(|| not_of_numbers(&text)).unwrap_or(text))
        }
        DataFusionError::SchemaError(error, _) => match *error {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let known = valid_fields.iter().map(|column| column.name.as_str());
                let near = segment::spelling::nearest(&field.name, known);
                let hint = near.map_or(String::new(), |near| format!(", did you mean '{near}'"));
                Error::Invalid(format!("Column '{}' not found in any table{hint}", field.name))
            }
            other => Error::Invalid(other.to_string()),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => invalid(*inner),
        DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => invalid(inner),
            Err(inner) => Error::Invalid(inner.to_string()),
        },
        DataFusionError::Collection(mut errors) if !errors.is_empty() => invalid(errors.swap_remove(0)),
        DataFusionError::Internal(text) => {
            if let Some(text) = not_of_numbers(&text) {
                return Error::Invalid(text);
            }
            Error::Unsupported(format!("statement cannot be planned: {}", first_line(&text)))
        }
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => Error::Invalid(inner.to_string()),
        },
        other => Error::Invalid(other.strip_backtrace()),
    }
}

/// The refusal of a function that there is not. DataFusion's tells of the nearest of its own, whether or not it may be called.
fn unknown_function(text: &str) -> Option<String> {
    let name = text.strip_prefix("Invalid function '")?.split('\'').next()?;
    let known: Vec<String> = routines::all().map(|routine| routine.name).collect();
    let near = segment::spelling::nearest(name, known.iter().map(String::as_str));
    let hint = near.map_or(String::new(), |near| format!(", did you mean '{near}'"));
    Some(format!("No function is named '{name}'{hint}"))
}

/// The refusal of an aggregate of numbers that is given something else, which DataFusion tells of as of a fault of its own.
fn not_of_numbers(text: &str) -> Option<String> {
    let (before, reasons) = text.split_once("' failed to match any signature")?;
    let name = before.rsplit('\'').next()?.to_ascii_uppercase();
    let given = match reasons.split_once("but received ")?.1.split_whitespace().next()? {
        "String" => "VARCHAR",
        other => other,
    };
    Some(format!(
        "Cannot apply '{name}' to arguments of type '{name}(<{}>)'. Supported form(s): '{name}(<NUMERIC>)'; write \
         {name}(CAST(… AS DOUBLE)) to read it as a number",
        given.to_ascii_uppercase()
    ))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

struct Names<'a> {
    planner: &'a Planner,
    tables: &'a dyn Tables,
    planners: &'a [Arc<dyn ExprPlanner>],
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        self.tables.table(&name)
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(self.planner.types.clone())
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.planner.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.planner.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.planner.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.planner.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.planner.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.planner.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.planner.state.window_functions().keys().cloned().collect()
    }
}

/// Druid's types: one integer, one instant, decimals are doubles.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &SqlType) -> DfResult<Option<FieldRef>> {
        let data_type = match sql_type {
            SqlType::Timestamp(..) | SqlType::Datetime(_) | SqlType::Date => TIMESTAMP,
            SqlType::TinyInt(_) | SqlType::SmallInt(_) | SqlType::Int(_) | SqlType::Integer(_) | SqlType::BigInt(_) => {
                DataType::Int64
            }
            SqlType::Real
            | SqlType::Double(_)
            | SqlType::DoublePrecision
            | SqlType::Decimal(_)
            | SqlType::Numeric(_) => DataType::Float64,
            SqlType::Float(_) => DataType::Float32,
            SqlType::Varchar(_)
            | SqlType::Char(_)
            | SqlType::Character(_)
            | SqlType::CharacterVarying(_)
            | SqlType::CharVarying(_)
            | SqlType::String(_)
            | SqlType::Text => DataType::Utf8,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

/// Operators whose meaning depends on Druid's rules: text compared with an instant is one, division by zero is null.
#[derive(Debug)]
struct Operators {
    zone: Zone,
    /// Whether a text that meets a number is made one, or the number a text.
    converts: bool,
    json_long: Option<Arc<ScalarUDF>>,
    json_double: Option<Arc<ScalarUDF>>,
}

impl Operators {
    /// A value out of a document, with the type that it is compared with; others as they are.
    fn typed(&self, value: Expr, other: &Expr, schema: &DFSchema) -> Expr {
        let function = match other.get_type(schema) {
            Ok(DataType::Int64 | DataType::Boolean) => &self.json_long,
            Ok(DataType::Float64 | DataType::Float32) => &self.json_double,
            _ => return value,
        };
        match (value, function) {
            (Expr::ScalarFunction(call), Some(function)) if call.name() == "json_value" => function.call(call.args),
            (value, _) => value,
        }
    }
}

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> DfResult<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = raw;
        let (left, right) = (self.typed(left.clone(), &right, schema), self.typed(right, &left, schema));
        let comparison = match op {
            BinaryOperator::Eq => Some(Operator::Eq),
            BinaryOperator::NotEq => Some(Operator::NotEq),
            BinaryOperator::Lt => Some(Operator::Lt),
            BinaryOperator::LtEq => Some(Operator::LtEq),
            BinaryOperator::Gt => Some(Operator::Gt),
            BinaryOperator::GtEq => Some(Operator::GtEq),
            _ => None,
        };
        let instant = |text: &Expr, other: &Expr| -> DfResult<Option<Expr>> {
            let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = text else { return Ok(None) };
            match other.get_type(schema) {
                Ok(DataType::Timestamp(..)) => {}
                _ => return Ok(None),
            }
            match instant_of(text, &self.zone) {
                Some(t) => Ok(Some(lit(ScalarValue::TimestampMillisecond(Some(t), None)))),
                None => Err(DataFusionError::Plan(format!(
                    "'{text}' is compared with a TIMESTAMP and is none; write it as yyyy-MM-dd HH:mm:ss"
                ))),
            }
        };
        if let Some(operator) = comparison {
            if let Some(right) = instant(&right, &left)? {
                return Ok(PlannerResult::Planned(binary(left, operator, right)));
            }
            if let Some(left) = instant(&left, &right)? {
                return Ok(PlannerResult::Planned(binary(left, operator, right)));
            }
        }
        if comparison.is_some() {
            let document = |expr: &Expr| expr.get_type(schema).is_ok_and(|t| t == DOCUMENT);
            // Documents are equal if they say the same; of more nothing is known.
            let equality = matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq);
            let same = equality && document(&left) && document(&right);
            if !same && (document(&left) || document(&right)) {
                let name = |expr: &Expr| expr.get_type(schema).map_or(String::new(), |t| functions::sql_name(&t));
                return Err(DataFusionError::Plan(format!(
                    "Cannot apply '{op}' to arguments of type '<{}> {op} <{}>'; take a value out of the document with \
                     JSON_VALUE",
                    name(&left),
                    name(&right)
                )));
            }
        }
        // A text equals a whole number that is written like it.
        if self.converts && matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq) {
            let is_text = |expr: &Expr| expr.get_type(schema).is_ok_and(|t| t == DataType::Utf8);
            let digits = |expr: &Expr| match expr {
                Expr::Literal(ScalarValue::Int64(Some(long)), _) => Some(lit(long.to_string())),
                _ => None,
            };
            let column = |expr: &Expr| is_text(expr) && !matches!(expr, Expr::Literal(..));
            if column(&left)
                && let Some(right) = digits(&right)
            {
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
            }
            if column(&right)
                && let Some(left) = digits(&left)
            {
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
            }
        }
        // A text in arithmetic is a number, or null if it is none.
        let arithmetic = matches!(
            op,
            BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Divide
                | BinaryOperator::Modulo
        );
        let text = |expr: &Expr| expr.get_type(schema).is_ok_and(|t| t == DataType::Utf8);
        let number = |expr: &Expr| expr.get_type(schema).is_ok_and(|t| t.is_numeric());
        let meets = |expr: &Expr, other: &Expr| text(expr) && (text(other) || number(other));
        if self.converts && arithmetic && (meets(&left, &right) || meets(&right, &left)) {
            let wide = |expr: Expr| {
                if text(&expr) { Expr::TryCast(TryCast::new(Box::new(expr), DataType::Float64)) } else { expr }
            };
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left: wide(left), right: wide(right) }));
        }
        let divides = match op {
            BinaryOperator::Divide => Some(Operator::Divide),
            BinaryOperator::Modulo => Some(Operator::Modulo),
            _ => None,
        };
        let whole = |expr: &Expr| expr.get_type(schema).is_ok_and(|t| t.is_integer());
        let safe = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Int64(Some(long)), _) if *long != 0);
        if let Some(operator) = divides
            && whole(&left)
            && whole(&right)
            && !safe(&right)
        {
            let zero = lit(0i64);
            let right = datafusion::functions::core::expr_fn::nullif(right, zero);
            return Ok(PlannerResult::Planned(binary(left, operator, right)));
        }
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// Druid's casts: what does not parse is null, and an instant as text is `yyyy-MM-dd HH:mm:ss`.
#[derive(Debug)]
struct Casts {
    format: Arc<ScalarUDF>,
    long: Arc<ScalarUDF>,
}

impl AnalyzerRule for Casts {
    fn name(&self) -> &str {
        "druid_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let format = &self.format;
        plan.transform_up_with_subqueries(|plan| {
            if !has_casts(&plan) {
                return Ok(Transformed::no(plan));
            }
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let changed = expr.transform_up(|expr| {
                    let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Ok(Transformed::no(expr)) };
                    let Ok(from) = inner.get_type(&schema) else { return Ok(Transformed::no(expr)) };
                    let to = field.data_type();
                    let texts = |t: &DataType| matches!(t, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
                    let literal = matches!(inner.as_ref(), Expr::Literal(..));
                    if texts(&from) && !texts(to) && !(literal && matches!(to, DataType::Timestamp(..))) {
                        return Ok(Transformed::yes(Expr::TryCast(TryCast::new(inner.clone(), to.clone()))));
                    }
                    let whole = |t: &DataType| matches!(t, DataType::List(_) | DataType::Binary) || *t == DOCUMENT;
                    if whole(&from) && matches!(to, DataType::Utf8) {
                        return Err(DataFusionError::Plan(format!(
                            "Cast function cannot convert value of type {} to type {}",
                            functions::sql_name(&from),
                            functions::sql_name(to)
                        )));
                    }
                    // Doubles beyond the longs become the outermost of them.
                    if matches!(from, DataType::Float64 | DataType::Float32) && *to == DataType::Int64 {
                        return Ok(Transformed::yes(self.long.call(vec![inner.as_ref().clone()])));
                    }
                    if matches!(from, DataType::Timestamp(..)) && texts(to) {
                        let args =
                            vec![inner.as_ref().clone(), lit("yyyy-MM-dd HH:mm:ss"), lit(ScalarValue::Utf8(None))];
                        return Ok(Transformed::yes(format.call(args)));
                    }
                    Ok(Transformed::no(expr))
                })?;
                Ok(changed.update_data(|expr| name.restore(expr)))
            })?
            .map_data(|plan| plan.recompute_schema())
        })
        .map(|changed| changed.data)
    }
}

fn has_casts(plan: &LogicalPlan) -> bool {
    plan.expressions().iter().any(|expr| expr.exists(|part| Ok(matches!(part, Expr::Cast(_)))).unwrap_or(true))
}

/// The planner of a zone. Few zones are in use at once; beyond [`ZONES_MAX`] they are made anew.
pub struct Planners {
    push_down: bool,
    lookups: Arc<Lookups>,
    utc: Arc<Planner>,
    others: Mutex<HashMap<String, Arc<Planner>>>,
}

const ZONES_MAX: usize = 16;

impl Planners {
    pub fn new(push_down: bool, lookups: Arc<Lookups>) -> Planners {
        let utc = Arc::new(Planner::new(&Zone::Utc, push_down, &lookups));
        Planners { push_down, lookups, utc, others: Mutex::default() }
    }

    pub fn of(&self, zone: &Zone) -> Arc<Planner> {
        if zone.is_utc() {
            return self.utc.clone();
        }
        let mut others = self.others.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if others.len() >= ZONES_MAX && !others.contains_key(zone.name()) {
            others.clear();
        }
        others
            .entry(zone.name().to_string())
            .or_insert_with(|| Arc::new(Planner::new(zone, self.push_down, &self.lookups)))
            .clone()
    }
}

/// The table that a name means: `name` or `druid.name`.
pub fn datasource(name: &TableReference) -> Option<&str> {
    match name {
        TableReference::Bare { table } => Some(table),
        TableReference::Partial { schema, table } if schema.as_ref() == "druid" => Some(table),
        TableReference::Full { catalog, schema, table }
            if catalog.as_ref() == "druid" && schema.as_ref() == "druid" =>
        {
            Some(table)
        }
        _ => None,
    }
}
