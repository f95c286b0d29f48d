//! Evaluating a tree for the rows of a block. Constants stay single values, numbers are computed in tight loops that
//! write over the buffers of their operands, and the type is decided once a block. What has no such form goes through
//! [`super::row`], node by node.

use std::cell::RefCell;
use std::sync::Arc;

use super::bounds::{self, Work};
use super::convert;
use super::functions::{Apply, Body, Function, Lazy, Prepared};
use super::node::{Node, Op};
use super::{Inputs, row};
use crate::block::{Block, Value};
use crate::schema::ValueType;

/// A result on the way: one value for all rows, or one each.
#[derive(Debug, Clone)]
enum Operand {
    Const(Value),
    Rows(Block),
}

impl Operand {
    fn value(&self, row: usize) -> Value {
        match self {
            Operand::Const(value) => value.clone(),
            Operand::Rows(block) => block.value(row),
        }
    }
}

pub(super) struct Evaluation<'a> {
    inputs: &'a dyn Inputs,
    rows: usize,
    /// Columns that are read more than once, as far as they have been.
    kept: RefCell<Vec<(Arc<str>, Operand)>>,
    root: &'a Node,
    work: &'a Work,
}

/// All rows of the inputs; nulls if that is more than the work allows.
pub(super) fn block(node: &Node, inputs: &dyn Inputs, work: &Work) -> Block {
    let evaluation = Evaluation { inputs, rows: inputs.len(), kept: RefCell::default(), root: node, work };
    let (operand, rows) = (evaluation.operand(node), evaluation.rows);
    // Each row has a list of its own.
    if let Operand::Const(value @ Value::List(_)) = &operand {
        work.keep(bounds::outside(value).saturating_mul(rows));
    }
    match operand {
        _ if work.is_spent() => constant(Value::Null, rows),
        Operand::Rows(Block::Any { values }) => settle(values, true),
        Operand::Rows(block) => block,
        Operand::Const(value) => constant(value, rows),
    }
}

fn constant(value: Value, rows: usize) -> Block {
    match value {
        Value::Long(v) => Block::Long { values: vec![v; rows], nulls: None },
        Value::Double(v) => Block::Double { values: vec![v; rows], nulls: None },
        Value::Text(text) => Block::Text { values: vec![Some(text); rows] },
        Value::Null => Block::Long { values: vec![0; rows], nulls: Some(vec![true; rows]) },
        value => Block::Any { values: vec![value; rows] },
    }
}

/// A block of one type if the values have one. Numbers of both kinds become doubles if `promote`.
fn settle(values: Vec<Value>, promote: bool) -> Block {
    let (mut longs, mut doubles, mut texts, mut nulls) = (0, 0, 0, 0);
    for value in &values {
        match value {
            Value::Long(_) => longs += 1,
            Value::Double(_) => doubles += 1,
            Value::Text(_) => texts += 1,
            Value::Null => nulls += 1,
            Value::List(_) | Value::Json(_) | Value::Bytes(_) => return Block::Any { values },
        }
    }
    let mask = |values: &[Value]| (nulls > 0).then(|| values.iter().map(Value::is_null).collect());
    match (longs > 0, doubles > 0, texts > 0) {
        (_, false, false) => {
            let nulls = mask(&values);
            let long = |v: &Value| if let Value::Long(v) = v { *v } else { 0 };
            Block::Long { values: values.iter().map(long).collect(), nulls }
        }
        (mixed, true, false) if promote || !mixed => {
            let nulls = mask(&values);
            Block::Double { values: values.iter().map(|v| convert::to_double(v).unwrap_or(0.0)).collect(), nulls }
        }
        (false, false, true) => {
            let text = |v: Value| if let Value::Text(text) = v { Some(text) } else { None };
            Block::Text { values: values.into_iter().map(text).collect() }
        }
        _ => Block::Any { values },
    }
}

type Nulls = Option<Vec<bool>>;

/// Numbers of an operand.
enum Numbers {
    Longs(Vec<i64>, Nulls),
    Doubles(Vec<f64>, Nulls),
    Long(i64),
    Double(f64),
}

impl Numbers {
    fn of(operand: Operand) -> Result<Numbers, Operand> {
        match operand {
            Operand::Const(Value::Long(v)) => Ok(Numbers::Long(v)),
            Operand::Const(Value::Double(v)) => Ok(Numbers::Double(v)),
            Operand::Rows(Block::Long { values, nulls }) => Ok(Numbers::Longs(values, nulls)),
            Operand::Rows(Block::Double { values, nulls }) => Ok(Numbers::Doubles(values, nulls)),
            other => Err(other),
        }
    }

