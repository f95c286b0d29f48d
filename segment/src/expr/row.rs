//! Evaluating a tree for one row. It says what expressions mean; evaluation by blocks must agree with it.

use std::sync::Arc;

use super::bounds::{self, Work};
use super::convert;
use super::functions::{Apply, Body, Function, Lazy, Prepared};
use super::node::{Node, Op};
use crate::block::Value;

/// The value, null if it takes too much to make, and how much it took.
pub(super) fn evaluate(node: &Node, column: &dyn Fn(&str) -> Value) -> (Value, usize) {
    let work = Work::of_row();
    let value = value(node, column, &work);
    (if work.is_spent() { Value::Null } else { value }, work.spent())
}

fn value(node: &Node, column: &dyn Fn(&str) -> Value, work: &Work) -> Value {
    if !work.spend(bounds::NODE) {
        return Value::Null;
    }
    match node {
        Node::Literal(value) => work.copy(value.clone()),
        Node::Column(name) => work.copy(column(name)),
        Node::Not(a) => not(&value(a, column, work)),
        Node::Negate(a) => negate(&value(a, column, work)),
        Node::Binary(op @ (Op::And | Op::Or), a, b) => {
            let left = value(a, column, work);
            match (op, convert::truth(&left)) {
                (Op::And, Some(false)) => Value::Long(0),
                (Op::Or, Some(true)) => Value::Long(1),
                _ => logic(*op, &left, &value(b, column, work)),
            }
        }
        Node::Binary(op, a, b) => work.made(binary(*op, &value(a, column, work), &value(b, column, work))),
        Node::Call { function, args, prepared } => match &function.body {
            Body::Lazy(lazy) => choose(*lazy, args.len(), &mut |idx| value(&args[idx], column, work)),
            Body::Apply(apply) => match args.split_first() {
                Some((Node::Lambda { names, body }, rest)) => {
                    let lists: Vec<Value> = rest.iter().map(|arg| value(arg, column, work)).collect();
                    work.made(self::apply(*apply, names, body, &lists, column, work))
                }
                _ => Value::Null,
            },
            _ => {
                let values: Vec<Value> = args.iter().map(|arg| value(arg, column, work)).collect();
                work.made(joined(function, prepared.as_ref(), args, &values))
            }
        },
        Node::Lambda { .. } => Value::Null,
    }
}

/// A function of values (not one of those that choose or apply).
pub(super) fn call(function: &Function, prepared: Option<&Prepared>, args: &[Value]) -> Value {
    if bounds::too_many(args) {
        return Value::Null;
    }
    bounds::bounded(match (&function.body, prepared) {
        (Body::Plain(body), _) => body(args),
        (Body::Scalar(body), _) => each(args, &|args| body(args)),
        (Body::Real(body), _) => {
            each(args, &|args| convert::to_double(&args[0]).map_or(Value::Null, |v| Value::Double(body(v))))
        }
        (Body::Real2(body), _) => match (convert::to_double(&args[0]), convert::to_double(&args[1])) {
            (Some(a), Some(b)) => Value::Double(body(a, b)),
            _ => Value::Null,
        },
        (_, Some(Prepared::Whole(body))) => body(args),
        (_, Some(prepared)) => each(args, &|args| prepared.value(args)),
        (Body::Prepared(_) | Body::Lazy(_) | Body::Apply(_), None) => Value::Null,
    })
}

/// A call whose arguments come from these nodes. Functions that put texts together do so with each value of their lists,
/// in all combinations; the same node has one value at a time.
pub(super) fn joined(function: &Function, prepared: Option<&Prepared>, nodes: &[Node], args: &[Value]) -> Value {
    let spreads = matches!(function.name, "concat" | "format") && args.iter().any(|arg| matches!(arg, Value::List(_)));
    if !spreads {
        return call(function, prepared, args);
    }
    let mut rows = vec![args.to_vec()];
    for (idx, node) in nodes.iter().enumerate() {
        let (Some(Value::List(values)), false) = (args.get(idx), nodes[..idx].contains(node)) else { continue };
        let same: Vec<usize> = (idx..nodes.len()).filter(|other| nodes[*other] == *node).collect();
        let count = rows.len().saturating_mul(values.len());
        if count > COMBINATIONS_MAX || count.saturating_mul(args.len()) > COMBINATIONS_MAX << 4 {
            return Value::Null;
        }
        let with = |row: &Vec<Value>, value: &Value| {
            let mut row = row.clone();
            same.iter().for_each(|at| row[*at] = value.clone());
            row
        };
        rows = rows.iter().flat_map(|row| values.iter().map(move |value| with(row, value))).collect();
    }
    match bounds::list(rows.iter().map(|row| call(function, prepared, row))) {
        Value::List(mut values) if values.len() < 2 => values.pop().unwrap_or_default(),
        values => values,
    }
}

/// Combinations of several lists' values that are made of one row; more are null.
const COMBINATIONS_MAX: usize = 1 << 16;

