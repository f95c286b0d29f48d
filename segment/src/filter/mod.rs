//! Row filters with SQL's three-valued logic, in Druid's JSON form. Ingestion evaluates them row by row here; the engine
//! turns them into bitmaps with the same [`Test`]s.

mod json;
mod order;
mod spatial;

mod test;

use crate::block::Value;
use crate::expr::{Expr, convert};
use crate::schema::ValueType;

pub use crate::pattern::{Like, LikeMatcher, java_regex};
pub use json::search_from_json;
pub use order::Ordering;
pub use spatial::Spatial;
pub use test::{DoubleTest, LongTest, Search, Test, TextTest};

#[derive(Debug, Clone)]
pub enum Filter {
    True,
    False,
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    /// Unknown counts as false, then may be negated.
    IsTrue(Box<Filter>),
    IsFalse(Box<Filter>),
    /// A test of one column. On a multi-value row it matches if any value matches; an empty row is a null.
    Column {
        column: String,
        test: Test,
    },
    /// All columns equal, compared as text. Null equals null; of multi-value rows one common value is enough.
    Equal {
        columns: Vec<String>,
    },
    Expression(Expr),
}

impl Filter {
    /// The columns it reads, each once.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        self.collect(&mut columns);
        columns
    }

    fn collect<'a>(&'a self, into: &mut Vec<&'a str>) {
        let mut add = |name: &'a str| {
            if !into.contains(&name) {
                into.push(name);
            }
        };
        match self {
            Filter::True | Filter::False => {}
            Filter::And(fields) | Filter::Or(fields) => fields.iter().for_each(|f| f.collect(into)),
            Filter::Not(field) | Filter::IsTrue(field) | Filter::IsFalse(field) => field.collect(into),
            Filter::Column { column, .. } => add(column),
            Filter::Equal { columns } => columns.iter().for_each(|c| add(c)),
            Filter::Expression(expr) => expr.columns().into_iter().for_each(add),
        }
    }

    /// The same filter of [`Test::strict`] tests: for policies, whose meaning is not to change with the type of a column. What
    /// is unknown for its type lets no row through, also where the filter makes something certain of what is unknown.
    pub fn strict(self) -> Filter {
        self.strictly(true)
    }

    /// As a part of a filter whose truth (`shown`), or whose falsehood, lets rows through.
    fn strictly(self, shown: bool) -> Filter {
        match self {
            Filter::And(fields) => Filter::And(fields.into_iter().map(|field| field.strictly(shown)).collect()),
            Filter::Or(fields) => Filter::Or(fields.into_iter().map(|field| field.strictly(shown)).collect()),
            Filter::Not(field) => Filter::Not(Box::new(field.strictly(!shown))),
            Filter::IsTrue(_) | Filter::IsFalse(_) => {
                let mut guards = Vec::new();
                let settled = self.of_strict_tests(&mut guards);
                match (guards.is_empty(), shown) {
                    (true, _) => settled,
                    (false, true) => Filter::And(std::iter::once(settled).chain(guards).collect()),
                    (false, false) => {
                        let bad = guards.into_iter().map(|guard| Filter::Not(Box::new(guard)));
                        Filter::Or(std::iter::once(settled).chain(bad).collect())
                    }
                }
            }
            Filter::Column { column, test } => Filter::Column { column, test: test.strict() },
            Filter::True | Filter::False | Filter::Equal { .. } | Filter::Expression(_) => self,
        }
    }

    /// The filter of strict tests, and what holds of rows of which none of them is unknown for a type.
    fn of_strict_tests(self, guards: &mut Vec<Filter>) -> Filter {
        let mut all = |fields: Vec<Filter>| fields.into_iter().map(|field| field.of_strict_tests(guards)).collect();
        match self {
            Filter::And(fields) => Filter::And(all(fields)),
            Filter::Or(fields) => Filter::Or(all(fields)),
            Filter::Not(field) => Filter::Not(Box::new(field.of_strict_tests(guards))),
            Filter::IsTrue(field) => Filter::IsTrue(Box::new(field.of_strict_tests(guards))),
            Filter::IsFalse(field) => Filter::IsFalse(Box::new(field.of_strict_tests(guards))),
            Filter::Column { column, test } => {
                let test = test.strict();
                let of = |test: Test| Filter::Column { column: column.clone(), test };
                let known = || {
                    Filter::Or(vec![
                        of(Test::Null),
                        Filter::IsTrue(Box::new(of(test.clone()))),
                        Filter::IsFalse(Box::new(of(test.clone()))),
                    ])
                };
                match &test {
                    Test::OfNumber(_) => guards.extend([of(Test::Single(ValueType::Float)), known()]),
                    Test::OfText(_) => guards.extend([of(Test::Plain), known()]),
                    Test::Element(_) | Test::Elements(_) => guards.push(known()),
                    _ => {}
                }
                Filter::Column { column, test }
            }
            Filter::True | Filter::False | Filter::Equal { .. } | Filter::Expression(_) => self,
        }
    }

    /// One row: `None` is unknown. For many rows, [`Filter::compile`] once.
    pub fn matches(&self, column: &dyn Fn(&str) -> Value) -> Option<bool> {
        self.compile().matches(column)
    }

    /// The filter ready to run over rows: patterns compiled, lists hashed.
    pub fn compile(&self) -> CompiledFilter {
        let all = |fields: &[Filter]| fields.iter().map(Filter::compile).collect();
        CompiledFilter(match self {
            Filter::True => Node::Constant(true),
            Filter::False => Node::Constant(false),
            Filter::And(fields) => Node::And(all(fields)),
            Filter::Or(fields) => Node::Or(all(fields)),
            Filter::Not(field) => Node::Not(Box::new(field.compile())),
            Filter::IsTrue(field) => Node::Is(true, Box::new(field.compile())),
            Filter::IsFalse(field) => Node::Is(false, Box::new(field.compile())),
            Filter::Column { column, test } => Node::Column(column.clone(), Box::new(test::CompiledTest::new(test))),
            Filter::Equal { columns } => Node::Equal(columns.clone()),
            Filter::Expression(expr) => Node::Expression(expr.clone()),
        })
    }
}

