//! Paths of the flattenSpec: JSONPath as Jayway has it, a subset of jq, and lists of nodes.
//!
//! Supported: keys, indexes (negative from the end), slices, unions, wildcards, deep scans and, at the end of a JSONPath,
//! `length()`, `min()`, `max()`, `avg()` and `sum()`. A path that may find several values gives a list.

use serde_json::{Number, Value};

#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    steps: Vec<Step>,
    function: Option<Function>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(String),
    Index(i64),
    Keys(Vec<String>),
    Indexes(Vec<i64>),
    Slice {
        start: Option<i64>,
        end: Option<i64>,
    },
    All,
    /// This value and all below it.
    Deep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Length,
    Min,
    Max,
    Avg,
    Sum,
}

/// Steps a path may have.
const STEPS_MAX: usize = 64;

impl Path {
    /// A field of the top level.
    pub fn root(key: &str) -> Path {
        Path { steps: vec![Step::Key(key.to_string())], function: None }
    }

    pub fn tree(nodes: &[String]) -> Path {
        Path { steps: nodes.iter().cloned().map(Step::Key).collect(), function: None }
    }

    pub fn json_path(text: &str) -> Result<Path, String> {
        let mut reader = Reader { text, at: 0 };
        if !reader.eat("$") {
            return Err("a path starts with $".into());
        }
        let mut steps = Vec::new();
        let mut function = None;
        while !reader.done() {
            if reader.eat("..") {
                steps.push(Step::Deep);
                match reader.peek() {
                    Some('*') => {
                        reader.at += 1;
                        steps.push(Step::All);
                    }
                    Some('[') => {}
                    _ => steps.push(Step::Key(reader.name()?)),
                }
            } else if reader.eat(".") {
                if reader.done() {
                    break;
                }
                if reader.eat("*") {
                    steps.push(Step::All);
                    continue;
                }
                if reader.peek() == Some('[') {
                    continue;
                }
                let name = reader.name()?;
                if reader.eat("()") {
                    function = Some(match name.as_str() {
                        "length" | "size" => Function::Length,
                        "min" => Function::Min,
                        "max" => Function::Max,
                        "avg" => Function::Avg,
                        "sum" => Function::Sum,
                        _ => {
                            return Err(format!(
                                "the function {name}() is not supported; use length, min, max, avg or sum"
                            ));
                        }
                    });
                    if !reader.done() {
                        return Err("nothing may follow a function".into());
                    }
                } else {
                    steps.push(Step::Key(name));
                }
            } else if reader.eat("[") {
                steps.push(reader.bracket()?);
            } else {
                return Err(reader.unexpected());
            }
        }
        Path { steps, function }.checked()
    }

    /// `.a.b[0]`, `."a b"`, `.a[]`, `.a | .b`.
    pub fn jq(text: &str) -> Result<Path, String> {
        let mut steps = Vec::new();
        for pipe in text.split('|') {
            let mut reader = Reader { text: pipe.trim(), at: 0 };
            if !reader.text.starts_with('.') {
                return Err("a jq path starts with a dot; functions and operators are not supported".into());
            }
            while !reader.done() {
                if reader.eat(".") {
                    match reader.peek() {
                        None | Some('[') => {}
                        Some('"') => steps.push(Step::Key(reader.quoted()?)),
                        Some('.') => return Err("deep scans are not supported in jq paths".into()),
                        _ => steps.push(Step::Key(reader.name()?)),
                    }
                } else if reader.eat("[") {
                    if reader.eat("]") {
                        steps.push(Step::All);
                    } else {
                        steps.push(reader.bracket()?);
                    }
                } else if !reader.eat("?") {
                    return Err(reader.unexpected());
                }
            }
        }
        Path { steps, function: None }.checked()
    }

    fn checked(self) -> Result<Path, String> {
        if self.steps.len() > STEPS_MAX {
            return Err(format!("a path may have at most {STEPS_MAX} steps"));
        }
        Ok(self)
    }

    /// The one top-level field that it reads; `None` if it may read any.
    pub fn first_key(&self) -> Option<&str> {
        match self.steps.first() {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        }
    }

    /// Whether it reads a whole top-level field and nothing more.
    pub fn is_root(&self) -> bool {
        self.steps.len() == 1 && self.first_key().is_some() && self.function.is_none()
    }

