//! Text to syntax tree: the `SET` statements and `EXPLAIN PLAN FOR` before a statement, the statement itself, and errors
//! that say where.

use datafusion::sql::sqlparser::ast::{Query, Statement as Tree};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use serde_json::{Map, Number, Value};

use crate::chains;
use crate::convert::values_of;
use crate::dialect::Druid;
use crate::error::{Error, Place, Result};
use crate::words;

/// Nesting that the parser follows before it gives up: deep enough for generated statements, shallow enough for the
/// stack of a worker thread.
const DEPTH_MAX: usize = 200;

/// The same where a statement is no query. It is read to say what it is, and its frames are far larger: of `EXPLAIN
/// EXPLAIN …` two hundred do not fit.
const OTHERS_DEPTH_MAX: usize = 20;

/// The words that a query begins with.
const QUERIES: [&str; 3] = ["SELECT", "WITH", "VALUES"];

/// Longest statement taken. Generated statements with tens of thousands of listed values stay below it.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// Refuses a text that is not one expression. Needs the stack of a planning thread.
pub fn expression(text: &str) -> Result<()> {
    let tokens = Tokenizer::new(&Druid::new(0), text).tokenize_with_location().map_err(|error| {
        let place = Place { token: String::new(), ..place_of(error.location) };
        Error::Syntax { message: format!("{} at line {}, column {}", error.message, place.line, place.column), place }
    })?;
    chains::check_tokens(&tokens)?;
    let dialect = Druid::new(tokens.len());
    let mut parser =
        Parser::new(&dialect).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(words::plain(&tokens));
    parser.parse_expr().map_err(|error| syntax(error, &tokens))?;
    match parser.peek_token().token {
        Token::EOF => Ok(()),
        left => Err(Error::invalid(format!("a condition is one expression; [{left}] is too much"))),
    }
}

/// The names in a condition that may be columns.
pub fn names(text: &str) -> Result<Vec<String>> {
    let tokens = Tokenizer::new(&Druid::new(0), text).tokenize();
    let tokens = tokens.map_err(|error| Error::invalid(error.to_string()))?;
    let words = tokens.into_iter().filter_map(|token| match token {
        Token::Word(word) => Some(word.value),
        _ => None,
    });
    Ok(words.collect::<std::collections::BTreeSet<String>>().into_iter().collect())
}

#[derive(Debug)]
pub struct Parsed {
    /// What the `SET` statements said, which goes before the request's context.
    pub context: Map<String, Value>,
    pub explain: bool,
    pub query: Box<Query>,
    /// How many `?` there are; each became the placeholder `$n`, counted from 1.
    pub placeholders: usize,
}

