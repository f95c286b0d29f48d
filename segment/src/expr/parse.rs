//! Text to tree. Precedence, from tightest: unary `! -`; `^` (from the right); `* / %`; `+ -`; comparisons; `&&` and `||`
//! alike. Both the nesting of the text and the depth of the tree are limited, so that neither parsing nor evaluating can
//! overflow a stack.

use std::sync::Arc;

use super::convert;
use super::functions::{self, Body, Function};
use super::node::{Node, Op};
use crate::block::Value;
use crate::error::{Error, Result};
use crate::schema::ValueType;

/// Levels of a tree. A frame of evaluation takes well below 1 KiB; threads have at least 1 MiB of stack.
const DEPTH_MAX: usize = 250;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Long(String),
    Double(f64),
    Text(String),
    /// With whether it was quoted.
    Name(String, bool),
    Symbol(&'static str),
    End,
}

const SYMBOLS: [&str; 26] = [
    "->", "&&", "||", "<=", ">=", "==", "!=", "<", ">", "!", "-", "+", "*", "/", "%", "^", "(", ")", "[", "]", ",",
    "=", "&", "|", ".", ":",
];

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    at: usize,
    nesting: usize,
}

/// A subtree and its depth.
struct Tree {
    node: Node,
    depth: usize,
}

