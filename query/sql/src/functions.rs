//! Druid's scalar functions. Each is one line of [`FUNCTIONS`]: its SQL name and types, and how it is said in the
//! native expression language. Native leaves push that text down; where DataFusion computes, the same text is evaluated
//! by the same code ([`segment::expr`]), so both answers agree.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::{Result as DfResult, ScalarValue, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use segment::block::{Block, Value};
use segment::expr::{Expr, Inputs};
use segment::lookup::Lookups;

use crate::convert::{self, DOCUMENT, TIMESTAMP, list_type};

/// A function of the SQL language.
pub struct Definition {
    pub name: &'static str,
    /// A letter for each argument (T time, S string, C string and nothing else, L long, X long and no text, D double, N
    /// number, K number and no text, I number or string, P anything that prints, M multi-value string, V array or
    /// multi-value string, E what an array may hold, Y sketch, Z sketch or what a sketch is made with, A any), those after
    /// `|` optional, the last repeated as often as wanted if `*` follows.
    args: &'static str,
    /// A letter as above, B for boolean; N is a long if all numbers are longs, else a double. J is a document, s an
    /// array of strings, l of longs, d of doubles, j of documents, g what all
    /// arguments are or can be, v the array that the first argument is, c an array of what the arguments
    /// have in common, e an element of the first argument.
    result: char,
    native: Native,
}

