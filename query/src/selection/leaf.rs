//! Single tests: which way each is settled.

use std::ops::Range;
use std::sync::Arc;

use segment::block::{Block, Value};
use segment::column::{Column, DictColumn, DocumentColumn};
use segment::dictionary::Needle;
use segment::expr::truth;
use segment::filter::{Filter, Ordering, Test};
use segment::schema::ValueType;

use super::codes::{self, Answers};
use super::compile::whole;
use super::rows::RowsNode;
use super::{Node, numbers};
use crate::columns::{Columns, Resolved};
use crate::error::Result;

/// The rows where the test is `want`.
pub fn node(columns: &Columns, filter: &Filter, want: bool) -> Result<Node> {
    let by_row = || Node::Rows(Box::new(RowsNode::new(columns, filter, want)));
    match filter {
        Filter::Column { column, test } => match columns.resolve(column)? {
            Resolved::Missing => Ok(whole(test.text()(None) == Some(want))),
            Resolved::Time(time) => Ok(numbers::node(columns.segment(), column, time, test, want)),
            Resolved::Physical(Column::Number(number)) => {
                Ok(numbers::node(columns.segment(), column, number, test, want))
            }
            // Of several values in a row, each by itself says nothing.
            Resolved::Physical(Column::Dict(dict))
                if dict.is_multi() && matches!(test, Test::Single(_) | Test::Elements(_)) =>
            {
                Ok(by_row())
            }
            Resolved::Physical(Column::Dict(dict)) => {
                let test = test.on_text();
                let answers = by_dictionary(dict, test);
                Ok(codes::node(columns.segment(), column, dict, answers, want))
            }
            Resolved::Physical(Column::Complex(_)) => Ok(by_row()),
            Resolved::Physical(Column::Document(documents)) => {
                let answers = by_document(documents, test);
                Ok(codes::node(columns.segment(), column, documents.texts(), answers, want))
            }
            Resolved::Virtual(_) => {
                let settled = by_values(columns, column, want, |values| Ok(tested(columns, filter, &values)))?;
                Ok(settled.unwrap_or_else(by_row))
            }
        },
        Filter::Expression(expr) => {
            let read = expr.columns();
            let [column] = read.as_slice() else {
                return Ok(by_row());
            };
            let settled = by_values(columns, column, want, |values| {
                let inputs = crate::columns::Decoded { len: values.len(), blocks: &[(*column, Some(values))] };
                let results = expr.block(&inputs)?;
                Ok((0..results.len()).map(|row| truth(&results.value(row))).collect())
            })?;
            Ok(settled.unwrap_or_else(by_row))
        }
        _ => Ok(by_row()),
    }
}

/// Tests each value of a dictionary once; tests that name values look them up instead, and those that bound them look
/// only between the bounds.
fn by_dictionary(dict: &DictColumn, test: &Test) -> Answers {
    let answer = test.text();
    let cardinality = dict.cardinality();
    let null = answer(None);
    let mut by_code = vec![Some(false); cardinality as usize];
    if let Some(code) = dict.null_code() {
        by_code[code as usize] = null;
    }
    if dict.is_sorted()
        && cardinality > FEW_VALUES
        && let Some(named) = test.texts()
    {
        for text in named {
            if let Some(code) = dict.code(Some(text)) {
                by_code[code as usize] = answer(Some(text));
            }
        }
        return Answers { by_code, null };
    }
    // What holds no needle is settled as false already.
    let needle = test.needle().map(|text| Needle::new(&text));
    dict.scan_values(bounded(dict, test), |first, places, texts| {
        let settle = |place: usize| by_code[first as usize + place] = answer(Some(texts.get(place)));
        match &needle {
            Some(needle) => texts.containing(places, needle, settle),
            None => places.for_each(settle),
        }
    });
    Answers { by_code, null }
}

/// Tests each document once.
fn by_document(documents: &DocumentColumn, test: &Test) -> Answers {
    let compiled = Filter::Column { column: String::new(), test: test.clone() }.compile();
    let answer = |code: u32| match documents.value(code) {
        Value::List(values) => of_array(&values, test),
        value => compiled.matches(&|_| value.clone()),
    };
    Answers { by_code: (0..documents.texts().cardinality()).map(answer).collect(), null: None }
}

/// What a test says of an array: it is one value, and null only as a whole.
fn of_array(values: &[Value], test: &Test) -> Option<bool> {
    if let Some(answer) = test.of_array(values) {
        return answer;
    }
    match test {
        Test::Equals { value: Value::List(wanted), .. } => Some(all_alike(values, wanted)),
        Test::Equals { value, value_type: ValueType::Array(_) } => Some(values.iter().any(|one| alike(one, value))),
        _ => Some(false),
    }
}

fn all_alike(one: &[Value], other: &[Value]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
}

