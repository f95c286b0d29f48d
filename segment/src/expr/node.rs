//! The tree of an expression: how it prints, what it reads, what type it has.

use std::fmt;
use std::sync::Arc;

use super::functions::{Function, Prepared, Returns};
use crate::block::Value;
use crate::schema::ValueType;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Pow,
    Mul,
    Div,
    Rem,
    Add,
    Sub,
    Lt,
    Le,
    Gt,
    Ge,
    Eq,
    Ne,
    And,
    Or,
}

impl Op {
    pub fn text(self) -> &'static str {
        match self {
            Op::Pow => "^",
            Op::Mul => "*",
            Op::Div => "/",
            Op::Rem => "%",
            Op::Add => "+",
            Op::Sub => "-",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
            Op::Eq => "==",
            Op::Ne => "!=",
            Op::And => "&&",
            Op::Or => "||",
        }
    }

    pub fn is_arithmetic(self) -> bool {
        matches!(self, Op::Pow | Op::Mul | Op::Div | Op::Rem | Op::Add | Op::Sub)
    }

    pub fn is_comparison(self) -> bool {
        matches!(self, Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::Eq | Op::Ne)
    }
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Literal(Value),
    Column(Arc<str>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Op, Box<Node>, Box<Node>),
    Call {
        function: &'static Function,
        args: Vec<Node>,
        prepared: Option<Prepared>,
    },
    /// Only as the first argument of a function that applies it.
    Lambda {
        names: Vec<Arc<str>>,
        body: Box<Node>,
    },
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        match (self, other) {
            (Node::Literal(a), Node::Literal(b)) => a == b,
            (Node::Column(a), Node::Column(b)) => a == b,
            (Node::Not(a), Node::Not(b)) | (Node::Negate(a), Node::Negate(b)) => a == b,
            (Node::Binary(o, a, b), Node::Binary(p, c, d)) => o == p && a == c && b == d,
            (Node::Call { function: f, args: a, .. }, Node::Call { function: g, args: b, .. }) => {
                f.name == g.name && a == b
            }
            (Node::Lambda { names: n, body: a }, Node::Lambda { names: m, body: b }) => n == m && a == b,
            _ => false,
        }
    }
}

impl Node {
    /// Adds the columns it reads that `into` does not have yet; `bound` are the names that lambdas around it bind.
    pub fn columns<'a>(&'a self, bound: &mut Vec<&'a str>, into: &mut Vec<&'a str>) {
        match self {
            Node::Literal(_) => {}
            Node::Column(name) => {
                if !bound.contains(&&**name) && !into.contains(&&**name) {
                    into.push(name);
                }
            }
            Node::Not(a) | Node::Negate(a) => a.columns(bound, into),
            Node::Binary(_, a, b) => {
                a.columns(bound, into);
                b.columns(bound, into);
            }
            Node::Call { args, .. } => args.iter().for_each(|arg| arg.columns(bound, into)),
            Node::Lambda { names, body } => {
                let depth = bound.len();
                bound.extend(names.iter().map(|name| &**name));
                body.columns(bound, into);
                bound.truncate(depth);
            }
        }
    }

    /// How often a column is read outside lambdas.
    pub fn uses(&self, column: &str) -> usize {
        match self {
            Node::Literal(_) | Node::Lambda { .. } => 0,
            Node::Column(name) => usize::from(&**name == column),
            Node::Not(a) | Node::Negate(a) => a.uses(column),
            Node::Binary(_, a, b) => a.uses(column) + b.uses(column),
            Node::Call { args, .. } => args.iter().map(|arg| arg.uses(column)).sum(),
        }
    }

    pub fn value_type(&self, column: &dyn Fn(&str) -> Option<ValueType>) -> Option<ValueType> {
        match self {
            Node::Literal(value) => match value {
                Value::Long(_) => Some(ValueType::Long),
                Value::Double(_) => Some(ValueType::Double),
                Value::Text(_) | Value::List(_) => Some(ValueType::String),
                Value::Null | Value::Bytes(_) => None,
            },
            Node::Column(name) => column(name).map(widened),
            Node::Not(_) => Some(ValueType::Long),
            Node::Negate(a) => a.value_type(column).map(numeric),
            Node::Binary(op, a, b) if op.is_arithmetic() => {
                let types = [a.value_type(column), b.value_type(column)];
                match types {
                    [Some(ValueType::String), Some(ValueType::String)] if *op == Op::Add => Some(ValueType::String),
                    [Some(a), Some(b)] => common_number([numeric(a), numeric(b)]),
                    [Some(one), None] | [None, Some(one)] => Some(one),
                    [None, None] => None,
                }
            }
            Node::Binary(..) => Some(ValueType::Long),
            Node::Call { function, args, .. } => {
                let types =
                    |args: &[Node]| -> Vec<ValueType> { args.iter().filter_map(|a| a.value_type(column)).collect() };
                match function.returns {
                    Returns::Long => Some(ValueType::Long),
                    Returns::Double => Some(ValueType::Double),
                    Returns::Text => Some(ValueType::String),
                    Returns::Number => common_number(types(args).into_iter().map(numeric)),
                    Returns::Common => common(types(args)),
                    Returns::Branches => common(types(&branches(function.name, args))),
                    Returns::Cast(at) => match args.get(at) {
                        Some(Node::Literal(Value::Text(name))) => ValueType::from_druid_name(name).map(widened),
                        None => Some(ValueType::String),
                        _ => None,
                    },
                    Returns::Unknown => None,
                }
            }
            Node::Lambda { .. } => None,
        }
    }

    /// The nearest a function stands to a plain column.
    pub fn as_column(&self) -> Option<&str> {
        match self {
            Node::Column(name) => Some(name),
            _ => None,
        }
    }
}