enum Native {
    /// The same arguments under this name.
    Call(&'static str),
    /// The text made from the arguments' texts.
    Form(fn(&[String]) -> String),
}

use Native::{Call, Form};

const fn f(name: &'static str, args: &'static str, result: char, native: Native) -> Definition {
    Definition { name, args, result, native }
}

pub static FUNCTIONS: &[Definition] = &[
    f("greatest", "P*", 'g', Call("greatest")),
    f("least", "P*", 'g', Call("least")),
    f("text_of", "P", 'S', Form(|a| format!("cast({}, 'STRING')", a[0]))),
    f("long_of", "D", 'L', Form(|a| format!("cast({}, 'LONG')", a[0]))),
    f("time_floor", "TS|TS", 'T', Call("timestamp_floor")),
    f("time_ceil", "TS|TS", 'T', Call("timestamp_ceil")),
    f("time_shift", "TSL|S", 'T', Call("timestamp_shift")),
    f("time_extract", "TS|S", 'L', Call("timestamp_extract")),
    f("time_parse", "S|SS", 'T', Call("timestamp_parse")),
    f("time_format", "T|SS", 'S', Call("timestamp_format")),
    f("timestampdiff", "STT", 'L', Form(timestamp_diff)),
    f("concat", "P*", 'S', Call("concat")),
    f("textcat", "SS", 'S', Call("concat")),
    f("contains_string", "SS", 'B', Call("contains_string")),
    f("icontains_string", "SS", 'B', Call("icontains_string")),
    f("decode_base64_utf8", "S", 'S', Call("decode_base64_utf8")),
    f("left", "SL", 'S', Call("left")),
    f("right", "SL", 'S', Call("right")),
    f("length", "S", 'L', Call("strlen")),
    f("char_length", "S", 'L', Call("strlen")),
    f("character_length", "S", 'L', Call("strlen")),
    f("strlen", "S", 'L', Call("strlen")),
    f("lower", "S", 'S', Call("lower")),
    f("upper", "S", 'S', Call("upper")),
    f("lpad", "SL|S", 'S', Form(|a| pad("lpad", a))),
    f("rpad", "SL|S", 'S', Form(|a| pad("rpad", a))),
    f("parse_long", "S|L", 'L', Call("parse_long")),
    f("strpos", "SS", 'L', Form(|a| format!("(strpos({}, {}) + 1)", a[0], a[1]))),
    f("position_from", "SSL", 'L', Form(|a| format!("(strpos({}, {}, {} - 1) + 1)", a[1], a[0], a[2]))),
    f("regexp_extract", "SS|L", 'S', Call("regexp_extract")),
    f("regexp_like", "SS", 'B', Call("regexp_like")),
    f("regexp_replace", "SSS", 'S', Call("regexp_replace")),
    f("replace", "SSS", 'S', Call("replace")),
    f("repeat", "SL", 'S', Call("repeat")),
    f("reverse", "S", 'S', Call("reverse")),
    f("string_format", "SA*", 'S', Call("format")),
    f("substring", "SL|L", 'S', Form(substring)),
    f("substr", "SL|L", 'S', Form(substring)),
    f("btrim", "S|S", 'S', Call("trim")),
    f("trim", "S|S", 'S', Call("trim")),
    f("ltrim", "S|S", 'S', Call("ltrim")),
    f("rtrim", "S|S", 'S', Call("rtrim")),
    f("abs", "N", 'N', Call("abs")),
    f("ceil", "N", 'N', Call("ceil")),
    f("ceiling", "N", 'N', Call("ceil")),
    f("floor", "N", 'N', Call("floor")),
    f("round", "N|L", 'N', Call("round")),
    f("truncate", "N|L", 'N', Form(truncate)),
    f("trunc", "N|L", 'N', Form(truncate)),
    f("sign", "N", 'N', Call("signum")),
    f("exp", "D", 'D', Call("exp")),
    f("ln", "D", 'D', Call("log")),
    f("log10", "D", 'D', Call("log10")),
    f("sqrt", "D", 'D', Call("sqrt")),
    f("power", "DD", 'D', Call("pow")),
    f("pow", "DD", 'D', Call("pow")),
    f("div", "NN", 'L', Form(|a| format!("div({}, {})", a[0], a[1]))),
    f("safe_divide", "NN", 'N', Call("safe_divide")),
    f("sin", "D", 'D', Call("sin")),
    f("cos", "D", 'D', Call("cos")),
    f("tan", "D", 'D', Call("tan")),
    f("cot", "D", 'D', Call("cot")),
    f("asin", "D", 'D', Call("asin")),
    f("acos", "D", 'D', Call("acos")),
    f("atan", "D", 'D', Call("atan")),
    f("atan2", "DD", 'D', Call("atan2")),
    f("degrees", "D", 'D', Call("todegrees")),
    f("radians", "D", 'D', Call("toradians")),
    f("bitwise_and", "LL", 'L', Call("bitwiseAnd")),
    f("bitwise_or", "LL", 'L', Call("bitwiseOr")),
    f("bitwise_xor", "LL", 'L', Call("bitwiseXor")),
    f("bitwise_complement", "L", 'L', Call("bitwiseComplement")),
    f("bitwise_shift_left", "LL", 'L', Call("bitwiseShiftLeft")),
    f("bitwise_shift_right", "LL", 'L', Call("bitwiseShiftRight")),
    f("bitwise_convert_double_to_long_bits", "D", 'L', Call("bitwiseConvertDoubleToLongBits")),
    f("bitwise_convert_long_bits_to_double", "L", 'D', Call("bitwiseConvertLongBitsToDouble")),
    f("human_readable_binary_byte_format", "K|X", 'S', Call("human_readable_binary_byte_format")),
    f("human_readable_decimal_byte_format", "K|X", 'S', Call("human_readable_decimal_byte_format")),
    f("human_readable_decimal_format", "K|X", 'S', Call("human_readable_decimal_format")),
    f("array_append", "VA", 'c', Call("array_append")),
    f("array_prepend", "AV", 'c', Call("array_prepend")),
    f("array_concat", "VV", 'c', Call("array_concat")),
    f("array_contains", "VA", 'B', Call("array_contains")),
    f("array_overlap", "VV", 'B', Call("array_overlap")),
    f("scalar_in_array", "EV", 'B', Call("scalar_in_array")),
    f("array_length", "A", 'L', Call("array_length")),
    f("array_offset", "VL", 'e', Call("array_offset")),
    f("array_ordinal", "VL", 'e', Call("array_ordinal")),
    f("array_offset_of", "VE", 'L', Call("array_offset_of")),
    f("array_ordinal_of", "VE", 'L', Call("array_ordinal_of")),
    f("array_slice", "VL|L", 'v', Call("array_slice")),
    f("array_to_string", "VS", 'S', Call("array_to_string")),
    f("string_to_array", "SS", 's', Call("string_to_array")),
    f("array_to_mv", "V", 'S', Call("array_to_mv")),
    f("mv_to_array", "M", 's', Form(|a| format!("mv_to_array(mv_harmonize_nulls({}))", a[0]))),
    f("string_to_mv", "SS", 'S', Call("string_to_array")),
    f("mv_append", "MP", 'S', Call("array_append")),
    f("mv_prepend", "PM", 'S', Call("array_prepend")),
    f("mv_concat", "MV", 'S', Call("array_concat")),
    f("mv_contains", "MA", 'B', Form(|a| format!("array_contains(mv_harmonize_nulls({}), {})", a[0], a[1]))),
    f("mv_overlap", "MV", 'B', Form(mv_overlap)),
    f("mv_length", "M", 'L', Call("array_length")),
    f("mv_offset", "ML", 'S', Call("array_offset")),
    f("mv_ordinal", "ML", 'S', Call("array_ordinal")),
    f("mv_offset_of", "MP", 'L', Call("array_offset_of")),
    f("mv_ordinal_of", "MP", 'L', Call("array_ordinal_of")),
    f("mv_slice", "ML|L", 'S', Call("array_slice")),
    f("mv_to_string", "MS", 'S', Call("array_to_string")),
    f("mv_filter_only", "SV", 'S', Form(|a| kept(&format!("array_contains({}, x)", a[1]), &a[0]))),
    f("mv_filter_none", "SV", 'S', Form(|a| kept(&format!("!array_contains({}, x)", a[1]), &a[0]))),
    f("mv_filter_regex", "SS", 'S', Form(|a| kept(&format!("regexp_like(x, {})", a[1]), &a[0]))),
    f("mv_filter_prefix", "SS", 'S', Form(|a| kept(&format!("strpos(x, {}) == 0", a[1]), &a[0]))),
    f("json_value", "AS", 'S', Call("json_value")),
    f("json_value_long", "AS", 'L', Form(|a| format!("json_value({}, {}, 'LONG')", a[0], a[1]))),
    f("json_value_double", "AS", 'D', Form(|a| format!("json_value({}, {}, 'DOUBLE')", a[0], a[1]))),
    f("json_value_boolean", "AS", 'B', Form(|a| format!("json_value({}, {}, 'LONG')", a[0], a[1]))),
    f("json_value_time", "AS", 'T', Form(|a| format!("json_value({}, {}, 'LONG')", a[0], a[1]))),
    f("json_value_strings", "AS", 's', Form(|a| format!("json_value({}, {}, 'ARRAY<STRING>')", a[0], a[1]))),
    f("json_value_longs", "AS", 'l', Form(|a| format!("json_value({}, {}, 'ARRAY<LONG>')", a[0], a[1]))),
    f("json_value_doubles", "AS", 'd', Form(|a| format!("json_value({}, {}, 'ARRAY<DOUBLE>')", a[0], a[1]))),
    f("json_query", "AS", 'J', Call("json_query")),
    f("json_query_array", "AS", 'j', Call("json_query_array")),
    f("json_keys", "AS", 's', Call("json_keys")),
    f("json_paths", "A", 's', Call("json_paths")),
    f("json_object", "|A*", 'J', Call("json_object")),
    f("json_merge", "AA*", 'J', Call("json_merge")),
    f("parse_json", "C", 'J', Call("parse_json")),
    f("try_parse_json", "C", 'J', Call("try_parse_json")),
    f("to_json_string", "A", 'S', Call("to_json_string")),
    f("lookup", "SS|S", 'S', Call("lookup")),
    f("ipv4_match", "IS", 'B', Call("ipv4_match")),
    f("ipv4_parse", "I", 'L', Call("ipv4_parse")),
    f("ipv4_stringify", "I", 'S', Call("ipv4_stringify")),
    f("ipv6_match", "SS", 'B', Call("ipv6_match")),
    f("hll_sketch_estimate", "Y|A", 'D', Call("hll_sketch_estimate")),
    f("hll_sketch_estimate_with_error_bounds", "Y|L", 'd', Call("hll_sketch_estimate_with_error_bounds")),
    f("hll_sketch_union", "Z*", 'X', Call("hll_sketch_union")),
    f("hll_sketch_to_string", "Y", 'S', Call("hll_sketch_to_string")),
    f("theta_sketch_estimate", "Y", 'D', Call("theta_sketch_estimate")),
    f("theta_sketch_estimate_with_error_bounds", "YL", 'J', Call("theta_sketch_estimate_with_error_bounds")),
    f("theta_sketch_union", "Z*", 'X', Call("theta_sketch_union")),
    f("theta_sketch_intersect", "Z*", 'X', Call("theta_sketch_intersect")),
    f("theta_sketch_not", "Z*", 'X', Call("theta_sketch_not")),
    f("cpc_sketch_estimate", "Y", 'D', Call("cpc_sketch_estimate")),
    f("cpc_sketch_estimate_with_error_bounds", "Y|L", 'd', Call("cpc_sketch_estimate_with_error_bounds")),
    f("cpc_sketch_union", "Y*", 'X', Call("cpc_sketch_union")),
    f("frequent_items", "Y|L", 'J', Call("frequent_items")),
    f("frequent_items_estimate", "YS", 'L', Call("frequent_items_estimate")),
    f("ds_get_quantile", "YD", 'D', Call("ds_get_quantile")),
    f("ds_get_quantiles", "YD*", 'd', Call("ds_get_quantiles")),
    f("ds_histogram", "YD*", 'd', Call("ds_histogram")),
    f("ds_cdf", "YD*", 'd', Call("ds_cdf")),
    f("ds_rank", "YD", 'D', Call("ds_rank")),
    f("ds_quantile_summary", "Y", 'S', Call("ds_quantile_summary")),
    f("ds_tuple_doubles_metrics_sum_estimate", "Y", 'd', Call("ds_tuple_doubles_metrics_sum_estimate")),
    f("ds_tuple_doubles_union", "Z*", 'X', Call("ds_tuple_doubles_union")),
    f("ds_tuple_doubles_intersect", "Z*", 'X', Call("ds_tuple_doubles_intersect")),
    f("ds_tuple_doubles_not", "Z*", 'X', Call("ds_tuple_doubles_not")),
    f("bloom_filter_test", "AS", 'B', Call("bloom_filter_test")),
    f("decode_base64_complex", "SA", 'X', Call("complex_decode_base64")),
    f("complex_decode_base64", "SA", 'X', Call("complex_decode_base64")),
    f("sketch_finalize", "Y", 'S', Call("sketch_finalize")),
];

/// No value is a null, which an array may have.
fn mv_overlap(args: &[String]) -> String {
    let (values, array) = (&args[0], &args[1]);
    format!("if(isnull({values}), if(array_contains({array}, null), 1, null), array_overlap({values}, {array}))")
}

/// The values of a multi-value string that pass a test; null if none does.
fn kept(test: &str, values: &str) -> String {
    let kept = format!("filter((x) -> {test}, {values})");
    format!("if(array_length({kept}) > 0, {kept}, null)")
}

fn pad(name: &str, args: &[String]) -> String {
    format!("{name}({}, {}, {})", args[0], args[1], args.get(2).map_or("' '", String::as_str))
}

/// SQL counts characters from 1, the native function from 0.
fn substring(args: &[String]) -> String {
    let length = args.get(2).map_or("-1", String::as_str);
    match args[1].parse::<i64>() {
        Ok(start) => format!("substring({}, {}, {length})", args[0], start.max(1) - 1),
        Err(_) => format!("substring({}, ({} - 1), {length})", args[0], args[1]),
    }
}

fn truncate(args: &[String]) -> String {
    match args.get(1) {
        None => format!("cast(cast({}, 'LONG'), 'DOUBLE')", args[0]),
        Some(digits) => {
            format!("(cast(cast(({0} * pow(10, {digits})), 'LONG'), 'DOUBLE') / pow(10, {digits}))", args[0])
        }
    }
}

fn timestamp_diff(args: &[String]) -> String {
    let (from, to) = (&args[1], &args[2]);
    let millis = match args[0].trim_matches('\'') {
        "SECOND" => 1_000,
        "MINUTE" => 60_000,
        "HOUR" => 3_600_000,
        "DAY" => 86_400_000,
        "WEEK" => 604_800_000,
        unit => {
            let months = match unit {
                "MONTH" => 1,
                "QUARTER" => 3,
                "YEAR" => 12,
                _ => return format!("({to} - {from})"),
            };
            // Whole months: the calendar's difference, less one if the last is not complete.
            let apart = format!(
                "(12 * (timestamp_extract({to}, 'YEAR') - timestamp_extract({from}, 'YEAR')) + \
                 timestamp_extract({to}, 'MONTH') - timestamp_extract({from}, 'MONTH'))"
            );
            return format!(
                "div(if({to} >= {from}, {apart} - (timestamp_shift({from}, 'P1M', {apart}) > {to}), \
                 {apart} + (timestamp_shift({from}, 'P1M', {apart}) < {to})), {months})"
            );
        }
    };
    format!("div(({to} - {from}), {millis})")
}

impl Definition {
    /// The call in the native expression language. `args` are the arguments' texts.
    pub fn native(&self, args: &[String]) -> String {
        // Trailing nulls of optional arguments say nothing.
        let required = self.args.find('|').unwrap_or(usize::MAX);
        let mut args = args;
        while args.len() > required && args.last().is_some_and(|last| last == "null") {
            args = &args[..args.len() - 1];
        }
        match &self.native {
            Call(name) => format!("{name}({})", args.join(", ")),
            Form(form) => form(args),
        }
    }

