//! Line formats: csv, tsv, lines, regex. A line is a row; a record of a stream may hold several lines.

use std::borrow::Cow;

use segment::row::{Cell, RowBatch};

use super::Failure;
use super::plan::{Plan, Purpose};
use super::timestamp::Raw;
use crate::spec::InputFormat;
use crate::spec::format::{Delimited, RegexFormat};

pub(crate) struct TextParser {
    plan: Plan,
    format: Format,
    columns: Vec<Column>,
    /// Header rows still to come in this file or record.
    skip: usize,
    header: bool,
}

enum Format {
    Delimited(Delimited),
    Lines,
    Regex(RegexFormat),
}

struct Column {
    name: String,
    purpose: Purpose,
    field: usize,
}

impl TextParser {
    pub(crate) fn new(plan: Plan, format: &InputFormat) -> TextParser {
        let (format, columns) = match format {
            InputFormat::Delimited(d) => (Format::Delimited(d.clone()), d.columns.clone().unwrap_or_default()),
            InputFormat::Regex(r) => (Format::Regex(r.clone()), r.columns.clone()),
            _ => (Format::Lines, vec!["line".to_string()]),
        };
        let mut parser = TextParser { plan, format, columns: Vec::new(), skip: 0, header: false };
        parser.set_columns(columns);
        parser.begin();
        parser
    }

    /// A file or record begins.
    pub(crate) fn begin(&mut self) {
        if let Format::Delimited(d) = &self.format {
            (self.skip, self.header) = (d.skip_rows, d.header);
        }
    }

    fn set_columns(&mut self, names: Vec<String>) {
        let column = |name: String| Column { purpose: self.plan.purpose(&name), name, field: usize::MAX };
        self.columns = names.into_iter().map(column).collect();
    }

    pub(crate) fn parse(&mut self, record: &[u8], batch: &mut RowBatch) -> Result<usize, Failure> {
        self.begin();
        let mark = batch.mark();
        let mut rows = 0;
        for line in record.split(|b| *b == b'\n') {
            match self.parse_line(line, batch) {
                Ok(more) => rows += more,
                Err(failure) => {
                    batch.rollback(mark);
                    return Err(failure);
                }
            }
        }
        Ok(rows)
    }

    pub(crate) fn parse_line(&mut self, line: &[u8], batch: &mut RowBatch) -> Result<usize, Failure> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(0);
        }
        if line.is_empty() {
            return Ok(0);
        }
        let text =
            std::str::from_utf8(line).map_err(|e| Failure::new(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
        if self.header {
            self.header = false;
            self.read_header(text)?;
            return Ok(0);
        }
        if batch.arena_bytes() + line.len() > u32::MAX as usize {
            return Err(Failure::new("the record is too large"));
        }
        if batch.rows() == 0 || self.columns.iter().any(|c| c.purpose.field && c.field == usize::MAX) {
            for column in self.columns.iter_mut().filter(|c| c.purpose.field) {
                column.field = batch.field(&column.name);
            }
        }
        let mark = batch.mark();
        match self.row(text, batch) {
            Ok(time) => {
                batch.finish_row(time);
                Ok(1)
            }
            Err(failure) => {
                batch.rollback(mark);
                Err(failure)
            }
        }
    }

    /// The columns of the header, unless the spec names them.
    fn read_header(&mut self, text: &str) -> Result<(), Failure> {
        let Format::Delimited(d) = &self.format else { return Ok(()) };
        if d.columns.is_some() {
            return Ok(());
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut names: Vec<String> = Vec::new();
        for (i, field) in fields(text, d).enumerate() {
            let name = match field? {
                Some(name) if !name.is_empty() => name.into_owned(),
                _ => format!("column_{}", i + 1),
            };
            if names.contains(&name) {
                return Err(Failure::new(format!("the header has the column {name} twice")));
            }
            names.push(name);
        }
        self.set_columns(names);
        Ok(())
    }

    fn row(&self, text: &str, batch: &mut RowBatch) -> Result<i64, Failure> {
        let mut time = None;
        let mut set = |column: &Column, value: Option<Cow<str>>, list: &str, numbers: bool| {
            if column.purpose.time {
                let raw = value.as_deref().map_or(Raw::Null, Raw::Text);
                time = Some(self.plan.time.read(raw));
            }
            if column.purpose.field {
                let cell = value.map_or(Cell::Null, |text| cell(&text, list, numbers, batch));
                batch.set(column.field, cell);
            }
        };
        match &self.format {
            Format::Lines => set(&self.columns[0], Some(Cow::Borrowed(text)), "", false),
            Format::Delimited(d) => {
                for (field, column) in fields(text, d).zip(&self.columns) {
                    set(column, field?, &d.list_delimiter, d.parse_numbers);
                }
            }
            Format::Regex(r) => {
                let Some(groups) = r.pattern.captures(text) else {
                    return Err(Failure::new("the line does not match the pattern"));
                };
                for (i, column) in self.columns.iter().enumerate() {
                    set(column, groups.get(i + 1).map(|g| Cow::Borrowed(g.as_str())), &r.list_delimiter, false);
                }
            }
        }
        let time = match time {
            Some(time) => time,
            None => self.plan.time.read(Raw::Null),
        };
        time.map_err(Failure::new)
    }
}

fn cell(text: &str, list_delimiter: &str, numbers: bool, batch: &mut RowBatch) -> Cell {
    if !list_delimiter.is_empty() && text.contains(list_delimiter) {
        let cells: Vec<Cell> = text.split(list_delimiter).map(|part| scalar(part, numbers, batch)).collect();
        return batch.list(&cells);
    }
    scalar(text, numbers, batch)
}

fn scalar(text: &str, numbers: bool, batch: &mut RowBatch) -> Cell {
    if numbers && text.bytes().next().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.')) {
        if let Ok(n) = text.parse::<i64>() {
            return Cell::Long(n);
        }
        if let Ok(n) = text.parse::<f64>() {
            return Cell::Double(n);
        }
    }
    batch.text(text)
}