    fn is_long(&self) -> bool {
        matches!(self, Numbers::Longs(..) | Numbers::Long(_))
    }

    fn doubles(self) -> Side<f64> {
        match self {
            Numbers::Longs(values, nulls) => Side::Rows(values.into_iter().map(|v| v as f64).collect(), nulls),
            Numbers::Doubles(values, nulls) => Side::Rows(values, nulls),
            Numbers::Long(v) => Side::One(v as f64),
            Numbers::Double(v) => Side::One(v),
        }
    }

    /// Only of longs.
    fn longs(self) -> Side<i64> {
        match self {
            Numbers::Longs(values, nulls) => Side::Rows(values, nulls),
            Numbers::Long(v) => Side::One(v),
            Numbers::Doubles(values, nulls) => Side::Rows(values.into_iter().map(|v| v as i64).collect(), nulls),
            Numbers::Double(v) => Side::One(v as i64),
        }
    }

    fn operand(self) -> Operand {
        match self {
            Numbers::Longs(values, nulls) => Operand::Rows(Block::Long { values, nulls }),
            Numbers::Doubles(values, nulls) => Operand::Rows(Block::Double { values, nulls }),
            Numbers::Long(v) => Operand::Const(Value::Long(v)),
            Numbers::Double(v) => Operand::Const(Value::Double(v)),
        }
    }
}

/// One operand of a binary operation on numbers of a kind.
enum Side<T> {
    One(T),
    Rows(Vec<T>, Nulls),
}

fn either(a: Nulls, b: Nulls) -> Nulls {
    match (a, b) {
        (Some(mut a), Some(b)) => {
            a.iter_mut().zip(b).for_each(|(a, b)| *a |= b);
            Some(a)
        }
        (a, b) => a.or(b),
    }
}

/// Writes over the left rows, or the right ones.
fn over<T: Copy>(a: Side<T>, b: Side<T>, rows: usize, f: impl Fn(T, T) -> T) -> (Vec<T>, Nulls) {
    match (a, b) {
        (Side::Rows(mut x, n), Side::Rows(y, m)) => {
            x.iter_mut().zip(&y).for_each(|(x, y)| *x = f(*x, *y));
            (x, either(n, m))
        }
        (Side::Rows(mut x, n), Side::One(y)) => {
            x.iter_mut().for_each(|x| *x = f(*x, y));
            (x, n)
        }
        (Side::One(x), Side::Rows(mut y, m)) => {
            y.iter_mut().for_each(|y| *y = f(x, *y));
            (y, m)
        }
        (Side::One(x), Side::One(y)) => (vec![f(x, y); rows], None),
    }
}

/// Into new rows of another kind.
fn across<T: Copy, U: Copy>(a: Side<T>, b: Side<T>, rows: usize, f: impl Fn(T, T) -> U) -> (Vec<U>, Nulls) {
    match (a, b) {
        (Side::Rows(x, n), Side::Rows(y, m)) => (x.iter().zip(&y).map(|(x, y)| f(*x, *y)).collect(), either(n, m)),
        (Side::Rows(x, n), Side::One(y)) => (x.iter().map(|x| f(*x, y)).collect(), n),
        (Side::One(x), Side::Rows(y, m)) => (y.iter().map(|y| f(x, *y)).collect(), m),
        (Side::One(x), Side::One(y)) => (vec![f(x, y); rows], None),
    }
}