    /// Whether statements do not name it: it stands for other words.
    pub fn is_internal(&self) -> bool {
        self.name.starts_with("json_value_") || matches!(self.name, "text_of" | "long_of" | "position_from")
    }

    /// The forms it takes, a line each, as INFORMATION_SCHEMA.ROUTINES shows them.
    pub fn signatures(&self) -> String {
        let letters: Vec<char> = self.args.chars().filter(|letter| letter.is_ascii_alphabetic()).collect();
        let least = self.args.find('|').unwrap_or(letters.len());
        let name = self.name.to_ascii_uppercase();
        let form = |count: usize| {
            let names: Vec<&str> = letters[..count].iter().map(|letter| form_name(*letter)).collect();
            let more = if self.args.ends_with('*') && count == letters.len() { "..." } else { "" };
            format!("'{name}({}{more})'", names.join(", "))
        };
        (least..=letters.len()).map(form).collect::<Vec<_>>().join("\n")
    }

    fn coerce(&self, given: &[DataType]) -> DfResult<Vec<DataType>> {
        let letters: Vec<char> = self.args.chars().filter(|letter| letter.is_ascii_alphabetic()).collect();
        let repeats = self.args.ends_with('*');
        let least = match self.args.find('|') {
            Some(bar) => bar,
            None if repeats => letters.len() - 1,
            None => letters.len(),
        };
        if given.len() < least || (!repeats && given.len() > letters.len()) {
            let most = if repeats { "or more".to_string() } else { format!("to {}", letters.len()) };
            return plan_err!(
                "function {} takes {least} {most} arguments, {} given",
                self.name.to_ascii_uppercase(),
                given.len()
            );
        }
        let letter = |idx: usize| *letters.get(idx).unwrap_or(letters.last().unwrap_or(&'A'));
        let refuse = || -> DfResult<Vec<DataType>> {
            let name = self.name.to_ascii_uppercase();
            let types: Vec<String> = given.iter().map(|given| format!("<{}>", sql_name(given))).collect();
            let form: Vec<&str> = letters.iter().map(|letter| form_name(*letter)).collect();
            plan_err!(
                "Cannot apply '{name}' to arguments of type '{name}({})'. Supported form(s): '{name}({})'",
                types.join(", "),
                form.join(", ")
            )
        };
        for (idx, given) in given.iter().enumerate() {
            let whole = matches!(given, DataType::List(_) | DataType::Binary) || *given == DOCUMENT;
            let text = matches!(given, DataType::Utf8 | DataType::Utf8View);
            let free = text || *given == DataType::Null;
            let fits = match letter(idx) {
                'V' => matches!(given, DataType::List(_)) || free,
                'A' | 'M' => true,
                'C' => free,
                'Y' => *given == DataType::Binary,
                'Z' => *given == DataType::Binary || text || given.is_integer(),
                'K' | 'X' => !whole && !text,
                // A number is no instant; CAST makes one of it.
                'T' => !given.is_numeric() && *given != DataType::Boolean && !whole,
                _ => !whole,
            };
            if !fits {
                return refuse();
            }
            if self.name == "json_object" && idx % 2 == 0 && !free {
                return plan_err!("function JSON_OBJECT: field name must be a STRING, not {}", sql_name(given));
            }
        }
        Ok(given
            .iter()
            .enumerate()
            .map(|(idx, given)| match letter(idx) {
                'T' => TIMESTAMP,
                'S' | 'C' => DataType::Utf8,
                'L' | 'X' => DataType::Int64,
                'D' => DataType::Float64,
                'N' | 'K' => match given {
                    DataType::Float32 | DataType::Float64 | DataType::Utf8 | DataType::Decimal128(..) => {
                        DataType::Float64
                    }
                    _ => DataType::Int64,
                },
                _ => match given {
                    DataType::Timestamp(..) | DataType::Date32 => TIMESTAMP,
                    DataType::List(field) => match field.data_type() {
                        DataType::Null => list_type(DataType::Utf8),
                        of if of.is_integer() => list_type(DataType::Int64),
                        DataType::Float32 | DataType::Decimal128(..) => list_type(DataType::Float64),
                        _ => given.clone(),
                    },
                    DataType::LargeUtf8 | DataType::Binary => given.clone(),
                    DataType::Null if matches!(letter(idx), 'P') => DataType::Null,
                    DataType::Null if matches!(letter(idx), 'V') => list_type(DataType::Utf8),
                    DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => DataType::Float64,
                    given if given.is_integer() => DataType::Int64,
                    DataType::Boolean => DataType::Boolean,
                    _ => DataType::Utf8,
                },
            })
            .collect())
    }

