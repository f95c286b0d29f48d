//! What a value is tested for, compiled for text, longs, doubles and floats. The forms agree: a column's type decides only
//! how fast the answer comes.

use std::cmp::Ordering as Order;
use std::sync::Arc;

use hashbrown::HashSet;

use super::order::Ordering;
use super::spatial::Spatial;
use crate::block::Value;
use crate::expr::convert;
use crate::pattern::{Like, LikeMatcher};
use crate::schema::ValueType;
use crate::time::Interval;

/// What a value is tested for. `text`, `long`, `double` and `float` answer `None` for unknown, and agree with each other.
#[derive(Debug, Clone)]
pub enum Test {
    Null,
    /// `value` is of type `value_type`, not null. A value that is no list with the type of an array is one that the array
    /// holds.
    Equals {
        value: Value,
        value_type: ValueType,
    },
    /// `null` tells whether null is in the list.
    In {
        values: Vec<Value>,
        value_type: ValueType,
        null: bool,
    },
    Range {
        lower: Option<Value>,
        upper: Option<Value>,
        lower_open: bool,
        upper_open: bool,
        value_type: ValueType,
    },
    /// The legacy `bound` filter; without a lower bound it matches null.
    Bound {
        lower: Option<String>,
        upper: Option<String>,
        lower_strict: bool,
        upper_strict: bool,
        ordering: Ordering,
    },
    /// The legacy `selector`: text equality, `None` matches null.
    Selector {
        value: Option<String>,
    },
    Like(Like),
    Regex(regex::Regex),
    Search(Search),
    Intervals(Vec<Interval>),
    /// A test of numbers, and of text by the number that it says; unknown of text that says none, and of arrays. Unknown too
    /// of a double that a number of the test rounds to and that other longs do as well: a column of longs becomes one of
    /// doubles when a fraction comes. See [`Test::strict`].
    OfNumber(Box<Test>),
    /// A test of texts, and of numbers as they are written; unknown of arrays, and of doubles of which it is not the same
    /// whether a fraction was written.
    OfText(Box<Test>),
    /// A strict test of the values that an array holds, or of a value that is alone.
    Element(Box<Test>),
    /// Strict tests of the values of an array, one by one, `None` of nulls; a value that is alone is an array of one.
    Elements(Vec<Option<Test>>),
    /// Whether there is nothing or one value, which is or says a value of the type: a finite number, a whole one where it is
    /// of longs, and none that other whole numbers round to, one that is as it was written where it is of doubles (0.1 is none of a column of floats), or anything written
    /// where it is of texts. Never unknown.
    Single(ValueType),
    /// Whether it is no array and no document. Never unknown.
    Plain,
    /// Where the point is that a text stands for.
    Spatial(Spatial),
}

#[derive(Debug, Clone)]
pub enum Search {
    All,
    Contains { text: String, case_sensitive: bool },
    Fragments { texts: Vec<String>, case_sensitive: bool },
    Regex(regex::Regex),
}

pub type TextTest = Box<dyn Fn(Option<&str>) -> Option<bool> + Send + Sync>;
pub type LongTest = Box<dyn Fn(Option<i64>) -> Option<bool> + Send + Sync>;
pub type DoubleTest = Box<dyn Fn(Option<f64>) -> Option<bool> + Send + Sync>;

/// Two ends, each open or not.
#[derive(Debug, Clone)]
struct Limits<T> {
    lower: Option<T>,
    upper: Option<T>,
    lower_open: bool,
    upper_open: bool,
}

impl<T> Limits<T> {
    fn admit(&self, compare: impl Fn(&T) -> Order) -> bool {
        let above = |bound: &T| match compare(bound) {
            Order::Greater => true,
            Order::Equal => !self.lower_open,
            Order::Less => false,
        };
        let below = |bound: &T| match compare(bound) {
            Order::Less => true,
            Order::Equal => !self.upper_open,
            Order::Greater => false,
        };
        self.lower.as_ref().is_none_or(above) && self.upper.as_ref().is_none_or(below)
    }

    fn map<U>(&self, f: impl Fn(&T) -> Option<U>) -> Option<Limits<U>> {
        let end = |bound: &Option<T>| match bound {
            None => Some(None),
            Some(bound) => f(bound).map(Some),
        };
        Some(Limits {
            lower: end(&self.lower)?,
            upper: end(&self.upper)?,
            lower_open: self.lower_open,
            upper_open: self.upper_open,
        })
    }
}

