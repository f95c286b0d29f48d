//! The tree of an expression: how it prints, what it reads, what type it has.

use std::fmt;
use std::sync::Arc;

use super::functions::{Function, Makes, Prepared, Returns};
use crate::block::Value;
use crate::lookup::Lookup;
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
    /// The parts that `&&` joins.
    pub fn conjuncts<'a>(&'a self, into: &mut Vec<&'a Node>) {
        match self {
            Node::Binary(Op::And, left, right) => {
                left.conjuncts(into);
                right.conjuncts(into);
            }
            Node::Call { function, args, .. } if function.name == "and" => {
                args.iter().for_each(|arg| arg.conjuncts(into));
            }
            part => into.push(part),
        }
    }

    /// Whether the value may be a list, given whether those of columns may be. Where it is not known it may.
    pub fn may_be_list(&self, column: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Node::Literal(value) => matches!(value, Value::List(_)),
            Node::Column(name) => column(name),
            Node::Not(a) | Node::Negate(a) => a.may_be_list(column),
            Node::Binary(_, a, b) => a.may_be_list(column) || b.may_be_list(column),
            // The last argument may name an array as the type.
            Node::Call { function, args, .. } if matches!(function.name, "cast" | "json_value") => {
                let array = |arg: &Node| matches!(arg, Node::Literal(Value::Text(name)) if name.to_ascii_uppercase().contains("ARRAY"));
                args.last().is_some_and(array) || (function.name == "cast" && args[0].may_be_list(column))
            }
            Node::Call { function, args, .. } => match function.makes() {
                Makes::One => false,
                Makes::List => true,
                Makes::AsArguments => args.iter().any(|arg| arg.may_be_list(column)),
            },
            Node::Lambda { .. } => false,
        }
    }

    /// The sides of an equality, and whether null equals null.
    pub fn equality(&self) -> Option<(&Node, &Node, bool)> {
        match self {
            Node::Binary(Op::Eq, left, right) => Some((left, right, false)),
            Node::Call { function, args, .. } if function.name == "notdistinctfrom" => match args.as_slice() {
                [left, right] => Some((left, right, true)),
                _ => None,
            },
            _ => None,
        }
    }

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

    /// The lookups that it reads, in the order in which it names them.
    pub fn lookups<'a>(&'a self, into: &mut Vec<&'a Arc<Lookup>>) {
        match self {
            Node::Literal(_) | Node::Column(_) => {}
            Node::Not(a) | Node::Negate(a) => a.lookups(into),
            Node::Binary(_, a, b) => {
                a.lookups(into);
                b.lookups(into);
            }
            Node::Call { args, prepared, .. } => {
                if let Some(Prepared::Lookup(lookup, _)) = prepared {
                    into.push(lookup);
                }
                args.iter().for_each(|arg| arg.lookups(into));
            }
            Node::Lambda { body, .. } => body.lookups(into),
        }
    }

    /// The same with other nodes where it reads columns; `bound` as for [`Node::columns`].
    pub fn replaced(&self, bound: &mut Vec<Arc<str>>, column: &dyn Fn(&str) -> Option<Node>) -> Node {
        match self {
            Node::Literal(_) => self.clone(),
            Node::Column(name) if bound.contains(name) => self.clone(),
            Node::Column(name) => column(name).unwrap_or_else(|| self.clone()),
            Node::Not(a) => Node::Not(Box::new(a.replaced(bound, column))),
            Node::Negate(a) => Node::Negate(Box::new(a.replaced(bound, column))),
            Node::Binary(op, a, b) => {
                Node::Binary(*op, Box::new(a.replaced(bound, column)), Box::new(b.replaced(bound, column)))
            }
            Node::Call { function, args, prepared } => Node::Call {
                function,
                args: args.iter().map(|arg| arg.replaced(bound, column)).collect(),
                prepared: prepared.clone(),
            },
            Node::Lambda { names, body } => {
                let depth = bound.len();
                bound.extend(names.iter().cloned());
                let body = Box::new(body.replaced(bound, column));
                bound.truncate(depth);
                Node::Lambda { names: names.clone(), body }
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

    pub fn kind(&self, column: &dyn Fn(&str) -> Option<ValueType>) -> Kind {
        match self {
            Node::Literal(value) => match value {
                Value::Long(_) => Kind::Is(ValueType::Long),
                Value::Double(_) => Kind::Is(ValueType::Double),
                Value::Text(_) | Value::List(_) => Kind::Is(ValueType::String),
                Value::Null => Kind::Null,
                Value::Json(_) => Kind::Is(ValueType::json()),
                Value::Bytes(_) => Kind::Unknown,
            },
            Node::Column(name) => column(name).map_or(Kind::Null, Kind::Is).widened(),
            Node::Not(_) => Kind::Is(ValueType::Long),
            Node::Negate(a) => a.kind(column).numeric(),
            Node::Binary(op, a, b) if op.is_arithmetic() => match (a.kind(column), b.kind(column)) {
                (Kind::Is(ValueType::String), Kind::Is(ValueType::String)) if *op == Op::Add => {
                    Kind::Is(ValueType::String)
                }
                (Kind::Unknown, _) | (_, Kind::Unknown) => Kind::Unknown,
                (Kind::Null, one) | (one, Kind::Null) => one,
                (a, b) => a.numeric().with(b.numeric()),
            },
            Node::Binary(..) => Kind::Is(ValueType::Long),
            Node::Call { function, args, .. } => {
                let kinds = args.iter().map(|arg| arg.kind(column));
                match function.returns {
                    Returns::Long => Kind::Is(ValueType::Long),
                    Returns::Double => Kind::Is(ValueType::Double),
                    Returns::Text => Kind::Is(ValueType::String),
                    Returns::Json => Kind::Is(ValueType::json()),
                    Returns::Number => kinds.map(Kind::numeric).reduce(Kind::with).unwrap_or(Kind::Null),
                    Returns::Common => kinds.reduce(Kind::with).unwrap_or(Kind::Null),
                    Returns::Branches => {
                        let chosen = kinds.enumerate().filter(|(idx, _)| is_branch(function.name, args.len(), *idx));
                        chosen.map(|(_, kind)| kind).reduce(Kind::with).unwrap_or(Kind::Null)
                    }
                    Returns::Cast(at) => match args.get(at) {
                        Some(Node::Literal(Value::Text(name))) => {
                            ValueType::from_druid_name(name).map_or(Kind::Unknown, Kind::Is).widened()
                        }
                        None => Kind::Is(ValueType::String),
                        Some(_) => Kind::Unknown,
                    },
                    Returns::Unknown => Kind::Unknown,
                }
            }
            Node::Lambda { .. } => Kind::Unknown,
        }
    }

    pub fn as_column(&self) -> Option<&str> {
        match self {
            Node::Column(name) => Some(name),
            _ => None,
        }
    }
}

/// Whether a conditional may answer with this one of its arguments.
fn is_branch(name: &str, count: usize, idx: usize) -> bool {
    match name {
        "if" => idx > 0,
        // Conditions and answers take turns; the last, if it has no partner, is the answer for all others.
        "case_searched" => idx % 2 == 1 || idx + 1 == count,
        _ => idx > 0 && (idx.is_multiple_of(2) || idx + 1 == count),
    }
}

/// What is known of a type ahead.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Always null.
    Null,
    Unknown,
    Is(ValueType),
}

impl Kind {
    pub fn known(self) -> Option<ValueType> {
        match self {
            Kind::Is(value_type) => Some(value_type),
            Kind::Null | Kind::Unknown => None,
        }
    }

    /// Expressions have no floats.
    fn widened(self) -> Kind {
        if self == Kind::Is(ValueType::Float) { Kind::Is(ValueType::Double) } else { self }
    }

    fn numeric(self) -> Kind {
        match self {
            Kind::Is(ValueType::Long) => Kind::Is(ValueType::Long),
            Kind::Is(_) => Kind::Is(ValueType::Double),
            other => other,
        }
    }

    /// What both can be.
    fn with(self, other: Kind) -> Kind {
        match (self, other) {
            (Kind::Unknown, _) | (_, Kind::Unknown) => Kind::Unknown,
            (Kind::Null, one) | (one, Kind::Null) => one,
            (a, b) if a == b => a,
            (Kind::Is(a), Kind::Is(b)) if a.is_numeric() && b.is_numeric() => Kind::Is(ValueType::Double),
            _ => Kind::Is(ValueType::String),
        }
    }
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
        Value::Json(text) => write!(f, "parse_json({:?})", &**text),
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