/// Needs the stack of a planning thread ([`crate::planning`]), as does all that is done to the tree.
pub fn parse(text: &str) -> Result<Parsed> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::invalid(format!(
            "statement has {} bytes, more than the {TEXT_BYTES_MAX} taken; shorten it",
            text.len()
        )));
    }
    let mut tokens = Tokenizer::new(&Druid::new(0), text).tokenize_with_location().map_err(|error| {
        let place = Place { token: String::new(), ..place_of(error.location) };
        Error::Syntax { message: format!("{} at line {}, column {}", error.message, place.line, place.column), place }
    })?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    while tokens.last().is_some_and(|token| token.token == Token::SemiColon) {
        tokens.pop();
    }
    let mut rest = &tokens[..];
    let mut context = Map::new();
    while rest.first().is_some_and(|token| is_word(token, "SET")) {
        let end = rest.iter().position(|token| token.token == Token::SemiColon).unwrap_or(rest.len());
        let (name, value) = assignment(&rest[..end])?;
        context.insert(name, value);
        rest = &rest[(end + 1).min(rest.len())..];
    }
    let explain =
        rest.len() >= 3 && is_word(&rest[0], "EXPLAIN") && is_word(&rest[1], "PLAN") && is_word(&rest[2], "FOR");
    if explain {
        rest = &rest[3..];
    }
    let Some(first) = rest.first() else {
        return Err(Error::invalid("statement is empty; write a SELECT"));
    };
    if let Some(verb) = ["INSERT", "REPLACE"].into_iter().find(|verb| is_word(first, verb)) {
        return Err(Error::Unsupported(format!("{verb} is not supported on this endpoint; post an ingestion task")));
    }
    if let Some(token) = rest.iter().find(|token| words::OPERATORS.contains(&token.token)) {
        let place = Place { token: token.token.to_string(), ..place_of(token.span.start) };
        let message = format!("unknown operator [{}] (line [{}], column [{}])", place.token, place.line, place.column);
        return Err(Error::Syntax { message, place });
    }
    if let Some(token) = rest.iter().find(|token| is_several(&token.token)) {
        let place = place_of(token.span.start);
        return Err(Error::invalid(format!(
            "the text at line {}, column {} begins with U+001E and goes on as a list, which stands for several values \
             here; leave the U+001E out",
            place.line, place.column
        )));
    }
    chains::check_tokens(rest)?;
    let is_query = first.token == Token::LParen || QUERIES.iter().any(|word| is_word(first, word));
    let depth_max = if is_query { DEPTH_MAX } else { OTHERS_DEPTH_MAX };
    let mut placeholders = 0;
    let numbered: Vec<TokenWithSpan> = words::plain(rest)
        .into_iter()
        .map(|mut token| {
            if token.token == Token::Placeholder("?".to_string()) {
                placeholders += 1;
                token.token = Token::Placeholder(format!("${placeholders}"));
            }
            token
        })
        .collect();
    let dialect = Druid::new(numbered.len());
    let mut parser = Parser::new(&dialect).with_recursion_limit(depth_max).with_tokens_with_locations(numbered);
    let tree = parser.parse_statement().map_err(|error| syntax(error, rest))?;
    let left = parser.peek_token();
    if left.token != Token::EOF {
        let place = Place {
            token: left.token.to_string(),
            expected: "end of the statement".to_string(),
            ..place_of(left.span.start)
        };
        let message = format!(
            "received an unexpected token [{}] (line [{}], column [{}]), acceptable options: [end of the statement]",
            place.token, place.line, place.column
        );
        return Err(Error::Syntax { message, place });
    }
    match tree {
        Tree::Query(mut query) => {
            chains::settle(&mut query)?;
            Ok(Parsed { context, explain, query, placeholders })
        }
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or_default();
            Err(Error::Unsupported(format!("{verb} statements are not supported; write a SELECT")))
        }
    }
}

/// How refusals that name a word of the statement begin, and whether it is a function's.
const NAMING: [(&str, bool); 4] =
    [("Column '", false), ("Object '", false), ("No function is named '", true), ("Cannot apply '", true)];

/// What may follow in a refusal, behind the place: hints at what to write.
const HINTS: [&str; 3] = [", did you mean", "; ", ". "];

/// A refusal that names a word of the statement, with the place where the statement names it.
pub fn placed(error: Error, text: &str) -> Error {
    let Error::Invalid(message) = &error else { return error };
    let named = |(before, is_function): &(&str, bool)| {
        let (name, rest) = message.strip_prefix(before)?.split_once('\'')?;
        Some((name, rest, *is_function))
    };
    let Some((name, rest, is_function)) = NAMING.iter().find_map(named) else { return error };
    let tokens = Tokenizer::new(&Druid::new(0), text).tokenize_with_location().unwrap_or_default();
    let tokens: Vec<_> = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    // A datasource may be named with its schema.
    let last = name.rsplit('.').next();
    let place = tokens.iter().enumerate().find_map(|(at, token)| {
        let Token::Word(word) = &token.token else { return None };
        let is_it = match is_function {
            true => {
                let is_called = tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen);
                is_called && word.value.eq_ignore_ascii_case(name)
            }
            false => word.value == name || Some(&*word.value) == last,
        };
        is_it.then(|| Place { token: word.value.clone(), ..place_of(token.span.start) })
    });
    let Some(place) = place else { return error };
    let end = HINTS.iter().filter_map(|hint| rest.find(hint)).min().unwrap_or(rest.len());
    let (said, hint) = message.split_at(message.len() - rest.len() + end);
    // Names of functions come in lower case, however they are written.
    let said = said.replacen(
        &format!("'{name}'"),
        &format!("'{}'", place.token),
        usize::from(message.starts_with(NAMING[2].0)),
    );
    let message = format!("{said} (line [{}], column [{}]){hint}", place.line, place.column);
    Error::Syntax { message, place }
}

