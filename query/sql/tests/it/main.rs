//! Statements over small tables of memory segments. Each runs with native leaves and with DataFusion doing all but the
//! scans, and both must agree.

mod answers;
mod documents;
mod errors;
mod formats;
mod functions;
mod fuzz;
mod idioms;
mod plans;
mod policies;
mod pushdown;
mod random;
mod sketches;
mod system;
mod tables;

use std::sync::Arc;

use futures::StreamExt;
use henge_query_sql::{Format, Parameter, ResultFormat, Settings, Sql, Statement};
use query::{Broker, Principal};
use serde_json::{Map, Value as Json, json};

/// 2026-01-01T12:00:00Z.
pub const NOW: i64 = 1_767_268_800_000;

pub struct Fixture {
    runtime: tokio::runtime::Runtime,
    pub broker: Arc<Broker>,
    pub native: Arc<Sql>,
    pub scans: Arc<Sql>,
    pub who: Principal,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture::over(tables::broker())
    }

    pub fn over(broker: Arc<Broker>) -> Fixture {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Fixture {
            runtime,
            native: Sql::new(broker.clone(), Arc::new(system::Small), Settings { push_down: true, plans_max: 64 }),
            scans: Sql::new(broker.clone(), Arc::new(system::Small), Settings { push_down: false, plans_max: 0 }),
            broker,
            who: Principal::new("tester"),
        }
    }

    pub fn body(
        &self,
        sql: &Arc<Sql>,
        statement: &Statement,
        format: &Format,
    ) -> Result<String, henge_query_sql::Error> {
        self.runtime.block_on(async {
            let answer = sql.run(statement, &self.who).await?;
            let mut body = answer.body(format);
            let mut bytes = Vec::new();
            while let Some(chunk) = body.next().await {
                bytes.extend(chunk?);
            }
            Ok(String::from_utf8(bytes).unwrap())
        })
    }

    fn rows(&self, sql: &Arc<Sql>, statement: &Statement) -> Vec<Json> {
        let format = Format { result_format: ResultFormat::Array, ..Format::default() };
        let body = self.body(sql, statement, &format).unwrap_or_else(|error| panic!("{}: {error}", statement.text));
        serde_json::from_str(&body).unwrap()
    }

    /// Rows of the statement, the same twice over (planned, then from the kept plan) and from DataFusion alone.
    pub fn both(&self, statement: &Statement) -> Vec<Json> {
        let native = self.rows(&self.native, statement);
        assert_eq!(native, self.rows(&self.native, statement), "{}: a kept plan answers otherwise", statement.text);
        let scans = self.rows(&self.scans, statement);
        assert_same(&statement.text, &native, &scans);
        native
    }

    /// The statement answers these rows, in this order.
    pub fn check(&self, text: &str, expected: Json) {
        assert_same(text, &self.both(&statement(text)), expected.as_array().unwrap());
    }

    /// The statement answers these rows, in any order.
    pub fn check_unordered(&self, text: &str, expected: Json) {
        let sort = |rows: &[Json]| {
            let mut rows = rows.to_vec();
            rows.sort_by_key(Json::to_string);
            rows
        };
        let native = sort(&self.rows(&self.native, &statement(text)));
        let scans = sort(&self.rows(&self.scans, &statement(text)));
        assert_same(text, &native, &scans);
        assert_same(text, &native, &sort(expected.as_array().unwrap()));
    }

    pub fn native_rows(&self, statement: &Statement) -> Vec<Json> {
        self.rows(&self.native, statement)
    }

    pub fn is_direct(&self, text: &str) -> bool {
        self.native.is_direct(&statement(text), &self.who).unwrap()
    }

    /// The native leaves.
    pub fn leaves(&self, text: &str) -> Vec<Json> {
        self.native.explain(&statement(text), &self.who).unwrap_or_else(|error| panic!("{text}: {error}"))
    }
}

pub fn statement(text: &str) -> Statement {
    Statement { text: text.to_string(), now: NOW, ..Statement::default() }
}

pub fn with_context(text: &str, context: Json) -> Statement {
    let context: Map<String, Json> = context.as_object().unwrap().clone();
    Statement { context, ..statement(text) }
}

pub fn with_parameters(text: &str, parameters: &[(&str, Json)]) -> Statement {
    let parameters = parameters
        .iter()
        .map(|(sql_type, value)| Parameter { sql_type: sql_type.to_string(), value: value.clone() })
        .collect();
    Statement { parameters, ..statement(text) }
}

fn assert_same(text: &str, left: &[Json], right: &[Json]) {
    assert!(same_rows(left, right), "{text}\n  left: {}\n right: {}", json!(left), json!(right));
}

/// Equal but for the last digits of doubles, which depend on the order of addition.
pub fn same_rows(left: &[Json], right: &[Json]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
}

fn same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Json::Number(left), Json::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            left == right || (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
        }
        (left, right) => left == right,
    }
}