impl Evaluation<'_> {
    fn operand(&self, node: &Node) -> Operand {
        match node {
            Node::Literal(value) => Operand::Const(value.clone()),
            Node::Column(name) => self.column(name),
            Node::Not(a) => self.not(self.operand(a)),
            Node::Negate(a) => self.negate(self.operand(a)),
            Node::Binary(op @ (Op::And | Op::Or), a, b) => self.logic(*op, self.operand(a), self.operand(b)),
            Node::Binary(op, a, b) => self.binary(*op, self.operand(a), self.operand(b)),
            Node::Call { function, args, prepared } => self.call(function, args, prepared.as_ref(), node),
            Node::Lambda { .. } => Operand::Const(Value::Null),
        }
    }

    fn column(&self, name: &Arc<str>) -> Operand {
        if let Some((_, kept)) = self.kept.borrow().iter().find(|(known, _)| known == name) {
            return self.again(kept);
        }
        let operand = match self.inputs.column(name) {
            None => Operand::Const(Value::Null),
            Some(Block::Any { values }) => Operand::Rows(settle(values, false)),
            Some(block) => Operand::Rows(block),
        };
        if self.root.uses(name) > 1 {
            self.kept.borrow_mut().push((name.clone(), operand.clone()));
        }
        operand
    }

    /// A copy of a column that is read more than once.
    fn again(&self, operand: &Operand) -> Operand {
        let bytes = match operand {
            Operand::Const(_) => 0,
            Operand::Rows(Block::Any { values }) => values.iter().map(bounds::size).fold(0, usize::saturating_add),
            Operand::Rows(block) => block.len().saturating_mul(size_of::<Option<Arc<str>>>()),
        };
        if self.work.keep(bytes) { operand.clone() } else { Operand::Const(Value::Null) }
    }

    /// The values of all rows. None is made once the work is spent.
    fn collected(&self, values: impl Iterator<Item = Value>) -> Operand {
        let mut made: Vec<Value> = Vec::with_capacity(self.rows);
        for value in values {
            if !self.work.keep(bounds::outside(&value)) {
                return Operand::Const(Value::Null);
            }
            made.push(value);
        }
        Operand::Rows(settle(made, false))
    }

    /// Row by row, from values of the operands.
    fn each(&self, operands: &[Operand], body: impl Fn(&[Value]) -> Value) -> Operand {
        if operands.iter().all(|o| matches!(o, Operand::Const(_))) {
            let args: Vec<Value> = operands.iter().map(|o| o.value(0)).collect();
            return Operand::Const(body(&args));
        }
        let mut args: Vec<Value> =
            operands.iter().map(|o| if let Operand::Const(v) = o { v.clone() } else { Value::Null }).collect();
        let moving: Vec<(usize, &Block)> = operands
            .iter()
            .enumerate()
            .filter_map(|(idx, o)| if let Operand::Rows(block) = o { Some((idx, block)) } else { None })
            .collect();
        self.collected((0..self.rows).map(|row| {
            for (idx, block) in &moving {
                args[*idx] = block.value(row);
            }
            body(&args)
        }))
    }

    fn not(&self, a: Operand) -> Operand {
        match self.truth(a) {
            Ok((mut values, nulls)) => {
                values.iter_mut().for_each(|v| *v = 1 - *v);
                Operand::Rows(Block::Long { values, nulls })
            }
            Err(other) => self.each(&[other], |args| row::not(&args[0])),
        }
    }

    fn negate(&self, a: Operand) -> Operand {
        match a {
            Operand::Rows(Block::Long { mut values, nulls }) => {
                values.iter_mut().for_each(|v| *v = v.wrapping_neg());
                Operand::Rows(Block::Long { values, nulls })
            }
            Operand::Rows(Block::Double { mut values, nulls }) => {
                values.iter_mut().for_each(|v| *v = -*v);
                Operand::Rows(Block::Double { values, nulls })
            }
            other => self.each(&[other], |args| row::negate(&args[0])),
        }
    }

    /// Ones and zeros of rows of numbers or text.
    fn truth(&self, a: Operand) -> Result<(Vec<i64>, Nulls), Operand> {
        match a {
            Operand::Rows(Block::Long { mut values, nulls }) => {
                values.iter_mut().for_each(|v| *v = i64::from(*v > 0));
                Ok((values, nulls))
            }
            Operand::Rows(Block::Double { values, nulls }) => {
                Ok((values.iter().map(|v| i64::from(*v > 0.0)).collect(), nulls))
            }
            Operand::Rows(Block::Text { values }) => {
                let is_true = |text: &Option<Arc<str>>| text.as_ref().is_some_and(|t| t.eq_ignore_ascii_case("true"));
                let nulls = values.iter().any(Option::is_none).then(|| values.iter().map(Option::is_none).collect());
                Ok((values.iter().map(|text| i64::from(is_true(text))).collect(), nulls))
            }
            other => Err(other),
        }
    }

    /// Ones, zeros and nulls of any operand.
    fn truth_of_any(&self, a: Operand) -> (Vec<i64>, Nulls) {
        let (rows, settled) = (self.rows, self.truth(a));
        settled.unwrap_or_else(|other| {
            let answers: Vec<Option<bool>> = (0..rows).map(|row| convert::truth(&other.value(row))).collect();
            let nulls = answers.iter().any(Option::is_none).then(|| answers.iter().map(Option::is_none).collect());
            (answers.iter().map(|v| i64::from(*v == Some(true))).collect(), nulls)
        })
    }

    fn logic(&self, op: Op, a: Operand, b: Operand) -> Operand {
        if let (Operand::Const(a), Operand::Const(b)) = (&a, &b) {
            return Operand::Const(row::logic(op, a, b));
        }
        let (mut x, n) = self.truth_of_any(a);
        let (y, m) = self.truth_of_any(b);
        if n.is_none() && m.is_none() {
            if op == Op::And {
                x.iter_mut().zip(&y).for_each(|(x, y)| *x &= y);
            } else {
                x.iter_mut().zip(&y).for_each(|(x, y)| *x |= y);
            }
            return Operand::Rows(Block::Long { values: x, nulls: None });
        }
        let known = |nulls: &Nulls, row: usize, v: i64| {
            let null = nulls.as_ref().is_some_and(|nulls| nulls[row]);
            (!null).then_some(v != 0)
        };
        let mut nulls = vec![false; self.rows];
        for row in 0..self.rows {
            let answer = row::logic_of(op, known(&n, row, x[row]), known(&m, row, y[row]));
            x[row] = i64::from(answer == Some(true));
            nulls[row] = answer.is_none();
        }
        Operand::Rows(Block::Long { values: x, nulls: Some(nulls) })
    }

    fn binary(&self, op: Op, a: Operand, b: Operand) -> Operand {
        match (&a, &b) {
            (Operand::Const(a), Operand::Const(b)) => return Operand::Const(row::binary(op, a, b)),
            (Operand::Const(Value::Null), _) | (_, Operand::Const(Value::Null)) => return Operand::Const(Value::Null),
            (Operand::Rows(Block::Text { values }), Operand::Const(Value::Text(text))) if op.is_comparison() => {
                return compare_text(values, |_| Some(text), op);
            }
            (Operand::Rows(Block::Text { values: x }), Operand::Rows(Block::Text { values: y }))
                if op.is_comparison() =>
            {
                return compare_text(x, |row| y[row].as_ref(), op);
            }
            _ => {}
        }
        let (a, b) = match (Numbers::of(a), Numbers::of(b)) {
            (Ok(a), Ok(b)) => (a, b),
            (a, b) => {
                let back = |n: Result<Numbers, Operand>| n.map_or_else(|other| other, Numbers::operand);
                return self.each(&[back(a), back(b)], |args| row::binary(op, &args[0], &args[1]));
            }
        };
        if a.is_long() && b.is_long() {
            self.longs(op, a.longs(), b.longs())
        } else {
            self.doubles(op, a.doubles(), b.doubles())
        }
    }

    fn longs(&self, op: Op, a: Side<i64>, b: Side<i64>) -> Operand {
        let rows = self.rows;
        let (values, nulls) = match op {
            Op::Add => over(a, b, rows, i64::wrapping_add),
            Op::Sub => over(a, b, rows, i64::wrapping_sub),
            Op::Mul => over(a, b, rows, i64::wrapping_mul),
            Op::Pow => over(a, b, rows, row::power),
            Op::Lt => over(a, b, rows, |x, y| i64::from(x < y)),
            Op::Le => over(a, b, rows, |x, y| i64::from(x <= y)),
            Op::Gt => over(a, b, rows, |x, y| i64::from(x > y)),
            Op::Ge => over(a, b, rows, |x, y| i64::from(x >= y)),
            Op::Eq => over(a, b, rows, |x, y| i64::from(x == y)),
            Op::Ne => over(a, b, rows, |x, y| i64::from(x != y)),
            Op::Div | Op::Rem | Op::And | Op::Or => {
                let zeros = match &b {
                    Side::One(0) => return Operand::Const(Value::Null),
                    Side::One(_) => None,
                    Side::Rows(values, _) => {
                        values.contains(&0).then(|| values.iter().map(|v| *v == 0).collect::<Vec<bool>>())
                    }
                };
                let whole = |y: i64| if y == 0 { 1 } else { y };
                let (values, nulls) = if op == Op::Div {
                    over(a, b, rows, |x, y| x.wrapping_div(whole(y)))
                } else {
                    over(a, b, rows, |x, y| x.wrapping_rem(whole(y)))
                };
                (values, either(nulls, zeros))
            }
        };
        Operand::Rows(Block::Long { values, nulls })
    }

    fn doubles(&self, op: Op, a: Side<f64>, b: Side<f64>) -> Operand {
        let rows = self.rows;
        if op.is_comparison() {
            let (values, nulls) = match op {
                Op::Lt => across(a, b, rows, |x, y| i64::from(x < y)),
                Op::Le => across(a, b, rows, |x, y| i64::from(x <= y)),
                Op::Gt => across(a, b, rows, |x, y| i64::from(x > y)),
                Op::Ge => across(a, b, rows, |x, y| i64::from(x >= y)),
                Op::Eq => across(a, b, rows, |x, y| i64::from(x == y)),
                _ => across(a, b, rows, |x, y| i64::from(x != y)),
            };
            return Operand::Rows(Block::Long { values, nulls });
        }
        let (values, nulls) = match op {
            Op::Add => over(a, b, rows, |x, y| x + y),
            Op::Sub => over(a, b, rows, |x, y| x - y),
            Op::Mul => over(a, b, rows, |x, y| x * y),
            Op::Div => over(a, b, rows, |x, y| x / y),
            _ => over(a, b, rows, move |x, y| row::doubles(op, x, y)),
        };
        Operand::Rows(Block::Double { values, nulls })
    }

    fn call(&self, function: &'static Function, args: &[Node], prepared: Option<&Prepared>, node: &Node) -> Operand {
        match &function.body {
            Body::Apply(apply) => return self.apply(*apply, args, node),
            Body::Lazy(Lazy::If) => {
                let condition = self.operand(&args[0]);
                return self.select(condition, &args[1], &args[2]);
            }
            _ => {}
        }
        let operands: Vec<Operand> = args.iter().map(|arg| self.operand(arg)).collect();
        match (&function.body, prepared) {
            (Body::Lazy(lazy), _) => {
                self.each(&operands, |args| row::choose(*lazy, args.len(), &mut |idx| args[idx].clone()))
            }
            (Body::Real(body), _) => {
                match Numbers::of(operands.into_iter().next().unwrap_or(Operand::Const(Value::Null))) {
                    Ok(numbers) => match numbers.doubles() {
                        Side::One(v) => Operand::Const(Value::Double(body(v))),
                        Side::Rows(mut values, nulls) => {
                            values.iter_mut().for_each(|v| *v = body(*v));
                            Operand::Rows(Block::Double { values, nulls })
                        }
                    },
                    Err(other) => self.each(&[other], |args| row::call(function, prepared, args)),
                }
            }
            (_, Some(Prepared::Floor(granularity))) => match operands.first() {
                Some(Operand::Rows(Block::Long { values, nulls })) => {
                    let mut out = vec![0; values.len()];
                    granularity.floor_all(values, &mut out);
                    Operand::Rows(Block::Long { values: out, nulls: nulls.clone() })
                }
                _ => self.each(&operands, |args| row::call(function, prepared, args)),
            },
            (_, Some(Prepared::Extract(unit, zone))) => match operands.into_iter().next() {
                Some(Operand::Rows(Block::Long { mut values, nulls })) => {
                    values.iter_mut().for_each(|v| *v = unit.of(*v, zone));
                    Operand::Rows(Block::Long { values, nulls })
                }
                other => self.each(&other.into_iter().collect::<Vec<_>>(), |args| row::call(function, prepared, args)),
            },
            _ if function.name == "cast" => self.cast(function, prepared, args, operands),
            _ => self.each(&operands, |values| row::joined(function, prepared, args, values)),
        }
    }

    fn cast(
        &self,
        function: &'static Function,
        prepared: Option<&Prepared>,
        args: &[Node],
        mut operands: Vec<Operand>,
    ) -> Operand {
        let wanted = match args.get(1) {
            Some(Node::Literal(Value::Text(name))) => ValueType::from_druid_name(name),
            _ => None,
        };
        let first = operands.swap_remove(0);
        match (wanted, first) {
            (Some(ValueType::Long), Operand::Rows(Block::Long { values, nulls })) => {
                Operand::Rows(Block::Long { values, nulls })
            }
            (Some(ValueType::Long), Operand::Rows(Block::Double { values, nulls })) => {
                Operand::Rows(Block::Long { values: values.iter().map(|v| *v as i64).collect(), nulls })
            }
            (Some(ValueType::Double | ValueType::Float), Operand::Rows(Block::Long { values, nulls })) => {
                Operand::Rows(Block::Double { values: values.iter().map(|v| *v as f64).collect(), nulls })
            }
            (Some(ValueType::Double | ValueType::Float), Operand::Rows(Block::Double { values, nulls })) => {
                Operand::Rows(Block::Double { values, nulls })
            }
            (Some(ValueType::String), Operand::Rows(Block::Text { values })) => Operand::Rows(Block::Text { values }),
            (_, first) => self.each(&[first], |args| row::call(function, prepared, args)),
        }
    }

    fn select(&self, condition: Operand, yes: &Node, no: &Node) -> Operand {
        if let Operand::Const(value) = &condition {
            return self.operand(if convert::truth(value) == Some(true) { yes } else { no });
        }
        let (mut holds, nulls) = self.truth_of_any(condition);
        if let Some(nulls) = nulls {
            holds.iter_mut().zip(nulls).for_each(|(v, null)| *v &= i64::from(!null));
        }
        let (yes, no) = (Numbers::of(self.operand(yes)), Numbers::of(self.operand(no)));
        match (yes, no) {
            (Ok(yes), Ok(no)) if yes.is_long() && no.is_long() => {
                let (values, nulls) = mix(&holds, yes.longs(), no.longs());
                Operand::Rows(Block::Long { values, nulls })
            }
            (Ok(yes), Ok(no)) if !yes.is_long() && !no.is_long() => {
                let (values, nulls) = mix(&holds, yes.doubles(), no.doubles());
                Operand::Rows(Block::Double { values, nulls })
            }
            (yes, no) => {
                let back = |n: Result<Numbers, Operand>| n.map_or_else(|other| other, Numbers::operand);
                let (yes, no) = (back(yes), back(no));
                let pick = |(row, v): (usize, &i64)| if *v != 0 { yes.value(row) } else { no.value(row) };
                self.collected(holds.iter().enumerate().map(pick))
            }
        }
    }

    /// Row by row: the lambda sees the columns of its row.
    fn apply(&self, _: Apply, args: &[Node], node: &Node) -> Operand {
        let mut names = Vec::new();
        args.iter().for_each(|arg| arg.columns(&mut Vec::new(), &mut names));
        let columns: Vec<(&str, Operand)> =
            names.into_iter().map(|name| (name, self.column(&Arc::from(name)))).collect();
        let at = |wanted: &str, row: usize| {
            columns.iter().find(|(name, _)| *name == wanted).map_or(Value::Null, |(_, operand)| operand.value(row))
        };
        if columns.iter().all(|(_, operand)| matches!(operand, Operand::Const(_))) {
            return Operand::Const(row::evaluate(node, &|name| at(name, 0)).0);
        }
        self.collected((0..self.rows).map(|row| {
            let (value, spent) = row::evaluate(node, &|name| at(name, row));
            self.work.spend(spent);
            value
        }))
    }
}