pub(super) fn parse(text: &str) -> Result<Node> {
    let mut parser = Parser { text, tokens: Vec::new(), at: 0, nesting: 0 };
    parser.tokens = parser.scan()?;
    let tree = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(tree.node),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

impl Parser<'_> {
    fn error(&self, position: usize, what: &str) -> Error {
        let shown: String = self.text.chars().take(200).collect();
        Error::invalid(format!("expression [{shown}]: at position {position}: {what}"))
    }

    fn scan(&self) -> Result<Vec<(Token, usize)>> {
        let mut tokens = Vec::new();
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            let c = bytes[at];
            if c.is_ascii_whitespace() {
                at += 1;
                continue;
            }
            let token = match c {
                b'0'..=b'9' => self.number(&mut at)?,
                b'.' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => self.number(&mut at)?,
                b'\'' => Token::Text(self.quoted(&mut at)?),
                b'"' => Token::Name(self.quoted(&mut at)?, true),
                b'_' | b'$' | b'a'..=b'z' | b'A'..=b'Z' => {
                    while at < bytes.len()
                        && (bytes[at] == b'_' || bytes[at] == b'$' || bytes[at].is_ascii_alphanumeric())
                    {
                        at += 1;
                    }
                    Token::Name(self.text[start..at].to_string(), false)
                }
                _ => {
                    let rest = &self.text[at..];
                    let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) else {
                        let shown = rest.chars().next().unwrap_or(' ');
                        return Err(self.error(start, &format!("[{shown}] has no meaning here")));
                    };
                    at += symbol.len();
                    Token::Symbol(symbol)
                }
            };
            tokens.push((token, start));
        }
        tokens.push((Token::End, self.text.len()));
        Ok(tokens)
    }

    fn number(&self, at: &mut usize) -> Result<Token> {
        let bytes = self.text.as_bytes();
        let start = *at;
        let digits = |at: &mut usize| {
            while bytes.get(*at).is_some_and(u8::is_ascii_digit) {
                *at += 1;
            }
        };
        digits(at);
        let mut whole = true;
        if bytes.get(*at) == Some(&b'.') {
            whole = false;
            *at += 1;
            digits(at);
        }
        if matches!(bytes.get(*at), Some(b'e' | b'E')) {
            let mut ahead = *at + 1;
            ahead += usize::from(matches!(bytes.get(ahead), Some(b'+' | b'-')));
            if bytes.get(ahead).is_some_and(u8::is_ascii_digit) {
                whole = false;
                *at = ahead;
                digits(at);
            }
        }
        let text = &self.text[start..*at];
        if whole {
            return Ok(Token::Long(text.to_string()));
        }
        text.parse().map(Token::Double).map_err(|_| self.error(start, &format!("[{text}] is not a number")))
    }

    /// Text up to the quote it starts with, with backslash escapes.
    fn quoted(&self, at: &mut usize) -> Result<String> {
        let start = *at;
        let quote = self.text.as_bytes()[start] as char;
        let mut out = String::new();
        let mut chars = self.text[start + 1..].char_indices();
        while let Some((offset, c)) = chars.next() {
            if c == quote {
                *at = start + 1 + offset + c.len_utf8();
                return Ok(out);
            }
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some('b') => out.push('\u{8}'),
                Some('f') => out.push('\u{c}'),
                Some('u') => {
                    let unit = |chars: &mut std::str::CharIndices| {
                        let hex: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        (hex.len() == 4).then(|| u16::from_str_radix(&hex, 16).ok()).flatten()
                    };
                    let wrong = || self.error(start + 1 + offset, "\\u must be followed by four hexadecimal digits");
                    let first = unit(&mut chars).ok_or_else(wrong)?;
                    let mut units = vec![first];
                    if (0xD800..0xDC00).contains(&first) && chars.as_str().starts_with("\\u") {
                        chars.next();
                        chars.next();
                        units.push(unit(&mut chars).ok_or_else(wrong)?);
                    }
                    out.push_str(&String::from_utf16_lossy(&units));
                }
                Some(other) => out.push(other),
                None => break,
            }
        }
        Err(self.error(start, &format!("the {quote} that opens here is not closed")))
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn position(&self) -> usize {
        self.tokens[self.at].1
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(s) if *s == symbol)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.eat(symbol) { Ok(()) } else { Err(self.unexpected(&format!("[{symbol}]"))) }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let found = match self.peek() {
            Token::End => "the end".to_string(),
            Token::Long(text) => format!("[{text}]"),
            Token::Double(v) => format!("[{v}]"),
            Token::Text(text) => format!("['{text}']"),
            Token::Name(name, _) => format!("[{name}]"),
            Token::Symbol("=") => "[=] (equality is [==])".to_string(),
            Token::Symbol(symbol) => format!("[{symbol}]"),
        };
        self.error(self.position(), &format!("expected {wanted}, found {found}"))
    }

    fn grow(&self, depth: usize) -> Result<usize> {
        if depth >= DEPTH_MAX {
            return Err(self.error(self.position(), &format!("nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(depth + 1)
    }

    /// The binary operator that comes next: its level (higher binds tighter).
    fn operator(&self) -> Option<(Op, usize)> {
        let Token::Symbol(symbol) = self.peek() else { return None };
        Some(match *symbol {
            "&&" => (Op::And, 1),
            "||" => (Op::Or, 1),
            "<" => (Op::Lt, 2),
            "<=" => (Op::Le, 2),
            ">" => (Op::Gt, 2),
            ">=" => (Op::Ge, 2),
            "==" => (Op::Eq, 2),
            "!=" => (Op::Ne, 2),
            "+" => (Op::Add, 3),
            "-" => (Op::Sub, 3),
            "*" => (Op::Mul, 4),
            "/" => (Op::Div, 4),
            "%" => (Op::Rem, 4),
            "^" => (Op::Pow, 5),
            _ => return None,
        })
    }

    fn expression(&mut self, level_min: usize) -> Result<Tree> {
        self.nesting = self.grow(self.nesting)?;
        let mut left = self.unary()?;
        while let Some((op, level)) = self.operator()
            && level >= level_min
        {
            self.advance();
            let right = self.expression(if op == Op::Pow { level } else { level + 1 })?;
            let depth = self.grow(left.depth.max(right.depth))?;
            left = Tree { node: Node::Binary(op, Box::new(left.node), Box::new(right.node)), depth };
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Tree> {
        let mut operators = Vec::new();
        while self.is("-") || self.is("!") {
            operators.push((self.is("!"), self.position()));
            self.advance();
        }
        let negated = operators.last().is_some_and(|(not, _)| !not);
        let mut tree = match self.peek() {
            Token::Long(digits) if negated => {
                let text = format!("-{digits}");
                let value =
                    text.parse().map_err(|_| self.error(self.position(), &format!("[{text}] is not a long")))?;
                operators.pop();
                self.advance();
                leaf(Node::Literal(Value::Long(value)))
            }
            _ => self.primary()?,
        };
        for (not, _) in operators.into_iter().rev() {
            tree.node = match (not, tree.node) {
                (false, Node::Literal(Value::Long(v))) => Node::Literal(Value::Long(v.wrapping_neg())),
                (false, Node::Literal(Value::Double(v))) => Node::Literal(Value::Double(-v)),
                (true, node) => Node::Not(Box::new(node)),
                (false, node) => Node::Negate(Box::new(node)),
            };
            if matches!(tree.node, Node::Not(_) | Node::Negate(_)) {
                tree.depth = self.grow(tree.depth)?;
            }
        }
        Ok(tree)
    }

    fn primary(&mut self) -> Result<Tree> {
        let position = self.position();
        match self.peek().clone() {
            Token::Long(_) | Token::Double(_) | Token::Text(_) => Ok(leaf(Node::Literal(self.scalar()?))),
            Token::Symbol("(") => {
                self.advance();
                let tree = self.expression(0)?;
                self.expect(")")?;
                Ok(tree)
            }
            Token::Symbol("[") => Ok(leaf(Node::Literal(self.array(None)?))),
            Token::Symbol("<") => {
                let element = self.element_type()?;
                Ok(leaf(Node::Literal(self.array(Some(element))?)))
            }
            Token::Name(name, is_quoted) => {
                self.advance();
                if self.eat("(") {
                    return self.call(&name, position);
                }
                if !is_quoted {
                    match name.as_str() {
                        "ARRAY" if self.is("<") => {
                            let element = self.element_type()?;
                            return Ok(leaf(Node::Literal(self.array(Some(element))?)));
                        }
                        "NaN" => return Ok(leaf(Node::Literal(Value::Double(f64::NAN)))),
                        "Infinity" => return Ok(leaf(Node::Literal(Value::Double(f64::INFINITY)))),
                        _ if name.eq_ignore_ascii_case("null") => return Ok(leaf(Node::Literal(Value::Null))),
                        _ => {}
                    }
                }
                Ok(leaf(Node::Column(Arc::from(name))))
            }
            Token::Symbol(_) | Token::End => Err(self.unexpected("a value")),
        }
    }

    fn scalar(&mut self) -> Result<Value> {
        let position = self.position();
        let negative = self.eat("-");
        match self.advance() {
            Token::Long(digits) => {
                let text = if negative { format!("-{digits}") } else { digits };
                text.parse().map(Value::Long).map_err(|_| self.error(position, &format!("[{text}] is not a long")))
            }
            Token::Double(v) => Ok(Value::Double(if negative { -v } else { v })),
            Token::Text(text) if !negative => Ok(Value::text(&text)),
            Token::Name(name, false) if name == "NaN" => Ok(Value::Double(f64::NAN)),
            Token::Name(name, false) if name == "Infinity" => {
                Ok(Value::Double(if negative { f64::NEG_INFINITY } else { f64::INFINITY }))
            }
            Token::Name(name, false) if !negative && name.eq_ignore_ascii_case("null") => Ok(Value::Null),
            _ => Err(self.error(position, "expected a literal")),
        }
    }

    /// `<TYPE>`, in front of an array.
    fn element_type(&mut self) -> Result<ValueType> {
        self.expect("<")?;
        let position = self.position();
        let found = match self.advance() {
            Token::Name(name, _) => ValueType::from_druid_name(&name),
            _ => None,
        };
        self.expect(">")?;
        found.ok_or_else(|| self.error(position, "expected STRING, LONG or DOUBLE"))
    }

    fn array(&mut self, element: Option<ValueType>) -> Result<Value> {
        self.expect("[")?;
        let mut values = Vec::new();
        while !self.eat("]") {
            if !values.is_empty() {
                self.expect(",")?;
            }
            let value = self.scalar()?;
            values.push(match &element {
                Some(element) => convert::cast(&value, element),
                None => value,
            });
        }
        Ok(Value::List(values))
    }

    /// After the opening parenthesis.
    fn call(&mut self, name: &str, position: usize) -> Result<Tree> {
        let function = functions::find(name).map_err(|what| self.error(position, &what))?;
        let mut args = Vec::new();
        let mut depth = 0;
        while !self.eat(")") {
            if !args.is_empty() {
                self.expect(",")?;
            }
            let is_lambda = args.is_empty() && matches!(function.body, Body::Apply(_));
            let tree = if is_lambda { self.lambda()? } else { self.expression(0)? };
            depth = depth.max(tree.depth);
            args.push(tree.node);
        }
        self.check_count(function, args.len(), position)?;
        let literals: Vec<Option<Value>> = args
            .iter()
            .map(|arg| match arg {
                Node::Literal(value) => Some(value.clone()),
                _ => None,
            })
            .collect();
        let prepared = match function.body {
            Body::Prepared(prepare) => {
                Some(prepare(&literals).map_err(|what| self.error(position, &format!("{}: {what}", function.name)))?)
            }
            _ => None,
        };
        Ok(Tree { node: Node::Call { function, args, prepared }, depth: self.grow(depth)? })
    }

    fn check_count(&self, function: &Function, count: usize, position: usize) -> Result<()> {
        if (function.least..=function.most).contains(&count) {
            return Ok(());
        }
        let wanted = match (function.least, function.most) {
            (a, b) if a == b => format!("{a}"),
            (a, usize::MAX) => format!("at least {a}"),
            (a, b) => format!("{a} to {b}"),
        };
        Err(self.error(position, &format!("{} takes {wanted} arguments, not {count}", function.name)))
    }

    /// `x -> body`, `(x, y) -> body`.
    fn lambda(&mut self) -> Result<Tree> {
        let mut names = Vec::new();
        let name = |parser: &mut Self| match parser.advance() {
            Token::Name(name, _) => Ok(Arc::from(name)),
            _ => {
                parser.at = parser.at.saturating_sub(1);
                Err(parser.unexpected("a name"))
            }
        };
        if self.eat("(") {
            while !self.eat(")") {
                if !names.is_empty() {
                    self.expect(",")?;
                }
                names.push(name(self)?);
            }
        } else {
            names.push(name(self)?);
        }
        self.expect("->")?;
        let body = self.expression(0)?;
        Ok(Tree { depth: self.grow(body.depth)?, node: Node::Lambda { names, body: Box::new(body.node) } })
    }
}

fn leaf(node: Node) -> Tree {
    Tree { node, depth: 1 }
}
