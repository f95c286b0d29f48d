//! Druid's aggregates that DataFusion does not have. Native leaves run them in the engine; these accumulators serve
//! where an aggregate stands over something else than a table (a join, another aggregate).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, TimestampMillisecondType};
use datafusion::common::{Result as DfResult, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use serde_json::{Value as Json, json};

use crate::convert::TIMESTAMP;
use crate::functions::sql_name;
use crate::leaves::NATIVE_TYPE;
use crate::sketches;

/// All aggregates by SQL name, in lower case.
pub fn all() -> HashMap<String, Arc<AggregateUDF>> {
    let mut all = crate::sketches::all();
    for (name, kind) in [
        ("earliest_by", Kind::Earliest),
        ("latest_by", Kind::Latest),
        ("any_value", Kind::Any),
        ("array_concat_agg", Kind::Concat),
    ] {
        let aggregate = Druid { name, kind, signature: Signature::user_defined(Volatility::Immutable) };
        all.insert(name.to_string(), Arc::new(AggregateUDF::new_from_impl(aggregate)));
    }
    all
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Earliest,
    Latest,
    Any,
    Concat,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Druid {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for Druid {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        Ok(args.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        let data_type = match args.first() {
            Some(first) if pair_of(first).is_some() => {
                pair_of(first).map_or(DataType::Null, |(_, data_type)| data_type)
            }
            _ => self.return_type(&args.iter().map(|field| field.data_type().clone()).collect::<Vec<_>>())?,
        };
        Ok(Arc::new(Field::new(self.name, data_type, true)))
    }

    fn coerce_types(&self, given: &[DataType]) -> DfResult<Vec<DataType>> {
        let wanted = match self.kind {
            Kind::Earliest | Kind::Latest => 2..=3,
            Kind::Any => 1..=3,
            Kind::Concat => 1..=1,
        };
        if !wanted.contains(&given.len()) {
            return plan_err!(
                "function {} takes {} to {} arguments, {} given",
                self.name.to_ascii_uppercase(),
                wanted.start(),
                wanted.end(),
                given.len()
            );
        }
        let refused = match self.kind {
            Kind::Earliest | Kind::Latest => !matches!(given[1], DataType::Timestamp(..) | DataType::Null),
            Kind::Concat => !matches!(given[0], DataType::List(_) | DataType::Null),
            _ => false,
        };
        if refused {
            let name = self.name.to_ascii_uppercase();
            let types: Vec<String> = given.iter().map(|given| format!("<{}>", sql_name(given))).collect();
            return plan_err!("Cannot apply '{name}' to arguments of type '{name}({})'", types.join(", "));
        }
        Ok(given
            .iter()
            .enumerate()
            .map(|(idx, given)| match (self.kind, idx) {
                (Kind::Earliest | Kind::Latest, 1) => TIMESTAMP,
                (_, 0) => given.clone(),
                _ => DataType::Int64,
            })
            .collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        if let Some(pair) = args.expr_fields.first().filter(|first| pair_of(first).is_some()) {
            let Some(json) = self.of_pairs(pair) else { return exec_err!("{} takes no pairs", self.name) };
            return Ok(Box::new(sketches::Folding::of(json, args.return_type().clone())?));
        }
        Ok(match self.kind {
            Kind::Earliest | Kind::Latest => Box::new(ByTime {
                last: self.kind == Kind::Latest,
                time: None,
                value: ScalarValue::try_from(args.return_type())?,
            }),
            Kind::Concat => {
                let of = match args.return_type() {
                    DataType::List(field) => field.data_type().clone(),
                    other => other.clone(),
                };
                Box::new(Concat { of, seen: args.is_distinct.then(HashSet::new), values: None })
            }
            Kind::Any => Box::new(AnyValue { value: ScalarValue::try_from(args.return_type())? }),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        if args.input_fields.first().is_some_and(|first| pair_of(first).is_some()) {
            return Ok(vec![Arc::new(Field::new(format!("{}[state]", args.name), DataType::Binary, true))]);
        }
        Ok(match self.kind {
            Kind::Earliest | Kind::Latest => vec![
                Arc::new(Field::new(format!("{}[time]", args.name), TIMESTAMP, true)),
                Arc::new(Field::new(format!("{}[value]", args.name), args.return_type().clone(), true)),
            ],
            Kind::Concat => {
                vec![Arc::new(Field::new(format!("{}[values]", args.name), args.return_type().clone(), true))]
            }
            Kind::Any => vec![Arc::new(Field::new(format!("{}[value]", args.name), args.return_type().clone(), true))],
        })
    }
}

impl Druid {
    /// The native aggregate over a column `c0` of values that ingestion kept with their times.
    fn of_pairs(&self, field: &Field) -> Option<Json> {
        let (prefix, _) = pair_of(field)?;
        match self.kind {
            Kind::Earliest => Some(json!({"type": format!("{prefix}First"), "fieldName": "c0"})),
            Kind::Latest => Some(json!({"type": format!("{prefix}Last"), "fieldName": "c0"})),
            _ => None,
        }
    }
}

/// Of a column of values that ingestion kept with their times: how native aggregates of such values are called, and
/// their type.
pub fn pair_of(field: &Field) -> Option<(&'static str, DataType)> {
    if *field.data_type() != DataType::Binary {
        return None;
    }
    match field.metadata().get(NATIVE_TYPE)?.as_str() {
        "COMPLEX<serializablePairLongLong>" => Some(("long", DataType::Int64)),
        "COMPLEX<serializablePairLongFloat>" => Some(("float", DataType::Float32)),
        "COMPLEX<serializablePairLongDouble>" => Some(("double", DataType::Float64)),
        "COMPLEX<serializablePairLongString>" => Some(("string", DataType::Utf8)),
        _ => None,
    }
}

/// The value at the smallest or largest time.
#[derive(Debug)]
struct ByTime {
    last: bool,
    time: Option<i64>,
    value: ScalarValue,
}

impl ByTime {
    fn fold(&mut self, values: &ArrayRef, times: &ArrayRef) -> DfResult<()> {
        let Some(times) = times.as_primitive_opt::<TimestampMillisecondType>() else {
            return exec_err!("times of EARLIEST and LATEST are timestamps");
        };
        let mut best: Option<(usize, i64)> = None;
        for row in 0..times.len() {
            if times.is_null(row) {
                continue;
            }
            let time = times.value(row);
            let known = best.map(|(_, time)| time).or(self.time);
            let better = known.is_none_or(|known| if self.last { time >= known } else { time < known });
            if better {
                best = Some((row, time));
            }
        }
        if let Some((row, time)) = best {
            self.time = Some(time);
            self.value = ScalarValue::try_from_array(values, row)?;
        }
        Ok(())
    }
}

impl Accumulator for ByTime {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.fold(&values[0], &values[1])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.fold(&states[1], &states[0])
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.value.clone())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::TimestampMillisecond(self.time, None), self.value.clone()])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size()
    }
}

/// The values of all lists, one after the other; each once if they are to be distinct.
#[derive(Debug)]
struct Concat {
    of: DataType,
    seen: Option<HashSet<ScalarValue>>,
    values: Option<Vec<ScalarValue>>,
}

impl Accumulator for Concat {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let Some(lists) = values[0].as_list_opt::<i32>() else {
            return exec_err!("ARRAY_CONCAT_AGG takes arrays");
        };
        for list in lists.iter().flatten() {
            let into = self.values.get_or_insert_default();
            for item in 0..list.len() {
                let value = ScalarValue::try_from_array(&list, item)?;
                if self.seen.as_mut().is_none_or(|seen| seen.insert(value.clone())) {
                    into.push(value);
                }
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.update_batch(states)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(match &self.values {
            // Distinct values come in their order.
            Some(values) if self.seen.is_some() => {
                let mut values = values.clone();
                values.sort_by(|a, b| match (a.is_null(), b.is_null()) {
                    (false, false) => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
                    (a, b) => b.cmp(&a),
                });
                ScalarValue::List(ScalarValue::new_list(&values, &self.of, true))
            }
            Some(values) => ScalarValue::List(ScalarValue::new_list(values, &self.of, true)),
            None => ScalarValue::new_null_list(self.of.clone(), true, 1),
        })
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.iter().flatten().map(ScalarValue::size).sum::<usize>()
    }
}

/// The first value that is not null.
#[derive(Debug)]
struct AnyValue {
    value: ScalarValue,
}

impl Accumulator for AnyValue {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        if self.value.is_null()
            && let Some(row) = (0..values[0].len()).find(|row| !values[0].is_null(*row))
        {
            self.value = ScalarValue::try_from_array(&values[0], row)?;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.update_batch(states)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.value.clone())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![self.value.clone()])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size()
    }
}