    fn result(&self, args: &[DataType]) -> DataType {
        match self.result {
            'T' => TIMESTAMP,
            'S' => DataType::Utf8,
            'L' => DataType::Int64,
            'B' => DataType::Boolean,
            'J' => DOCUMENT,
            'X' => DataType::Binary,
            'j' => list_type(DOCUMENT),
            's' => list_type(DataType::Utf8),
            'l' => list_type(DataType::Int64),
            'd' => list_type(DataType::Float64),
            'g' => {
                let all = args.iter().filter(|given| **given != DataType::Null).cloned();
                all.reduce(common).unwrap_or(DataType::Utf8)
            }
            'v' => list_type(element(args.first().unwrap_or(&DataType::Utf8))),
            'e' => element(args.first().unwrap_or(&DataType::Utf8)),
            'c' => {
                let all = args.iter().map(element).filter(|of| *of != DataType::Null);
                list_type(all.reduce(common).unwrap_or(DataType::Utf8))
            }
            'N' if args.first().is_some_and(DataType::is_integer) && args.iter().all(DataType::is_integer) => {
                DataType::Int64
            }
            _ => DataType::Float64,
        }
    }
}

/// What an array is of; a scalar stands for an array of one.
fn element(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(field) => field.data_type().clone(),
        other => other.clone(),
    }
}