/// The arguments that a conditional may answer with.
fn branches(name: &str, args: &[Node]) -> Vec<Node> {
    let odd = |from: usize| -> Vec<Node> {
        let rest = args.get(from..).unwrap_or(&[]);
        let last = rest.len().wrapping_sub(1);
        let chosen = rest.iter().enumerate().filter(|(idx, _)| idx % 2 == 1 || (*idx == last && idx % 2 == 0));
        chosen.map(|(_, arg)| arg.clone()).collect()
    };
    match name {
        "if" => args.get(1..).unwrap_or(&[]).to_vec(),
        "case_searched" => odd(0),
        _ => odd(1),
    }
}

/// Expressions have no floats.
fn widened(value_type: ValueType) -> ValueType {
    if value_type == ValueType::Float { ValueType::Double } else { value_type }
}

fn numeric(value_type: ValueType) -> ValueType {
    if value_type == ValueType::Long { ValueType::Long } else { ValueType::Double }
}

fn common_number(types: impl IntoIterator<Item = ValueType>) -> Option<ValueType> {
    types.into_iter().reduce(|a, b| if a == b { a } else { ValueType::Double })
}

fn common(types: Vec<ValueType>) -> Option<ValueType> {
    types.into_iter().reduce(|a, b| match (a.is_numeric(), b.is_numeric()) {
        _ if a == b => a,
        (true, true) => ValueType::Double,
        _ => ValueType::String,
    })
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Literal(value) => literal(value, f),
            Node::Column(name) => quoted(name, '"', f),
            Node::Not(a) => write!(f, "!{a}"),
            Node::Negate(a) => write!(f, "-{a}"),
            Node::Binary(op, a, b) => write!(f, "({a} {} {b})", op.text()),
            Node::Call { function, args, .. } => {
                write!(f, "{}(", function.name)?;
                for (idx, arg) in args.iter().enumerate() {
                    if idx > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{arg}")?;
                }
                f.write_str(")")
            }
            Node::Lambda { names, body } => {
                f.write_str("(")?;
                for (idx, name) in names.iter().enumerate() {
                    if idx > 0 {
                        f.write_str(", ")?;
                    }
                    quoted(name, '"', f)?;
                }
                write!(f, ") -> {body}")
            }
        }
    }
}

fn literal(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Null | Value::Bytes(_) => f.write_str("null"),
        Value::Long(v) => write!(f, "{v}"),
        Value::Double(v) if v.is_nan() => f.write_str("NaN"),
        Value::Double(v) if v.is_infinite() => f.write_str(if *v > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Double(v) => write!(f, "{v:?}"),
        Value::Text(text) => quoted(text, '\'', f),
        Value::List(values) => {
            f.write_str("[")?;
            for (idx, value) in values.iter().enumerate() {
                if idx > 0 {
                    f.write_str(", ")?;
                }
                literal(value, f)?;
            }
            f.write_str("]")
        }
    }
}

fn quoted(text: &str, quote: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write;
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if (c as u32) < 0x20 => write!(f, "\\u{:04X}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}