/// The fields of a line; one that is empty and not in quotes is null.
fn fields<'t>(line: &'t str, d: &'t Delimited) -> Fields<'t> {
    Fields { rest: Some(line), delimiter: &d.delimiter, quotes: d.quotes }
}

struct Fields<'t> {
    rest: Option<&'t str>,
    delimiter: &'t str,
    quotes: bool,
}

impl<'t> Iterator for Fields<'t> {
    type Item = Result<Option<Cow<'t, str>>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        if self.quotes && rest.starts_with('"') {
            return Some(self.quoted(&rest[1..]).map(Some));
        }
        let field = match rest.split_once(self.delimiter) {
            Some((field, after)) => {
                self.rest = Some(after);
                field
            }
            None => {
                self.rest = None;
                rest
            }
        };
        Some(Ok((!field.is_empty()).then_some(Cow::Borrowed(field))))
    }
}

impl<'t> Fields<'t> {
    /// Up to the closing quote; two quotes are a quote.
    fn quoted(&mut self, text: &'t str) -> Result<Cow<'t, str>, Failure> {
        let mut field = Cow::Borrowed("");
        let mut rest = text;
        loop {
            let Some(end) = rest.find('"') else {
                self.rest = None;
                return Err(Failure::new("a quote is not closed"));
            };
            let (part, after) = (&rest[..end], &rest[end + 1..]);
            if field.is_empty() {
                field = Cow::Borrowed(part)
            } else {
                field.to_mut().push_str(part)
            }
            if let Some(more) = after.strip_prefix('"') {
                field.to_mut().push('"');
                rest = more;
                continue;
            }
            self.rest = after.strip_prefix(self.delimiter);
            if self.rest.is_none() && !after.is_empty() {
                return Err(Failure::new("text after a closing quote"));
            }
            return Ok(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::{Parser, Record};
    use crate::spec::{DataSchema, InputFormat};
    use proptest::prelude::*;
    use segment::block::Value;
    use segment::row::RowBatch;
    use serde_json::{Value as Json, json};

    fn parser(format: Json) -> Parser {
        let schema = json!({"dataSource": "d", "timestampSpec": {"column": "t", "format": "auto"}});
        let schema = DataSchema::from_json(&schema, "", &mut Vec::new()).unwrap();
        Parser::new(&schema, &InputFormat::from_json(&format, "", &mut Vec::new()).unwrap()).unwrap()
    }

    fn check(format: Json, record: &str, expected: &[(i64, &[Value])]) {
        let mut batch = RowBatch::new();
        let rows =
            parser(format).parse(&Record::of(record.as_bytes()), &mut batch).unwrap_or_else(|f| panic!("{}", f.reason));
        assert_eq!(rows, expected.len(), "{record}");
        for (row, (time, values)) in expected.iter().enumerate() {
            assert_eq!(batch.times()[row], *time);
            let found: Vec<Value> = (0..batch.names().len()).map(|f| batch.value(batch.cells(f)[row])).collect();
            assert_eq!(&found, values, "{record}");
        }
    }

    fn text(text: &str) -> Value {
        Value::text(text)
    }

    #[test]
    fn csv() {
        let format = json!({"type": "csv", "columns": ["t", "a", "b"], "listDelimiter": "|"});
        check(format.clone(), "1,x,y\r\n\n2,,\"\"\n", &[(1, &[text("x"), text("y")]), (2, &[Value::Null, text("")])]);
        check(
            format.clone(),
            "3,\"q\"\"u,o\"\"te\",p|q\n4,short",
            &[(3, &[text("q\"u,o\"te"), Value::List(vec![text("p"), text("q")])]), (4, &[text("short"), Value::Null])],
        );
        for bad in ["1,\"open", "1,\"a\"b,c", "x,a,b", ",a,b"] {
            let mut batch = RowBatch::new();
            parser(format.clone()).parse(&Record::of(bad.as_bytes()), &mut batch).expect_err(bad);
            assert_eq!(batch.rows(), 0);
        }
    }

    #[test]
    fn headers() {
        let format = json!({"type": "tsv", "delimiter": "|", "findColumnsFromHeader": true, "skipHeaderRows": 1,
            "tryParseNumbers": true});
        check(
            format,
            "skipped\nt|n|s\n5|1.5|\"q\"\n6|-3|x",
            &[(5, &[Value::Double(1.5), text("\"q\"")]), (6, &[Value::Long(-3), text("x")])],
        );
    }

    #[test]
    fn lines_of_a_file_share_their_header() {
        let mut parser = parser(json!({"type": "csv", "findColumnsFromHeader": true}));
        let mut batch = RowBatch::new();
        for _ in 0..2 {
            parser.begin_file();
            let lines = ["t,a", "1,x", "2,y"];
            let rows: usize = lines.iter().map(|l| parser.parse_line(l.as_bytes(), &mut batch).unwrap()).sum();
            assert_eq!(rows, 2);
        }
        assert_eq!(batch.times(), [1, 2, 1, 2]);
    }

    #[test]
    fn regex_and_lines() {
        let format = json!({"type": "regex", "pattern": "(\\d+) (\\w+)( \\w+)?", "columns": ["t", "a", "b"]});
        check(format.clone(), "7 abc", &[(7, &[text("abc"), Value::Null])]);
        assert!(parser(format).parse(&Record::of(b"x 7 abc"), &mut RowBatch::new()).is_err());
        let schema =
            json!({"dataSource": "d", "timestampSpec": {"column": "t", "missingValue": "1970-01-01T00:00:00.009Z"}});
        let schema = DataSchema::from_json(&schema, "", &mut Vec::new()).unwrap();
        let mut parser = Parser::new(&schema, &InputFormat::Lines).unwrap();
        let mut batch = RowBatch::new();
        parser.parse(&Record::of(b"one\ntwo"), &mut batch).unwrap();
        assert_eq!(batch.times(), [9, 9]);
        assert_eq!(batch.text_of(batch.cells(0)[1]), "two");
    }

    proptest! {
        #[test]
        fn csv_reads_what_was_written(values in prop::collection::vec("[a,\"é ]{0,6}", 1..5)) {
            let names: Vec<String> = (0..values.len()).map(|i| format!("c{i}")).collect();
            let columns: Vec<String> = ["t".to_string()].into_iter().chain(names).collect();
            let quoted: Vec<String> = values.iter().map(|v| format!("\"{}\"", v.replace('"', "\"\""))).collect();
            let line = format!("1,{}", quoted.join(","));
            let mut batch = RowBatch::new();
            let mut parser = parser(json!({"type": "csv", "columns": columns}));
            parser.parse(&Record::of(line.as_bytes()), &mut batch).map_err(|f| TestCaseError::fail(f.reason))?;
            for (i, value) in values.iter().enumerate() {
                let field = batch.find(&format!("c{i}")).unwrap();
                prop_assert_eq!(batch.text_of(batch.cells(field)[0]), value);
            }
        }

        #[test]
        fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            for format in [json!({"type": "csv", "findColumnsFromHeader": true}), json!({"type": "tsv", "columns": ["t", "a"]})] {
                let _ = parser(format).parse(&Record::of(&bytes), &mut RowBatch::new());
            }
        }
    }
}