/// Whether two values are the same, a long and a double by what they are worth.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Long(long), Value::Double(double)) | (Value::Double(double), Value::Long(long)) => {
            *long as f64 == *double
        }
        (Value::List(one), Value::List(other)) => all_alike(one, other),
        (one, other) => one == other,
    }
}

/// Testing so few values costs less than looking for the right ones.
const FEW_VALUES: u32 = 64;

/// Codes outside of which no value passes the test.
fn bounded(dict: &DictColumn, test: &Test) -> Range<u32> {
    let cardinality = dict.cardinality();
    if !dict.is_sorted() || cardinality <= FEW_VALUES {
        return 0..cardinality;
    }
    let between = |lower: Option<&str>, upper: Option<&str>| {
        let start = lower.map_or(0, |text| dict.lower_bound(text));
        // The upper bound itself may pass.
        let end = upper.map_or(cardinality, |text| dict.lower_bound(text).saturating_add(1).min(cardinality));
        start..end.max(start)
    };
    let text = |value: &Option<Value>| match value {
        Some(Value::Text(text)) => Some(text.to_string()),
        _ => None,
    };
    match test {
        Test::Range { lower, upper, value_type: ValueType::String, .. } => {
            between(text(lower).as_deref(), text(upper).as_deref())
        }
        Test::Bound { lower, upper, ordering: Ordering::Lexicographic, .. } => {
            between(lower.as_deref(), upper.as_deref())
        }
        Test::Like(like) => {
            let matcher = like.compile();
            let prefix = matcher.prefix();
            if prefix.is_empty() {
                return 0..cardinality;
            }
            let start = dict.lower_bound(prefix);
            let (mut low, mut high) = (start, cardinality);
            while low < high {
                let middle = low + (high - low) / 2;
                if dict.value(middle).is_some_and(|value| value.starts_with(prefix)) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            start..low
        }
        _ => 0..cardinality,
    }
}

/// Settles a test by the values of the dictionary that a column stands on, if there is one and it is smaller than the
/// segment: the column's own, or that of the one single-value column which a virtual column reads.
fn by_values(
    columns: &Columns,
    name: &str,
    want: bool,
    answers: impl FnOnce(Block) -> Result<Vec<Option<bool>>>,
) -> Result<Option<Node>> {
    let segment = columns.segment();
    let Some((base, dict)) = columns.dictionary_of(name)? else {
        return Ok(None);
    };
    let cardinality = dict.cardinality() as usize;
    if cardinality > segment.rows() / 2 + 16 {
        return Ok(None);
    }
    let values: Vec<Option<Arc<str>>> = (0..cardinality as u32).map(|code| dict.value(code).map(Arc::from)).collect();
    let block = columns.over_values(name, Block::Text { values })?;
    let by_code = answers(block)?;
    // Single-value columns have no empty lists; what null answers stands with its code.
    let answers = Answers { by_code, null: None };
    Ok(Some(codes::node(segment, &base, dict, answers, want)))
}

/// What a test of a column says of each value of a block of it.
pub fn tested(columns: &Columns, filter: &Filter, block: &Block) -> Vec<Option<bool>> {
    let Filter::Column { column, test } = filter else { return vec![None; block.len()] };
    let null = |nulls: &Option<Vec<bool>>, row: usize| nulls.as_ref().is_some_and(|nulls| nulls[row]);
    match block {
        Block::Long { values, nulls } => {
            let answer = test.long();
            let rows = values.iter().enumerate();
            rows.map(|(row, v)| answer((!null(nulls, row)).then_some(*v))).collect()
        }
        Block::Double { values, nulls } => {
            let answer = test.double();
            let rows = values.iter().enumerate();
            rows.map(|(row, v)| answer((!null(nulls, row)).then_some(*v))).collect()
        }
        Block::Text { values } => {
            let answer = test.text();
            values.iter().map(|text| answer(text.as_deref())).collect()
        }
        Block::Any { values } => {
            let filter = filter.compile();
            let is_array = matches!(columns.value_type(column), Some(ValueType::Array(_)));
            let answer = |value: &Value| match value {
                Value::List(values) if is_array => of_array(values, test),
                value => filter.matches(&|_| value.clone()),
            };
            values.iter().map(answer).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_tested_as_one_value_and_for_what_it_holds() {
        let array = [Value::Long(1), Value::Null];
        let longs = || ValueType::Array(Box::new(ValueType::Long));
        let equals = |value: Value| Test::Equals { value, value_type: longs() };
        assert_eq!(of_array(&array, &Test::Null), Some(false));
        assert_eq!(of_array(&array, &equals(Value::Long(1))), Some(true));
        assert_eq!(of_array(&array, &equals(Value::Double(1.0))), Some(true));
        assert_eq!(of_array(&array, &equals(Value::Long(2))), Some(false));
        assert_eq!(of_array(&array, &equals(Value::List(array.to_vec()))), Some(true));
        assert_eq!(of_array(&array, &equals(Value::List(vec![Value::Long(1)]))), Some(false));
    }
}