fn common(a: DataType, b: DataType) -> DataType {
    match (&a, &b) {
        _ if a == b => a,
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => DataType::Float64,
        _ => DataType::Utf8,
    }
}

/// The name of a type in SQL, for messages.
pub fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View => "VARCHAR".to_string(),
        DataType::Int64 => "BIGINT".to_string(),
        DataType::Float64 => "DOUBLE".to_string(),
        DataType::Float32 => "FLOAT".to_string(),
        DataType::Boolean => "BOOLEAN".to_string(),
        DataType::Timestamp(..) => "TIMESTAMP(3)".to_string(),
        DataType::List(field) => format!("{} ARRAY", sql_name(field.data_type())),
        DataType::LargeUtf8 => "COMPLEX<json>".to_string(),
        DataType::Binary => "OTHER".to_string(),
        DataType::Struct(_) => "ROW".to_string(),
        other => other.to_string().to_ascii_uppercase(),
    }
}

fn form_name(letter: char) -> &'static str {
    match letter {
        'T' => "<TIMESTAMP>",
        'S' | 'C' | 'M' => "<CHARACTER>",
        'L' | 'X' => "<INTEGER>",
        'D' | 'N' | 'K' => "<NUMERIC>",
        'V' => "<ARRAY>",
        'Y' | 'Z' => "<OTHER>",
        _ => "<ANY>",
    }
}