/// Over each value if the first argument is a list.
fn each(args: &[Value], body: &dyn Fn(&[Value]) -> Value) -> Value {
    let Some(Value::List(values)) = args.first() else { return body(args) };
    let mut one = args.to_vec();
    let mapped = values.iter().map(|value| {
        one[0] = value.clone();
        body(&one)
    });
    bounds::list(mapped)
}

pub(super) fn bool_value(answer: Option<bool>) -> Value {
    answer.map_or(Value::Null, |v| Value::Long(i64::from(v)))
}

pub(super) fn not(value: &Value) -> Value {
    match value {
        Value::List(values) => Value::List(values.iter().map(not).collect()),
        value => bool_value(convert::truth(value).map(|v| !v)),
    }
}

pub(super) fn negate(value: &Value) -> Value {
    match value {
        Value::Long(v) => Value::Long(v.wrapping_neg()),
        Value::List(values) => Value::List(values.iter().map(negate).collect()),
        value => convert::to_double(value).map_or(Value::Null, |v| Value::Double(-v)),
    }
}

/// Three-valued.
pub(super) fn logic(op: Op, a: &Value, b: &Value) -> Value {
    bool_value(logic_of(op, convert::truth(a), convert::truth(b)))
}

pub(super) fn logic_of(op: Op, a: Option<bool>, b: Option<bool>) -> Option<bool> {
    let dominant = op == Op::Or;
    match (a, b) {
        (Some(v), _) | (_, Some(v)) if v == dominant => Some(dominant),
        (None, _) | (_, None) => None,
        _ => Some(!dominant),
    }
}

pub(super) fn binary(op: Op, a: &Value, b: &Value) -> Value {
    match (a, b) {
        _ if matches!(op, Op::And | Op::Or) => logic(op, a, b),
        (Value::Null, _) | (_, Value::Null) => Value::Null,
        (Value::List(x), Value::List(y)) if op.is_comparison() => compare_lists(op, x, y),
        (Value::Json(x), Value::Json(y)) if op.is_comparison() => bool_value(Some(compare_texts(op, x, y))),
        (Value::List(values), other) => bounds::list(values.iter().map(|v| binary(op, v, other))),
        (other, Value::List(values)) => bounds::list(values.iter().map(|v| binary(op, other, v))),
        (Value::Long(x), Value::Long(y)) => longs(op, *x, *y).map_or(Value::Null, Value::Long),
        (Value::Text(x), Value::Text(y)) => texts(op, x, y),
        (a, b) => match (convert::to_double(a), convert::to_double(b)) {
            (Some(x), Some(y)) if op.is_comparison() => bool_value(Some(compare_doubles(op, x, y))),
            (Some(x), Some(y)) => Value::Double(doubles(op, x, y)),
            _ => Value::Null,
        },
    }
}

/// By zero is null.
pub(super) fn longs(op: Op, x: i64, y: i64) -> Option<i64> {
    Some(match op {
        Op::Add => x.wrapping_add(y),
        Op::Sub => x.wrapping_sub(y),
        Op::Mul => x.wrapping_mul(y),
        Op::Div if y == 0 => return None,
        Op::Div => x.wrapping_div(y),
        Op::Rem if y == 0 => return None,
        Op::Rem => x.wrapping_rem(y),
        Op::Pow => power(x, y),
        Op::Lt => i64::from(x < y),
        Op::Le => i64::from(x <= y),
        Op::Gt => i64::from(x > y),
        Op::Ge => i64::from(x >= y),
        Op::Eq => i64::from(x == y),
        Op::Ne => i64::from(x != y),
        Op::And | Op::Or => return None,
    })
}

pub(super) fn power(x: i64, y: i64) -> i64 {
    match u32::try_from(y) {
        Ok(y) => x.wrapping_pow(y),
        Err(_) => (x as f64).powf(y as f64) as i64,
    }
}

pub(super) fn doubles(op: Op, x: f64, y: f64) -> f64 {
    match op {
        Op::Add => x + y,
        Op::Sub => x - y,
        Op::Mul => x * y,
        Op::Div => x / y,
        Op::Rem => x % y,
        Op::Pow => x.powf(y),
        _ => f64::NAN,
    }
}

pub(super) fn compare_doubles(op: Op, x: f64, y: f64) -> bool {
    match op {
        Op::Lt => x < y,
        Op::Le => x <= y,
        Op::Gt => x > y,
        Op::Ge => x >= y,
        Op::Eq => x == y,
        Op::Ne => x != y,
        _ => false,
    }
}

pub(super) fn compare_texts(op: Op, x: &str, y: &str) -> bool {
    match op {
        Op::Lt => x < y,
        Op::Le => x <= y,
        Op::Gt => x > y,
        Op::Ge => x >= y,
        Op::Eq => x == y,
        Op::Ne => x != y,
        _ => false,
    }
}

fn texts(op: Op, x: &str, y: &str) -> Value {
    match op {
        Op::Add if x.len().saturating_add(y.len()) > bounds::VALUE_MAX => Value::Null,
        Op::Add => Value::Text(Arc::from(format!("{x}{y}"))),
        op if op.is_comparison() => bool_value(Some(compare_texts(op, x, y))),
        _ => Value::Null,
    }
}