    /// The keys, if it has nothing but keys.
    pub fn keys(&self) -> Option<Vec<String>> {
        let key = |step: &Step| match step {
            Step::Key(key) => Some(key.clone()),
            _ => None,
        };
        if self.steps.is_empty() || self.function.is_some() { None } else { self.steps.iter().map(key).collect() }
    }

    /// The value found in a whole record.
    pub fn find(&self, record: &Value) -> Option<Value> {
        self.walk(record, 0)
    }

    /// The value found in the value of the field `first_key`.
    pub fn find_below(&self, field: &Value) -> Option<Value> {
        self.walk(field, 1)
    }

    fn walk(&self, start: &Value, first: usize) -> Option<Value> {
        let mut found = vec![start];
        let mut several = false;
        for step in &self.steps[first.min(self.steps.len())..] {
            several |= !matches!(step, Step::Key(_) | Step::Index(_));
            let mut next = Vec::new();
            for value in found {
                step.apply(value, &mut next);
            }
            if next.is_empty() && !several {
                return None;
            }
            found = next;
        }
        if let Some(function) = self.function {
            return function.of(&found, several);
        }
        if several {
            Some(Value::Array(found.into_iter().cloned().collect()))
        } else {
            found.first().map(|v| (*v).clone())
        }
    }
}

impl Step {
    fn apply<'v>(&self, value: &'v Value, out: &mut Vec<&'v Value>) {
        match (self, value) {
            (Step::Key(key), Value::Object(map)) => out.extend(map.get(key)),
            (Step::Keys(keys), Value::Object(map)) => out.extend(keys.iter().filter_map(|k| map.get(k))),
            (Step::Index(idx), Value::Array(list)) => out.extend(at(list, *idx)),
            (Step::Indexes(all), Value::Array(list)) => out.extend(all.iter().filter_map(|idx| at(list, *idx))),
            (Step::Slice { start, end }, Value::Array(list)) => {
                let len = list.len() as i64;
                let bound = |n: i64| if n < 0 { (len + n).max(0) } else { n.min(len) } as usize;
                let (from, to) = (bound(start.unwrap_or(0)), bound(end.unwrap_or(len)));
                out.extend(list.get(from..to).unwrap_or_default());
            }
            (Step::All, Value::Array(list)) => out.extend(list),
            (Step::All, Value::Object(map)) => out.extend(map.values()),
            (Step::Deep, _) => deep(value, out),
            _ => {}
        }
    }
}

fn at(list: &[Value], idx: i64) -> Option<&Value> {
    let idx = if idx < 0 { list.len() as i64 + idx } else { idx };
    usize::try_from(idx).ok().and_then(|i| list.get(i))
}

/// The depth is limited by the parser that made the value.
fn deep<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    out.push(value);
    match value {
        Value::Array(list) => list.iter().for_each(|v| deep(v, out)),
        Value::Object(map) => map.values().for_each(|v| deep(v, out)),
        _ => {}
    }
}

impl Function {
    fn of(self, found: &[&Value], several: bool) -> Option<Value> {
        let list: Vec<&Value> = match (found, several) {
            ([Value::Array(list)], false) => list.iter().collect(),
            ([Value::Object(map)], false) if self == Function::Length => return Some(Value::from(map.len())),
            ([Value::String(text)], false) if self == Function::Length => {
                return Some(Value::from(text.chars().count()));
            }
            _ => found.to_vec(),
        };
        if self == Function::Length {
            return Some(Value::from(list.len()));
        }
        let numbers: Vec<f64> = list.into_iter().filter_map(Value::as_f64).collect();
        if numbers.is_empty() {
            return None;
        }
        let result = match self {
            Function::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
            Function::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Function::Sum => numbers.iter().sum(),
            _ => numbers.iter().sum::<f64>() / numbers.len() as f64,
        };
        Number::from_f64(result).map(Value::Number)
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn done(&self) -> bool {
        self.at >= self.text.len()
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn unexpected(&self) -> String {
        match self.peek() {
            Some(c) => format!("unexpected {c:?} at character {}", self.text[..self.at].chars().count()),
            None => "unexpected end".into(),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| ".[]()?|\"' ".contains(c)).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.unexpected());
        }
        self.at += end;
        Ok(rest[..end].to_string())
    }