fn compare_text<'a>(x: &'a [Option<Arc<str>>], y: impl Fn(usize) -> Option<&'a Arc<str>>, op: Op) -> Operand {
    let mut values = Vec::with_capacity(x.len());
    let mut nulls = Vec::with_capacity(x.len());
    for (row, x) in x.iter().enumerate() {
        let answer = match (x, y(row)) {
            (Some(x), Some(y)) => Some(row::compare_texts(op, x, y)),
            _ => None,
        };
        values.push(i64::from(answer == Some(true)));
        nulls.push(answer.is_none());
    }
    let nulls = nulls.contains(&true).then_some(nulls);
    Operand::Rows(Block::Long { values, nulls })
}

/// Where `holds` is not zero the left value, else the right.
fn mix<T: Copy + Default>(holds: &[i64], yes: Side<T>, no: Side<T>) -> (Vec<T>, Nulls) {
    let at = |side: &Side<T>, row: usize| match side {
        Side::One(v) => *v,
        Side::Rows(values, _) => values[row],
    };
    let null = |side: &Side<T>, row: usize| matches!(side, Side::Rows(_, Some(nulls)) if nulls[row]);
    let values = holds.iter().enumerate().map(|(row, v)| if *v != 0 { at(&yes, row) } else { at(&no, row) }).collect();
    let any = matches!(&yes, Side::Rows(_, Some(_))) || matches!(&no, Side::Rows(_, Some(_)));
    let nulls = any.then(|| {
        holds.iter().enumerate().map(|(row, v)| if *v != 0 { null(&yes, row) } else { null(&no, row) }).collect()
    });
    (values, nulls)
}