/// Whether a text would be taken for several values of a multi-value string.
fn is_several(token: &Token) -> bool {
    match token {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::NationalStringLiteral(text) => values_of(text).is_some(),
        _ => false,
    }
}

fn is_word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

/// `SET name = literal`.
fn assignment(tokens: &[TokenWithSpan]) -> Result<(String, Value)> {
    let refuse = |at: usize, expected: &str| {
        let found = tokens.get(at).or(tokens.last());
        let token =
            tokens.get(at).map(|token| token.token.to_string()).unwrap_or_else(|| "end of the statement".into());
        let mut place = found.map(|token| place_of(token.span.start)).unwrap_or_default();
        place.token = token;
        place.expected = expected.to_string();
        let message = format!(
            "SET statement: received an unexpected token [{}] (line [{}], column [{}]), acceptable options: [{expected}]",
            place.token, place.line, place.column
        );
        Error::Syntax { message, place }
    };
    let name = match tokens.get(1).map(|token| &token.token) {
        Some(Token::Word(word)) => word.value.clone(),
        _ => return Err(refuse(1, "name")),
    };
    if tokens.get(2).map(|token| &token.token) != Some(&Token::Eq) {
        return Err(refuse(2, "="));
    }
    let negative = tokens.get(3).map(|token| &token.token) == Some(&Token::Minus);
    let at = if negative { 4 } else { 3 };
    let value = match tokens.get(at).map(|token| &token.token) {
        Some(Token::Number(digits, _)) => {
            let text = if negative { format!("-{digits}") } else { digits.clone() };
            match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(long), _) => Value::from(long),
                (_, Ok(double)) => Number::from_f64(double).map(Value::Number).ok_or_else(|| refuse(at, "number"))?,
                _ => return Err(refuse(at, "number")),
            }
        }
        Some(Token::SingleQuotedString(text)) if !negative => Value::String(text.clone()),
        Some(Token::Word(word)) if !negative && word.value.eq_ignore_ascii_case("true") => Value::Bool(true),
        Some(Token::Word(word)) if !negative && word.value.eq_ignore_ascii_case("false") => Value::Bool(false),
        _ => return Err(refuse(at, "number, string, TRUE or FALSE")),
    };
    if tokens.len() > at + 1 {
        return Err(refuse(at + 1, ";"));
    }
    Ok((name, value))
}

fn place_of(location: Location) -> Place {
    Place { line: location.line, column: location.column, ..Place::default() }
}

/// The parser's errors are text: `Expected: x, found: y at Line: 1, Column: 8`. Taken apart, so that clients get the
/// place in fields of its own.
fn syntax(error: ParserError, tokens: &[TokenWithSpan]) -> Error {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return Error::invalid(format!(
                "statement nests more than {DEPTH_MAX} levels deep, or is too tangled to be read; flatten it"
            ));
        }
    };
    let mut place = Place::default();
    let mut body = text.as_str();
    if let Some((before, after)) = text.rsplit_once(" at Line: ") {
        let mut numbers = after.split(|ch: char| !ch.is_ascii_digit()).filter(|part| !part.is_empty());
        place.line = numbers.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        place.column = numbers.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        body = before;
    }
    if let Some((expected, found)) = body.split_once(", found: ") {
        place.expected = expected.trim_start_matches("Expected: ").to_string();
        place.token = found.to_string();
    }
    if place.line == 0
        && let Some(last) = tokens.last()
    {
        let end = last.span.end;
        place.line = end.line;
        place.column = end.column;
    }
    let message = if place.expected.is_empty() {
        format!("{body} (line [{}], column [{}])", place.line, place.column)
    } else {
        format!(
            "received an unexpected token [{}] (line [{}], column [{}]), acceptable options: [{}]",
            place.token, place.line, place.column, place.expected
        )
    };
    Error::Syntax { message, place }
}