    /// A text in single or double quotes; a backslash takes the next character as it is.
    fn quoted(&mut self) -> Result<String, String> {
        let quote = self.peek().filter(|c| "'\"".contains(*c)).ok_or_else(|| self.unexpected())?;
        let mut text = String::new();
        let mut chars = self.text[self.at + 1..].char_indices();
        while let Some((offset, c)) = chars.next() {
            if c == quote {
                self.at += 1 + offset + 1;
                return Ok(text);
            }
            text.push(if c == '\\' { chars.next().map_or('\\', |(_, next)| next) } else { c });
        }
        Err("a quote is not closed".into())
    }

    /// What stands between brackets; the opening one is eaten.
    fn bracket(&mut self) -> Result<Step, String> {
        self.space();
        let step = match self.peek() {
            Some('*') => {
                self.at += 1;
                Step::All
            }
            Some('?') => return Err("filters ?(…) are not supported; use a transform".into()),
            Some('\'' | '"') => {
                let mut keys = vec![self.quoted()?];
                self.space();
                while self.eat(",") {
                    self.space();
                    keys.push(self.quoted()?);
                    self.space();
                }
                if keys.len() == 1 { Step::Key(keys.remove(0)) } else { Step::Keys(keys) }
            }
            _ => {
                let first = self.whole()?;
                if self.eat(":") {
                    Step::Slice { start: first, end: self.whole()? }
                } else {
                    let mut all = vec![first.ok_or_else(|| self.unexpected())?];
                    while self.eat(",") {
                        self.space();
                        all.push(self.whole()?.ok_or_else(|| self.unexpected())?);
                    }
                    if all.len() == 1 { Step::Index(all[0]) } else { Step::Indexes(all) }
                }
            }
        };
        self.space();
        if self.eat("]") { Ok(step) } else { Err(self.unexpected()) }
    }

    fn space(&mut self) {
        while self.eat(" ") {}
    }

    fn whole(&mut self) -> Result<Option<i64>, String> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        if end == 0 {
            return Ok(None);
        }
        self.at += end;
        rest[..end].parse().map(Some).map_err(|_| format!("{} is not an index", &rest[..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(path: Result<Path, String>, expected: Value) {
        let record = json!({
            "a": {"b": [1, 2, 3], "c d": "x", "e": {"b": 9}},
            "list": [{"n": 1}, {"n": 2}, {"m": 3}],
            "text": "hello"
        });
        let path = path.unwrap();
        let found = path.find(&record).unwrap_or(Value::Null);
        assert_eq!(found, expected, "{path:?}");
        if let Some(key) = path.first_key() {
            assert_eq!(path.find_below(&record[key]).unwrap_or(Value::Null), expected, "{path:?}");
        }
    }

    #[test]
    fn json_paths() {
        for (text, expected) in [
            ("$.a.b", json!([1, 2, 3])),
            ("$.a.b[0]", json!(1)),
            ("$['a']['c d']", json!("x")),
            ("$.a.b[-1]", json!(3)),
            ("$.a.b[1:]", json!([2, 3])),
            ("$.a.b[0,2]", json!([1, 3])),
            ("$.list[*].n", json!([1, 2])),
            ("$..b", json!([[1, 2, 3], 9])),
            ("$.a.b.length()", json!(3)),
            ("$.a.b.sum()", json!(6.0)),
            ("$.list[*].n.max()", json!(2.0)),
            ("$.a.nothing.more", Value::Null),
            ("$.list[7]", Value::Null),
            ("$.text", json!("hello")),
        ] {
            check(Path::json_path(text), expected);
        }
        for bad in ["a.b", "$.a[", "$.a[?(@.x>1)]", "$.a[x]", "$.a.foo()", "$.a.sum().b", "$a"] {
            assert!(Path::json_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn jq_paths() {
        for (text, expected) in [
            (".a.b[0]", json!(1)),
            (".a.\"c d\"", json!("x")),
            (".a | .e | .b", json!(9)),
            (".a[\"c d\"]", json!("x")),
            (".list[].n", json!([1, 2])),
            (".a.b[1:2]", json!([2])),
        ] {
            check(Path::jq(text), expected);
        }
        for bad in ["a", ".a + 1", "length", "..", ".a | length"] {
            assert!(Path::jq(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn node_lists() {
        check(Ok(Path::tree(&["a".into(), "e".into(), "b".into()])), json!(9));
    }
}