/// Element by element, nulls first, a shorter list before the longer ones that begin with it.
fn compare_lists(op: Op, x: &[Value], y: &[Value]) -> Value {
    use std::cmp::Ordering;
    let scalars = |a: &Value, b: &Value| match (a, b) {
        (Value::Null, _) | (_, Value::Null) => b.is_null().cmp(&a.is_null()),
        (Value::Long(a), Value::Long(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (a, b) => match (convert::to_double(a), convert::to_double(b)) {
            (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            _ => convert::to_text(a).cmp(&convert::to_text(b)),
        },
    };
    let parts = x.iter().zip(y).map(|(a, b)| scalars(a, b)).find(|order| order.is_ne());
    let order = parts.unwrap_or_else(|| x.len().cmp(&y.len())) as i64;
    bool_value(Some(compare_doubles(op, order as f64, 0.0)))
}

/// Conditionals: which of the arguments is the answer. `arg` evaluates one.
pub(super) fn choose(lazy: Lazy, count: usize, arg: &mut dyn FnMut(usize) -> Value) -> Value {
    match lazy {
        Lazy::If => {
            let holds = convert::truth(&arg(0)) == Some(true);
            arg(if holds { 1 } else { 2 })
        }
        Lazy::Coalesce => {
            for idx in 0..count {
                let value = arg(idx);
                if !value.is_null() {
                    return value;
                }
            }
            Value::Null
        }
        Lazy::CaseSearched => {
            for idx in (0..count.saturating_sub(1)).step_by(2) {
                if convert::truth(&arg(idx)) == Some(true) {
                    return arg(idx + 1);
                }
            }
            if count % 2 == 1 { arg(count - 1) } else { Value::Null }
        }
        Lazy::CaseSimple => {
            let wanted = arg(0);
            for idx in (1..count.saturating_sub(1)).step_by(2) {
                if convert::truth(&binary(Op::Eq, &wanted, &arg(idx))) == Some(true) {
                    return arg(idx + 1);
                }
            }
            if count.is_multiple_of(2) { arg(count - 1) } else { Value::Null }
        }
    }
}

/// Most results of a cartesian product; more become null.
const PRODUCT_MAX: usize = 1 << 16;

pub(super) fn elements(value: &Value) -> Vec<Value> {
    match value {
        Value::List(values) => values.clone(),
        other => vec![other.clone()],
    }
}

fn apply(
    apply: Apply,
    names: &[Arc<str>],
    body: &Node,
    args: &[Value],
    column: &dyn Fn(&str) -> Value,
    work: &Work,
) -> Value {
    // What folding starts with may be null.
    let lists = match apply {
        Apply::Fold | Apply::CartesianFold => &args[..args.len().saturating_sub(1)],
        _ => args,
    };
    if lists.iter().any(Value::is_null) {
        return Value::Null;
    }
    let run = |bound: &[&Value]| -> Value {
        if !work.spend(size_of_val(bound)) {
            return Value::Null;
        }
        let lookup = |wanted: &str| match names.iter().position(|name| &**name == wanted) {
            Some(idx) => bound.get(idx).map_or(Value::Null, |v| (*v).clone()),
            None => column(wanted),
        };
        value(body, &lookup, work)
    };
    let Some(first) = args.first() else { return Value::Null };
    let first = elements(first);
    match apply {
        Apply::Map => bounds::list(first.iter().map(|v| run(&[v]))),
        Apply::Filter => {
            Value::List(first.iter().filter(|v| convert::truth(&run(&[v])) == Some(true)).cloned().collect())
        }
        Apply::Any => bool_value(Some(first.iter().any(|v| convert::truth(&run(&[v])) == Some(true)))),
        Apply::All => bool_value(Some(first.iter().all(|v| convert::truth(&run(&[v])) == Some(true)))),
        Apply::Fold => {
            let start = args.get(1).cloned().unwrap_or_default();
            first.iter().fold(start, |folded, v| run(&[v, &folded]))
        }
        Apply::CartesianMap | Apply::CartesianFold => {
            let lists: Vec<Vec<Value>> = lists.iter().map(elements).collect();
            let total = lists.iter().try_fold(1usize, |n, list| n.checked_mul(list.len())).unwrap_or(usize::MAX);
            if total > PRODUCT_MAX {
                return Value::Null;
            }
            // Nothing comes of the rest once all work is spent.
            let products = (0..total).take_while(|_| !work.is_spent()).map(|mut place| {
                let mut bound = vec![&Value::Null; lists.len()];
                for (idx, list) in lists.iter().enumerate().rev() {
                    bound[idx] = &list[place % list.len()];
                    place /= list.len();
                }
                bound
            });
            match (apply, args.last()) {
                (Apply::CartesianFold, Some(start)) if total > 0 => products.fold(start.clone(), |folded, bound| {
                    run(&bound.into_iter().chain([&folded]).collect::<Vec<&Value>>())
                }),
                // Druid gives the empty list for nothing folded, too.
                _ => bounds::list(products.map(|bound| run(&bound))),
            }
        }
    }
}
