//! The series of this process as others read them: taken apart from what the recorder renders, in an order that stays the
//! same, and written as Prometheus' text or as OpenMetrics.

use std::fmt::Write;

/// Series of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// As it was recorded: of counters with `_total`.
    pub name: String,
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The family's, or that with `_sum`, `_count` or `_bucket`.
    pub name: String,
    /// By name; a bound of a histogram or a quantile is one of them.
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// What whoever sent this `Accept` reads: OpenMetrics if it is named, text if nothing is said.
    pub fn accepted(accept: &str) -> Format {
        let is_named = accept.split(',').any(|one| one.trim().starts_with("application/openmetrics-text"));
        if is_named { Format::OpenMetrics } else { Format::Text }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Units by which a name may end, before `_total`.
const UNITS: [&str; 4] = ["seconds", "bytes", "rows", "records"];

impl Family {
    /// Takes in a sample; labels are by name.
    pub fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        self.samples.push(Sample { name: self.name.clone(), labels, value });
    }

    /// The name without what tells a counter.
    pub fn base(&self) -> &str {
        self.name.strip_suffix("_total").filter(|_| self.kind == "counter").unwrap_or(&self.name)
    }

    pub fn unit(&self) -> Option<&'static str> {
        UNITS.into_iter().find(|unit| self.base().strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }
}

/// Of what the recorder rendered, by name; what is no line of it is passed over.
pub fn families(rendered: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut help = ("", "");
    for line in rendered.lines() {
        if let Some((name, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = (name, text);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let help = if help.0 == name { unescaped(help.1) } else { String::new() };
            families.push(Family { name: name.into(), kind: kind.into(), help, samples: Vec::new() });
        } else if let (Some(family), Some(sample)) = (families.last_mut(), sample(line))
            && sample.name.starts_with(&family.name)
        {
            family.samples.push(sample);
        }
    }
    families.retain(|family| !family.samples.is_empty());
    families.sort_by(|a, b| a.name.cmp(&b.name));
    for family in &mut families {
        // Bounds of a histogram stay in their order, which is not that of their texts.
        family.samples.sort_by_cached_key(|sample| {
            let of_series = |(name, _): &&(String, String)| name != "le" && name != "quantile";
            sample.labels.iter().filter(of_series).cloned().collect::<Vec<_>>()
        });
    }
    families
}

fn sample(line: &str) -> Option<Sample> {
    let at = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(at);
    let mut labels = Vec::new();
    let mut rest = rest;
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (name, after) = rest.trim_start_matches(',').split_once("=\"")?;
            let mut escaped = false;
            let end = after.find(|ch| {
                let ends = ch == '"' && !escaped;
                escaped = ch == '\\' && !escaped;
                ends
            })?;
            let value = unescaped(&after[..end]);
            let is_number = name == "le" || name == "quantile";
            labels.push((name.to_string(), if is_number { canonical(value) } else { value }));
            rest = &after[end + 1..];
        }
        rest = &rest[1..];
        labels.sort();
    }
    Some(Sample { name: name.to_string(), labels, value: rest.trim().parse().ok()? })
}

/// A number as OpenMetrics wants it in a label: `1` is `1.0`.
fn canonical(number: String) -> String {
    if number.bytes().all(|byte| byte.is_ascii_digit()) { number + ".0" } else { number }
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(ch) = chars.next() {
        match (ch, ch == '\\') {
            (_, true) => match chars.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            (ch, false) => plain.push(ch),
        }
    }
    plain
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub fn render(families: &[Family], format: Format) -> String {
    let mut text = String::new();
    for family in families {
        let name = match format {
            Format::Text => &family.name,
            Format::OpenMetrics => family.base(),
        };
        let help = match format {
            Format::Text => family.help.replace('\\', "\\\\").replace('\n', "\\n"),
            Format::OpenMetrics => escaped(&family.help),
        };
        // A string takes whatever is written to it.
        if !help.is_empty() {
            let _ = writeln!(text, "# HELP {name} {help}");
        }
        let _ = writeln!(text, "# TYPE {name} {}", family.kind);
        if let Some(unit) = family.unit() {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        for sample in &family.samples {
            text.push_str(&sample.name);
            let labels: Vec<String> =
                sample.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            if !labels.is_empty() {
                let _ = write!(text, "{{{}}}", labels.join(","));
            }
            let _ = match sample.value {
                value if value.is_nan() => writeln!(text, " NaN"),
                value if value.is_infinite() => writeln!(text, " {}Inf", if value > 0.0 { '+' } else { '-' }),
                value => writeln!(text, " {value}"),
            };
        }
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENDERED: &str = "# HELP b_total counted \\\\ twice\n# TYPE b_total counter\nb_total{k=\"q\\\"\\\\,\\n}\"} 3\n\
        b_total{k=\"a\",j=\"x\"} 1\n\n# TYPE a_seconds histogram\na_seconds_bucket{le=\"0.5\"} 1\n\
        a_seconds_bucket{le=\"10\"} 2\na_seconds_bucket{le=\"+Inf\"} 2\na_seconds_sum 3.5\na_seconds_count 2\n\n\
        # TYPE gone gauge\n\n# TYPE c_bytes gauge\nc_bytes 1e3\nnot a line\n";

    #[test]
    fn text_is_ordered_and_says_units() {
        let text = render(&families(RENDERED), Format::Text);
        expect_test::expect![[r##"
            # TYPE a_seconds histogram
            # UNIT a_seconds seconds
            a_seconds_bucket{le="0.5"} 1
            a_seconds_bucket{le="10.0"} 2
            a_seconds_bucket{le="+Inf"} 2
            a_seconds_sum 3.5
            a_seconds_count 2
            # HELP b_total counted \\ twice
            # TYPE b_total counter
            b_total{j="x",k="a"} 1
            b_total{k="q\"\\,\n}"} 3
            # TYPE c_bytes gauge
            # UNIT c_bytes bytes
            c_bytes 1000
        "##]]
        .assert_eq(&text);
        assert_eq!(render(&families(&text), Format::Text), text, "what is written is read");
    }

    #[test]
    fn openmetrics_names_counters_without_total_and_ends() {
        let text = render(&families(RENDERED), Format::OpenMetrics);
        assert!(text.contains("# HELP b counted \\\\ twice\n# TYPE b counter\nb_total{"), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        let accepted = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5";
        assert_eq!([accepted, "*/*", ""].map(Format::accepted), [Format::OpenMetrics, Format::Text, Format::Text]);
    }
}