/// The literal in the native expression language; `None` if it cannot be said there.
pub fn literal(value: &ScalarValue) -> Option<String> {
    Some(match value {
        value if value.is_null() => "null".to_string(),
        // A document, and several values of a multi-value string.
        ScalarValue::LargeUtf8(Some(text)) => format!("parse_json({})", quote(text, '\'')),
        ScalarValue::Utf8(Some(text)) if text.starts_with(convert::SEVERAL) => match convert::value_of(text) {
            Value::List(values) => {
                let texts = values.iter().map(|value| match value {
                    Value::Text(text) => quote(text, '\''),
                    _ => "null".to_string(),
                });
                format!("array({})", texts.collect::<Vec<_>>().join(", "))
            }
            Value::Text(text) => quote(&text, '\''),
            _ => return None,
        },
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => quote(text, '\''),
        ScalarValue::Int64(Some(long)) => long_literal(*long),
        ScalarValue::Int32(Some(long)) => long.to_string(),
        ScalarValue::TimestampMillisecond(Some(millis), None) => long_literal(*millis),
        ScalarValue::Float64(Some(double)) if double.is_finite() => format!("{double:?}"),
        ScalarValue::Float32(Some(double)) if double.is_finite() => format!("{:?}", *double as f64),
        ScalarValue::List(list) => {
            let items = list.value(0);
            let items = (0..items.len()).map(|idx| literal(&ScalarValue::try_from_array(&items, idx).ok()?));
            format!("array({})", items.collect::<Option<Vec<_>>>()?.join(", "))
        }
        ScalarValue::Boolean(Some(flag)) => i64::from(*flag).to_string(),
        _ => return None,
    })
}