/// A [`Filter`] ready to run row by row.
pub struct CompiledFilter(Node);

enum Node {
    Constant(bool),
    And(Vec<CompiledFilter>),
    Or(Vec<CompiledFilter>),
    Not(Box<CompiledFilter>),
    Is(bool, Box<CompiledFilter>),
    Column(String, Box<test::CompiledTest>),
    Equal(Vec<String>),
    Expression(Expr),
}

impl CompiledFilter {
    /// One row: `None` is unknown. `column` gives null for a column that does not exist.
    pub fn matches(&self, column: &dyn Fn(&str) -> Value) -> Option<bool> {
        match &self.0 {
            Node::Constant(answer) => Some(*answer),
            Node::And(fields) => some_true(fields.iter().map(|f| f.matches(column).map(|v| !v))).map(|v| !v),
            Node::Or(fields) => some_true(fields.iter().map(|f| f.matches(column))),
            Node::Not(field) => field.matches(column).map(|v| !v),
            Node::Is(wanted, field) => Some(field.matches(column) == Some(*wanted)),
            Node::Column(name, test) => test.value(&column(name)),
            Node::Equal(names) => {
                let rows: Vec<Value> = names.iter().map(|name| column(name)).collect();
                Some(rows.windows(2).all(|pair| overlap(&pair[0], &pair[1])))
            }
            Node::Expression(expr) => convert::truth(&expr.value(column)),
        }
    }
}

/// Three-valued `or`.
fn some_true(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut unknown = false;
    for answer in answers {
        match answer {
            Some(true) => return Some(true),
            Some(false) => {}
            None => unknown = true,
        }
    }
    if unknown { None } else { Some(false) }
}

/// Whether two rows have a value in common, as text.
fn overlap(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(values), other) | (other, Value::List(values)) => {
            if values.is_empty() {
                overlap(&Value::Null, other)
            } else {
                values.iter().any(|v| overlap(v, other))
            }
        }
        (a, b) => convert::to_text(a) == convert::to_text(b),
    }
}

#[cfg(test)]
mod tests;