/// A number of a query, exact if it is a long.
#[derive(Debug, Clone, Copy)]
enum Number {
    Long(i64),
    Double(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Long(v) => Some(Number::Long(*v)),
            Value::Double(v) => Some(Number::Double(*v)),
            Value::Text(text) => Number::of_text(text),
            Value::Null | Value::List(_) | Value::Json(_) | Value::Bytes(_) => None,
        }
    }

    fn of_text(text: &str) -> Option<Number> {
        text.trim().parse().ok().map(Number::Long).or_else(|| convert::double_of_text(text).map(Number::Double))
    }

    fn double(self) -> f64 {
        match self {
            Number::Long(v) => v as f64,
            Number::Double(v) => v,
        }
    }

    fn compare(self, other: Number) -> Order {
        match (self, other) {
            (Number::Long(a), Number::Long(b)) => a.cmp(&b),
            (a, b) => compare_doubles(a.double(), b.double()),
        }
    }
}

/// NaN is the largest, and minus zero equals zero.
fn compare_doubles(a: f64, b: f64) -> Order {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// From here on, up and down, a double may stand for several longs, one of which it was made of.
const WHOLE_DOUBLES: f64 = 9_007_199_254_740_992.0;

/// As [`WHOLE_DOUBLES`], of floats.
const WHOLE_FLOATS: f64 = 16_777_216.0;

/// The longs between two ends, both inclusive; empty (`low > high`) if there are none.
fn long_limits(limits: &Limits<Number>) -> (i64, i64) {
    const TOP: f64 = 9_223_372_036_854_775_808.0;
    const NOTHING: (i64, i64) = (i64::MAX, i64::MIN);
    let low = match limits.lower {
        None => i64::MIN,
        Some(Number::Long(v)) if limits.lower_open => match v.checked_add(1) {
            Some(v) => v,
            None => return NOTHING,
        },
        Some(Number::Long(v)) => v,
        Some(Number::Double(v)) if v.is_nan() || v >= TOP => return NOTHING,
        Some(Number::Double(v)) if v < -TOP => i64::MIN,
        Some(Number::Double(v)) => {
            let up = v.ceil();
            if up >= TOP {
                return NOTHING;
            }
            let open = limits.lower_open && up == v;
            match (up as i64).checked_add(i64::from(open)) {
                Some(v) => v,
                None => return NOTHING,
            }
        }
    };
    let high = match limits.upper {
        None => i64::MAX,
        Some(Number::Long(v)) if limits.upper_open => match v.checked_sub(1) {
            Some(v) => v,
            None => return NOTHING,
        },
        Some(Number::Long(v)) => v,
        Some(Number::Double(v)) if v.is_nan() || v >= TOP => i64::MAX,
        Some(Number::Double(v)) if v < -TOP => return NOTHING,
        Some(Number::Double(v)) => {
            let down = v.floor();
            let open = limits.upper_open && down == v;
            match (down as i64).checked_sub(i64::from(open)) {
                Some(v) => v,
                None => return NOTHING,
            }
        }
    };
    (low, high)
}

/// What a test comes to on numbers.
enum Numeric {
    /// One answer for all that is not null.
    Always(bool),
    OneOf(Vec<Number>),
    Between(Limits<Number>),
    Intervals(Vec<Interval>),
    /// Only its text tells.
    Text,
}

impl Test {
    /// The same test, whatever type the column happens to have. Druid's forms compare text with numbers as text, or take what
    /// is no number for less than all numbers; numbers with text as the numbers that it says; and of arrays they are false,
    /// so that what is negated is true of them.
    pub fn strict(self) -> Test {
        let numeric = |value_type: &ValueType| match value_type {
            ValueType::Array(_) | ValueType::Complex(_) => None,
            value_type => Some(value_type.is_numeric()),
        };
        let of_numbers = match &self {
            Test::Equals { value: Value::List(values), value_type: ValueType::Array(of) } => {
                return Test::Elements(values.iter().map(|value| of_element(value, of)).collect());
            }
            Test::Equals { value, value_type: ValueType::Array(of) } if numeric(of).is_some() => {
                let test = Test::Equals { value: value.clone(), value_type: ValueType::clone(of) };
                return Test::Element(Box::new(test.strict()));
            }
            Test::Equals { value_type, .. } | Test::In { value_type, .. } | Test::Range { value_type, .. } => {
                numeric(value_type)
            }
            Test::Bound { ordering, .. } => Some(*ordering == Ordering::Numeric),
            Test::Intervals(_) => Some(true),
            Test::Selector { value: Some(_) } | Test::Like(_) | Test::Regex(_) | Test::Search(_) | Test::Spatial(_) => {
                Some(false)
            }
            Test::Selector { value: None } => return Test::Null,
            Test::Null => None,
            Test::OfNumber(_) | Test::OfText(_) | Test::Single(_) | Test::Plain => None,
            Test::Element(_) | Test::Elements(_) => None,
        };
        match of_numbers {
            Some(true) => Test::OfNumber(Box::new(self)),
            Some(false) => Test::OfText(Box::new(self)),
            None => self,
        }
    }

    /// The test that it is on a value that is no array.
    pub fn of_one(&self) -> &Test {
        match self {
            Test::Element(test) => test,
            Test::Elements(tests) if let [Some(test)] = tests.as_slice() => test,
            test => test,
        }
    }

    /// The test that it is on text.
    pub fn on_text(&self) -> &Test {
        match self.of_one() {
            Test::OfText(test) => test,
            test => test,
        }
    }

    /// What a strict test says of an array, which is one value: null only as a whole. `None` for tests that are not strict.
    pub fn of_array(&self, values: &[Value]) -> Option<Option<bool>> {
        let of_value = |test: &Test, value: &Value| match value {
            Value::Null => Some(false),
            Value::List(_) => None,
            value => test.value(value),
        };
        match self {
            Test::OfNumber(_) | Test::OfText(_) => Some(None),
            Test::Element(test) => Some(super::some_true(values.iter().map(|value| of_value(test, value)))),
            Test::Elements(tests) if tests.len() != values.len() => Some(Some(false)),
            Test::Elements(tests) => {
                let differs = tests.iter().zip(values).map(|(test, value)| match test {
                    Some(test) => of_value(test, value).map(|alike| !alike),
                    None => Some(!value.is_null()),
                });
                Some(super::some_true(differs).map(|differs| !differs))
            }
            _ => None,
        }
    }

    /// What it answers for null.
    pub fn null(&self) -> Option<bool> {
        match self {
            Test::OfNumber(test) | Test::OfText(test) | Test::Element(test) => test.null(),
            Test::Single(_) | Test::Plain => Some(true),
            Test::Null => Some(true),
            Test::In { values, null, .. } if !null && values.is_empty() => Some(false),
            Test::In { null: true, .. } => Some(true),
            Test::Bound { lower: None, .. } => Some(true),
            Test::Selector { value: None } => Some(true),
            _ => None,
        }
    }

    /// The test on text, ready to run over a dictionary: patterns are compiled, numbers parsed once.
    pub fn text(&self) -> TextTest {
        let null = self.null();
        if let Test::OfNumber(test) = self.of_one() {
            let (long, double) = (test.long(), self.double());
            return Box::new(move |value| match value.map(Number::of_text) {
                None => null,
                Some(Some(Number::Long(v))) => long(Some(v)),
                Some(Some(Number::Double(v))) if v.is_finite() => double(Some(v)),
                Some(_) => None,
            });
        }
        if let Test::OfText(test) = self.of_one() {
            return test.text();
        }
        let test = self.plain_text();
        Box::new(move |value| match value {
            Some(value) => Some(test(value)),
            None => null,
        })
    }

    pub fn long(&self) -> LongTest {
        let null = self.null();
        if let Test::OfText(test) = self.of_one()
            && let Some(texts) = test.texts()
        {
            let found = one_of_longs(texts.into_iter().filter_map(written_long).collect());
            return Box::new(move |value| value.map_or(null, |v| Some(found(v))));
        }
        let found: Box<dyn Fn(i64) -> bool + Send + Sync> = match self.numeric() {
            Numeric::Always(answer) => Box::new(move |_| answer),
            Numeric::OneOf(numbers) => {
                let longs: Vec<i64> = numbers
                    .iter()
                    .filter_map(|n| match n {
                        Number::Long(v) => Some(*v),
                        Number::Double(v) => convert::exact_long(*v),
                    })
                    .collect();
                one_of_longs(longs)
            }
            Numeric::Between(limits) => {
                let (low, high) = long_limits(&limits);
                Box::new(move |v| low <= v && v <= high)
            }
            Numeric::Intervals(intervals) => Box::new(move |v| within(&intervals, v)),
            Numeric::Text => {
                let test = self.plain_text();
                Box::new(move |v| test(&v.to_string()))
            }
        };
        Box::new(move |value| value.map_or(null, |v| Some(found(v))))
    }

    pub fn double(&self) -> DoubleTest {
        self.double_form(|v| v, WHOLE_DOUBLES, convert::text_of_double)
    }

    /// The test on values of a float column, which come as doubles: numbers of the query are rounded to floats first.
    pub fn float(&self) -> DoubleTest {
        if let Test::Single(ValueType::Double) = self {
            let is_as_written = |v: f64| v.is_finite() && convert::text_of_float(v) == convert::text_of_double(v);
            return Box::new(move |value| Some(value.is_none_or(is_as_written)));
        }
        self.double_form(|v| f64::from(v as f32), WHOLE_FLOATS, convert::text_of_float)
    }

    /// The numbers, rounded, of which it is unknown which of several they were; of a column of floats or of doubles.
    fn blurred(&self, round: fn(f64) -> f64, whole: f64) -> Vec<f64> {
        let numbers: Vec<f64> = match self.of_one() {
            Test::OfNumber(test) => match test.numeric() {
                Numeric::OneOf(numbers) => numbers.into_iter().map(Number::double).collect(),
                Numeric::Between(limits) => limits.lower.into_iter().chain(limits.upper).map(Number::double).collect(),
                Numeric::Intervals(intervals) => {
                    intervals.iter().flat_map(|interval| [interval.start as f64, interval.end as f64]).collect()
                }
                Numeric::Always(_) | Numeric::Text => Vec::new(),
            },
            _ => Vec::new(),
        };
        numbers.into_iter().map(round).filter(|v| v.is_finite() && v.abs() >= whole).collect()
    }

    /// Whether it is unknown of some numbers of a column of floats, or of doubles.
    pub fn is_blurred(&self, is_float: bool) -> bool {
        match is_float {
            true => !self.blurred(|v| f64::from(v as f32), WHOLE_FLOATS).is_empty(),
            false => !self.blurred(|v| v, WHOLE_DOUBLES).is_empty(),
        }
    }

    /// From `whole` on, a value of the column may stand for several whole numbers.
    fn double_form(&self, round: fn(f64) -> f64, whole: f64, print: fn(f64) -> String) -> DoubleTest {
        let null = self.null();
        if let Test::Single(ValueType::Long) = self {
            let is_long = move |v: f64| v.abs() < whole && convert::exact_long(v).is_some();
            return Box::new(move |value| Some(value.is_none_or(is_long)));
        }
        if let Test::Single(ValueType::String) = self {
            // The last digits of larger ones were written, and are gone.
            return Box::new(move |value| Some(value.is_none_or(|v| v.abs() < whole)));
        }
        let found: Box<dyn Fn(f64) -> bool + Send + Sync> = match self.numeric() {
            Numeric::Always(answer) => Box::new(move |_| answer),
            Numeric::OneOf(numbers) => {
                let bits: HashSet<u64, foldhash::fast::RandomState> =
                    numbers.iter().map(|n| double_key(round(n.double()))).collect();
                Box::new(move |v| bits.contains(&double_key(v)))
            }
            Numeric::Between(limits) => {
                let limits = limits.map(|n| Some(round(n.double()))).expect("rounding gives a number");
                Box::new(move |v| limits.admit(|bound| compare_doubles(v, *bound)))
            }
            Numeric::Intervals(intervals) => Box::new(move |v| within(&intervals, v as i64)),
            Numeric::Text if matches!(self.of_one(), Test::OfText(_)) => {
                let test = self.plain_text();
                // How it was written before its column became one of doubles is not known: 5 and 5.0 are one, and of large
                // numbers the last digits are gone.
                return Box::new(move |value| match value {
                    None => null,
                    Some(v) if v.abs() >= whole => None,
                    Some(v) if v.fract() == 0.0 => {
                        let (as_double, as_long) = (test(&print(v)), test(&(v as i64).to_string()));
                        (as_double == as_long).then_some(as_double)
                    }
                    Some(v) => Some(test(&print(v))),
                });
            }
            Numeric::Text => {
                let test = self.plain_text();
                Box::new(move |v| test(&print(v)))
            }
        };
        let blurred = self.blurred(round, whole);
        if !blurred.is_empty() {
            return Box::new(move |value| match value {
                None => null,
                Some(v) if blurred.contains(&v) => None,
                Some(v) => Some(found(v)),
            });
        }
        Box::new(move |value| value.map_or(null, |v| Some(found(v))))
    }

    /// The inclusive range of longs that pass, if they are one range; empty if `low > high`. Says nothing of null.
    pub fn long_range(&self) -> Option<(i64, i64)> {
        match self.numeric() {
            Numeric::Between(limits) => Some(long_limits(&limits)),
            Numeric::OneOf(numbers) if numbers.len() == 1 => {
                let limit = Some(numbers[0]);
                Some(long_limits(&Limits { lower: limit, upper: limit, lower_open: false, upper_open: false }))
            }
            Numeric::Intervals(intervals) => match intervals.as_slice() {
                [] => Some((i64::MAX, i64::MIN)),
                [one] => Some((one.start, one.end.saturating_sub(1))),
                _ => None,
            },
            Numeric::Always(_) | Numeric::OneOf(_) | Numeric::Text => None,
        }
    }

    /// The range of doubles that pass, if they are one range: lower end, upper end (infinite where there is none), and
    /// whether each end is open. Says nothing of null; NaN counts as the largest value.
    pub fn double_range(&self) -> Option<(f64, f64, bool, bool)> {
        if self.is_blurred(false) {
            return None;
        }
        let Numeric::Between(limits) = self.numeric() else { return None };
        let end = |bound: Option<Number>, without: f64| bound.map_or(without, Number::double);
        Some((
            end(limits.lower, f64::NEG_INFINITY),
            end(limits.upper, f64::INFINITY),
            limits.lower_open,
            limits.upper_open,
        ))
    }

    /// One value of any type.
    pub fn value(&self, value: &Value) -> Option<bool> {
        CompiledTest::new(self).value(value)
    }

    fn numeric(&self) -> Numeric {
        match self.of_one() {
            Test::OfNumber(test) => test.numeric(),
            Test::OfText(_) => Numeric::Text,
            Test::Element(_) | Test::Elements(_) => Numeric::Always(false),
            Test::Single(_) | Test::Plain => Numeric::Always(true),
            Test::Null => Numeric::Always(false),
            Test::Equals { value, .. } => one_of([Number::of(value)]),
            Test::In { values, .. } => one_of(values.iter().map(Number::of)),
            Test::Selector { value } => one_of([value.as_deref().and_then(Number::of_text)]),
            Test::Range { lower, upper, lower_open, upper_open, .. } => {
                let limits = Limits {
                    lower: lower.clone(),
                    upper: upper.clone(),
                    lower_open: *lower_open,
                    upper_open: *upper_open,
                };
                limits.map(Number::of).map_or(Numeric::Always(false), Numeric::Between)
            }
            Test::Bound { lower, upper, lower_strict, upper_strict, ordering: Ordering::Numeric } => {
                let limits = Limits {
                    lower: lower.as_deref(),
                    upper: upper.as_deref(),
                    lower_open: *lower_strict,
                    upper_open: *upper_strict,
                };
                match limits.map(|text| Number::of_text(text)) {
                    Some(numbers) => Numeric::Between(numbers),
                    None => Numeric::Text,
                }
            }
            Test::Intervals(intervals) => Numeric::Intervals(Interval::merge(intervals)),
            Test::Search(Search::All) => Numeric::Always(true),
            Test::Bound { .. } | Test::Like(_) | Test::Regex(_) | Test::Search(_) | Test::Spatial(_) => Numeric::Text,
        }
    }

    /// The only texts that it can be true of, if it names them.
    pub fn texts(&self) -> Option<Vec<&str>> {
        match self.on_text() {
            Test::Selector { value: Some(text) } => Some(vec![text]),
            Test::Equals { value: Value::Text(text), .. } => Some(vec![text]),
            Test::In { values, .. } => values
                .iter()
                .map(|value| match value {
                    Value::Text(text) => Some(&**text),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    /// A text that every value contains of which the test is true; none if there is no such text.
    pub fn needle(&self) -> Option<String> {
        let needle = match self.on_text() {
            Test::Like(like) => like.compile().needle(),
            Test::Search(Search::Contains { text, case_sensitive: true }) => text.clone(),
            _ => return None,
        };
        Some(needle).filter(|needle| !needle.is_empty())
    }

    fn plain_text(&self) -> Box<dyn Fn(&str) -> bool + Send + Sync> {
        match self.of_one() {
            // Of numbers as they are written; of `OfNumber`, text itself does not come here.
            Test::OfNumber(test) | Test::OfText(test) => test.plain_text(),
            Test::Element(_) | Test::Elements(_) => Box::new(|_| false),
            Test::Single(ValueType::Long) => Box::new(|v| match Number::of_text(v) {
                Some(Number::Long(_)) => true,
                Some(Number::Double(v)) => v.abs() < WHOLE_DOUBLES && convert::exact_long(v).is_some(),
                None => false,
            }),
            Test::Single(value_type) if value_type.is_numeric() => {
                Box::new(|v| Number::of_text(v).is_some_and(|number| number.double().is_finite()))
            }
            Test::Single(_) | Test::Plain => Box::new(|_| true),
            Test::Null | Test::Selector { value: None } => Box::new(|_| false),
            Test::Selector { value: Some(wanted) } => {
                let wanted = wanted.clone();
                Box::new(move |v| v == wanted)
            }
            Test::Equals { value, .. } => match convert::to_text(value) {
                Some(wanted) => Box::new(move |v| v == &*wanted),
                None => Box::new(|_| false),
            },
            Test::In { values, .. } => {
                let set: HashSet<Arc<str>, foldhash::fast::RandomState> =
                    values.iter().filter_map(convert::to_text).collect();
                Box::new(move |v| set.contains(v))
            }
            Test::Range { lower, upper, lower_open, upper_open, value_type } => {
                let limits = Limits {
                    lower: lower.clone(),
                    upper: upper.clone(),
                    lower_open: *lower_open,
                    upper_open: *upper_open,
                };
                if value_type.is_numeric() {
                    let Some(limits) = limits.map(Number::of) else { return Box::new(|_| false) };
                    return Box::new(move |v| match Number::of_text(v) {
                        Some(number) => limits.admit(|bound| number.compare(*bound)),
                        None => limits.lower.is_none(),
                    });
                }
                let Some(limits) = limits.map(convert::to_text) else { return Box::new(|_| false) };
                Box::new(move |v| limits.admit(|bound| v.cmp(bound)))
            }
            Test::Bound { lower, upper, lower_strict, upper_strict, ordering } => {
                let limits = Limits {
                    lower: lower.clone(),
                    upper: upper.clone(),
                    lower_open: *lower_strict,
                    upper_open: *upper_strict,
                };
                let ordering = *ordering;
                Box::new(move |v| limits.admit(|bound| ordering.compare(v, bound)))
            }
            Test::Like(like) => match like.compile() {
                LikeMatcher::Contains(part) => Box::new(move |v| v.contains(part.as_str())),
                matcher => Box::new(move |v| matcher.matches(v)),
            },
            Test::Regex(regex) => {
                let regex = regex.clone();
                Box::new(move |v| regex.is_match(v))
            }
            Test::Search(search) => search.matcher(),
            Test::Spatial(spatial) => {
                let spatial = spatial.clone();
                Box::new(move |v| spatial.holds(v))
            }
            Test::Intervals(intervals) => {
                let intervals = Interval::merge(intervals);
                Box::new(move |v| convert::exact_long_of_text(v).is_some_and(|t| within(&intervals, t)))
            }
        }
    }
}

/// The strict test of a value that an array is to hold at one place; `None` of null.
fn of_element(value: &Value, of: &ValueType) -> Option<Test> {
    match value {
        Value::Null => None,
        value => Some(Test::Equals { value: value.clone(), value_type: of.clone() }.strict()),
    }
}

/// The long that is written so.
fn written_long(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|long| long.to_string() == text)
}

fn one_of(numbers: impl IntoIterator<Item = Option<Number>>) -> Numeric {
    let numbers: Vec<Number> = numbers.into_iter().flatten().collect();
    if numbers.is_empty() { Numeric::Always(false) } else { Numeric::OneOf(numbers) }
}

fn one_of_longs(mut longs: Vec<i64>) -> Box<dyn Fn(i64) -> bool + Send + Sync> {
    longs.sort_unstable();
    longs.dedup();
    match longs.as_slice() {
        [] => Box::new(|_| false),
        [one] => {
            let one = *one;
            Box::new(move |v| v == one)
        }
        few if few.len() <= 8 => Box::new(move |v| longs.contains(&v)),
        _ => {
            let set: HashSet<i64, foldhash::fast::RandomState> = longs.into_iter().collect();
            Box::new(move |v| set.contains(&v))
        }
    }
}

/// Bits that are equal for equal doubles: one zero, one NaN.
fn double_key(v: f64) -> u64 {
    if v.is_nan() { f64::NAN.to_bits() } else { (v + 0.0).to_bits() }
}

/// `intervals` are sorted and do not overlap.
fn within(intervals: &[Interval], t: i64) -> bool {
    let idx = intervals.partition_point(|interval| interval.end <= t);
    intervals.get(idx).is_some_and(|interval| interval.start <= t)
}

impl Search {
    /// Whether text contains what is searched for.
    pub fn matcher(&self) -> Box<dyn Fn(&str) -> bool + Send + Sync> {
        match self {
            Search::All => Box::new(|_| true),
            Search::Contains { text, case_sensitive } => contains(text, *case_sensitive),
            Search::Fragments { texts, case_sensitive } => {
                let parts: Vec<_> = texts.iter().map(|text| contains(text, *case_sensitive)).collect();
                Box::new(move |v| parts.iter().all(|part| part(v)))
            }
            Search::Regex(regex) => {
                let regex = regex.clone();
                Box::new(move |v| regex.is_match(v))
            }
        }
    }
}

fn contains(text: &str, case_sensitive: bool) -> Box<dyn Fn(&str) -> bool + Send + Sync> {
    if !case_sensitive {
        let mut builder = regex::RegexBuilder::new(&regex::escape(text));
        if let Ok(regex) = builder.case_insensitive(true).build() {
            return Box::new(move |v| regex.is_match(v));
        }
        let lower = text.to_lowercase();
        return Box::new(move |v| v.to_lowercase().contains(&lower));
    }
    let text = text.to_string();
    Box::new(move |v| v.contains(&text))
}

/// A test with its forms compiled when first used, for values of types not known ahead.
pub(super) struct CompiledTest {
    test: Test,
    text: std::sync::OnceLock<TextTest>,
    long: std::sync::OnceLock<LongTest>,
    double: std::sync::OnceLock<DoubleTest>,
}

impl CompiledTest {
    pub(super) fn new(test: &Test) -> CompiledTest {
        CompiledTest {
            test: test.clone(),
            text: Default::default(),
            long: Default::default(),
            double: Default::default(),
        }
    }

    /// On a list it is true if any value passes, unknown if none does and one is unknown; an empty list is null.
    pub(super) fn value(&self, value: &Value) -> Option<bool> {
        match value {
            Value::Null => self.test.null(),
            Value::List(values) if matches!(self.test, Test::Single(_)) => Some(values.is_empty()),
            Value::List(values) if matches!(self.test, Test::Elements(_)) => self.test.of_array(values).flatten(),
            // An array is one value.
            Value::List(values) if let Test::Equals { value: Value::List(wanted), .. } = &self.test => {
                Some(values == wanted)
            }
            Value::Text(text) => self.text.get_or_init(|| self.test.text())(Some(text)),
            Value::Long(v) => self.long.get_or_init(|| self.test.long())(Some(*v)),
            Value::Double(v) => self.double.get_or_init(|| self.test.double())(Some(*v)),
            Value::List(values) if values.is_empty() => self.test.null(),
            Value::List(values) => super::some_true(values.iter().map(|v| self.value(v))),
            Value::Json(_) | Value::Bytes(_) => match self.test {
                Test::Null | Test::Selector { value: None } | Test::Single(_) | Test::Plain => Some(false),
                _ => None,
            },
        }
    }
}