fn long_literal(long: i64) -> String {
    match long {
        i64::MIN => "(-9223372036854775807 - 1)".to_string(),
        long => long.to_string(),
    }
}

/// A name or string with the escapes of the native expression language.
pub fn quote(text: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark);
    for ch in text.chars() {
        match ch {
            ch if ch == mark || ch == '\\' => {
                out.push('\\');
                out.push(ch);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ch => out.push(ch),
        }
    }
    out.push(mark);
    out
}

/// All functions by SQL name, in lower case.
pub fn all(lookups: &Arc<Lookups>) -> HashMap<String, Arc<ScalarUDF>> {
    FUNCTIONS
        .iter()
        .map(|definition| {
            let signature = match definition.args {
                "" => Signature::nullary(Volatility::Immutable),
                _ => Signature::user_defined(Volatility::Immutable),
            };
            let function = NativeFunction { definition, signature, lookups: lookups.clone() };
            (definition.name.to_string(), Arc::new(ScalarUDF::new_from_impl(function)))
        })
        .collect()
}

/// A definition as DataFusion sees it.
pub struct NativeFunction {
    pub definition: &'static Definition,
    signature: Signature,
    lookups: Arc<Lookups>,
}

impl PartialEq for NativeFunction {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for NativeFunction {}

impl Hash for NativeFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl std::fmt::Debug for NativeFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.definition.name)
    }
}

impl ScalarUDFImpl for NativeFunction {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        Ok(self.definition.result(args))
    }

    fn coerce_types(&self, args: &[DataType]) -> DfResult<Vec<DataType>> {
        self.definition.coerce(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let mut texts = Vec::with_capacity(args.args.len());
        let mut columns: Vec<Option<Block>> = Vec::with_capacity(args.args.len());
        let mut scalar = true;
        for (idx, arg) in args.args.iter().enumerate() {
            let (text, column) = match arg {
                ColumnarValue::Scalar(value) => match literal(value) {
                    Some(text) => (text, None),
                    None => {
                        (format!("a{idx}"), Some(outside(convert::block(&value.to_array_of_size(args.number_rows)?))?))
                    }
                },
                ColumnarValue::Array(array) => {
                    scalar = false;
                    // One column is one value, also where it is given twice.
                    let same =
                        |other: &ColumnarValue| matches!(other, ColumnarValue::Array(o) if Arc::ptr_eq(o, array));
                    match args.args[..idx].iter().position(same) {
                        Some(earlier) => (format!("a{earlier}"), None),
                        None => (format!("a{idx}"), Some(outside(convert::block(array))?)),
                    }
                }
            };
            texts.push(text);
            columns.push(column);
        }
        let text = self.definition.native(&texts);
        let expr = match self.lookups.scope(|| Expr::parse(&text)) {
            Ok(expr) => expr,
            Err(error) => return exec_err!("function {}: {error}", self.definition.name.to_ascii_uppercase()),
        };
        let rows = if scalar { columns.iter().flatten().map(Block::len).next().unwrap_or(1) } else { args.number_rows };
        let block = expr.block(&Args { columns, rows }).map_err(|error| crate::error::Error::Query(error.into()));
        let block = outside(block)?;
        let result: ArrayRef = outside(convert::array(block, args.return_field.data_type()))?;
        match scalar && !result.is_empty() {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

fn outside<T>(result: crate::error::Result<T>) -> DfResult<T> {
    result.map_err(|error| DataFusionError::External(Box::new(error)))
}

struct Args {
    columns: Vec<Option<Block>>,
    rows: usize,
}

impl Inputs for Args {
    fn column(&self, name: &str) -> Option<Block> {
        let idx: usize = name.strip_prefix('a')?.parse().ok()?;
        self.columns.get(idx)?.clone()
    }

    fn len(&self) -> usize {
        self.rows
    }
}
