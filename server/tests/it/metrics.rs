//! What nodes measure is what `docs/operations.md` tells of them, name by name, and the other way round; and what they keep of it in
//! `sys.metrics` is there of each node, for those who may read `/metrics`, and for nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::Server;
use crate::watched::{BROKER, LEADER, SQL, TABLE, Watched, user};

/// Of one name, as OpenMetrics has it: of counters without `_total`.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    unit: Option<String>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    /// What stands after the family's name.
    suffix: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Family {
    /// As the page has it.
    fn documented_as(&self, name: &str) -> String {
        format!("{name}{}", if self.kind == "counter" { "_total" } else { "" })
    }
}

/// Reads what is OpenMetrics, and says in which line it is not.
fn parsed(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let text = text.strip_suffix("# EOF\n").ok_or("it does not end in EOF")?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(told) = line.strip_prefix("# ") {
            let (what, rest) = told.split_once(' ').ok_or_else(|| wrong("no word"))?;
            let (name, value) = rest.split_once(' ').ok_or_else(|| wrong("nothing is said"))?;
            if name != current {
                current = name.to_string();
                if families.insert(current.clone(), Family::default()).is_some() {
                    return Err(wrong("told of in two places"));
                }
            }
            let family = families.get_mut(name).ok_or_else(|| wrong("no family"))?;
            if !family.samples.is_empty() {
                return Err(wrong("told after its samples"));
            }
            match what {
                "HELP" => family.help = value.replace("\\\"", "\"").replace("\\\\", "\\"),
                "TYPE" => family.kind = value.to_string(),
                "UNIT" if name.ends_with(&format!("_{value}")) => family.unit = Some(value.to_string()),
                _ => return Err(wrong("not HELP, TYPE or the UNIT that its name ends in")),
            }
            continue;
        }
        let sample = line.strip_prefix(&current).and_then(sample).ok_or_else(|| wrong("no sample of its family"))?;
        let family = families.get_mut(&current).ok_or_else(|| wrong("no family"))?;
        let allowed: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => return Err(wrong("of no type")),
        };
        if !allowed.contains(&sample.suffix.as_str()) || (family.kind == "counter" && sample.value < 0.0) {
            return Err(wrong("not as its type has it"));
        }
        if family.samples.iter().any(|other| (&other.suffix, &other.labels) == (&sample.suffix, &sample.labels)) {
            return Err(wrong("there twice"));
        }
        family.samples.push(sample);
    }
    for (name, family) in &families {
        if family.kind == "histogram" {
            buckets(family).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    Ok(families)
}

/// A sample from behind its family's name.
fn sample(rest: &str) -> Option<Sample> {
    let (suffix, mut rest) = rest.split_at(rest.find(['{', ' '])?);
    let mut labels = BTreeMap::new();
    if let Some(within) = rest.strip_prefix('{') {
        rest = within;
        loop {
            let (name, after) = rest.split_once("=\"")?;
            let (mut value, mut chars) = (String::new(), after.char_indices());
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next()?.1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (_, other) => value.push(other),
                }
            };
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
            if !is_name || labels.insert(name.to_string(), value).is_some() {
                return None;
            }
            rest = &after[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    Some(Sample { suffix: suffix.to_string(), labels, value })
}

#[derive(Debug, Default)]
struct Series {
    /// Bounds, with how many there are up to each.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sums: usize,
}

/// Of each series of a histogram: bounds that grow, up to one without an end, and counts that do not fall.
fn buckets(family: &Family) -> Result<(), String> {
    let mut series: BTreeMap<BTreeMap<String, String>, Series> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        let of = series.entry(labels).or_default();
        match (sample.suffix.as_str(), bound) {
            ("_bucket", Some(bound)) => {
                of.buckets.push((bound.parse().map_err(|_| "a bound is no number")?, sample.value))
            }
            ("_count", None) => of.count = Some(sample.value),
            ("_sum", None) => of.sums += 1,
            _ => return Err(format!("{sample:?}")),
        }
    }
    for (labels, of) in series {
        let grows = of.buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
        let ends = of.buckets.last().is_some_and(|(bound, all)| *bound == f64::INFINITY && Some(*all) == of.count);
        if !grows || !ends || of.sums != 1 {
            return Err(format!("{labels:?}: {of:?}"));
        }
    }
    Ok(())
}

#[test]
fn what_is_no_openmetrics_is_not_read() {
    let whole = "# HELP a_seconds said\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
        a_seconds_bucket{k=\"\\\"}\",le=\"1.0\"} 1\na_seconds_bucket{k=\"\\\"}\",le=\"+Inf\"} 2\n\
        a_seconds_sum{k=\"\\\"}\"} 3\na_seconds_count{k=\"\\\"}\"} 2\n# HELP b c\n# TYPE b counter\nb_total 1\n# EOF\n";
    let read = parsed(whole).unwrap();
    assert_eq!(read["a_seconds"].samples[0].labels["k"], "\"}");
    assert_eq!((read["b"].kind.as_str(), read["b"].samples[0].value), ("counter", 1.0));
    for (from, to) in [
        ("# EOF\n", ""),
        ("b_total 1", "b 1"),
        ("b_total 1", "b_total -1"),
        ("b_total 1", "b_total 1\nb_total 2"),
        ("b_total 1", "b_total 1\n# UNIT b seconds"),
        ("TYPE b counter", "TYPE b text"),
        ("UNIT a_seconds seconds", "UNIT a_seconds bytes"),
        ("b_total 1", "b_total 1\n\n# HELP a_seconds again"),
        ("b_total 1", "b_total{k=\"1\",k=\"2\"} 1"),
        ("b_total 1", "b_total{k=\"1} 1"),
        ("+Inf\"} 2", "+Inf\"} 0"),
        ("+Inf\"} 2", "9.0\"} 2"),
    ] {
        let broken = whole.replace(from, to);
        assert!(parsed(&broken).is_err(), "{broken}");
    }
}

/// What `/metrics` of a node says to somebody who reads OpenMetrics.
fn asked(server: &Server, path: &str) -> BTreeMap<String, Family> {
    let headers = [("Authorization", &*user("metrics")), ("Accept", "application/openmetrics-text;version=1.0.0")];
    let reply = server.send("GET", path, &headers, None);
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    let kind = reply.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = reply.body.as_str().unwrap();
    parsed(text).unwrap_or_else(|why| panic!("{path} of {}: {why}\n{text}", server.base))
}

/// A line of the page.
struct Documented {
    meaning: String,
    /// With the values that they may have, where the page lists these.
    labels: BTreeMap<String, Vec<String>>,
    unit: String,
    /// Names of the nodes of [`Watched`] that have it.
    on: Vec<&'static str>,
}

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap()
}

/// The cells of the lines of tables that begin so.
fn cells<'a>(page: &'a str, begin: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let lines = page.lines().filter(move |line| line.starts_with(begin));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

fn documented() -> BTreeMap<String, Documented> {
    let page = page();
    // Where a table does not say where, the line above it does.
    let parts = [
        ("Of queries and of the process", ""),
        ("Of segments", ""),
        ("Of the coordinator that leads", LEADER),
        ("Of ingestion", "i1"),
    ];
    let mut all = BTreeMap::new();
    for (title, own) in parts {
        let (_, part) = page.split_once(&format!("\n{title}")).unwrap_or_else(|| panic!("no '{title}'"));
        let table = part.split("\n| ---").nth(1).and_then(|table| table.split("\n\n").next()).unwrap();
        let mut before = String::new();
        for cells in cells(table, "| `henge_") {
            let place = match (own, cells[4].split([':', ';']).next().unwrap()) {
                ("", "as above") => before.clone(),
                ("", place) => place.to_string(),
                _ => String::new(),
            };
            let on: Vec<&str> = match own {
                "" if place.starts_with("all") => vec!["c1", "c2", "b1", "h1", "i1"],
                "" => [
                    ("broker", "b1"),
                    ("historical", "h1"),
                    ("data node", "h1"),
                    ("ingest node", "i1"),
                    ("data node", "i1"),
                    ("coordinator that leads", LEADER),
                ]
                .into_iter()
                .filter(|(word, _)| place.contains(word))
                .map(|(_, node)| node)
                .collect(),
                own => vec![own],
            };
            assert!(!on.is_empty(), "{}: on no node: {place}", cells[0]);
            let mut labels = BTreeMap::new();
            for one in cells[2].split(';') {
                match one.split_once("`: ") {
                    Some((name, values)) => {
                        let is_list = values
                            .split(',')
                            .all(|value| value.trim().trim_matches('`').len() + 2 == value.trim().len());
                        labels.insert(
                            quoted(&format!("{name}`"))[0].clone(),
                            if is_list { quoted(values) } else { Vec::new() },
                        );
                    }
                    None => labels.extend(quoted(one).into_iter().map(|name| (name, Vec::new()))),
                }
            }
            let one = Documented { meaning: cells[1].into(), labels, unit: cells[3].into(), on };
            assert!(all.insert(quoted(cells[0])[0].clone(), one).is_none(), "{} is there twice", cells[0]);
            before = place;
        }
    }
    let lines = cells(&page, "| `henge_").count();
    assert_eq!(all.len(), lines, "lines of the page that were not read");
    all
}

#[test]
fn what_nodes_measure_is_what_the_page_tells_and_what_they_keep() {
    let Some(watched) = Watched::start("measured") else { return };
    as_the_page_tells(&watched);
    as_druid_calls_it(&watched);
    tasks_that_ended_are_gone(&watched);
    kept_of_each_node(&watched);
    for_nobody_else(&watched);
}

fn as_the_page_tells(watched: &Watched) {
    let page = documented();
    // A wait for nodes to measure what they do now and then: an event that is kept, and a task that was begun.
    watched.until("SELECT COUNT(*) FROM sys.audit WHERE outcome = 'denied'");
    let mut wrong = BTreeSet::new();
    for (node, _, server) in watched.nodes() {
        let families = asked(server, "/metrics");
        for (name, family) in &families {
            let name = family.documented_as(name);
            let Some(told) = page.get(&name) else {
                wrong.insert(format!("{name} of {node} is not on the page"));
                continue;
            };
            let kind = match name.as_str() {
                name if name.ends_with("_total") => "counter",
                "henge_server_query_seconds" => "histogram",
                _ => "gauge",
            };
            let unit = ["seconds", "bytes", "rows", "records"]
                .into_iter()
                .find(|unit| name.trim_end_matches("_total").ends_with(&format!("_{unit}")));
            let said = (family.kind.as_str(), family.help.as_str(), family.unit.as_deref());
            if said != (kind, &*told.meaning, unit) || unit.is_some_and(|unit| unit != told.unit) {
                wrong.insert(format!("{name} is {said:?}, on the page {:?} in {}", told.meaning, told.unit));
            }
            for sample in &family.samples {
                let names = |labels: &mut dyn Iterator<Item = &String>| {
                    labels.filter(|l| *l != "le").cloned().collect::<Vec<_>>()
                };
                if names(&mut sample.labels.keys()) != names(&mut told.labels.keys()) {
                    wrong.insert(format!("{name} has the labels {:?}", sample.labels));
                }
                for (label, value) in &sample.labels {
                    let values = told.labels.get(label).map_or(&[][..], Vec::as_slice);
                    if !values.is_empty() && !values.contains(value) {
                        wrong.insert(format!("{name}: {label} is {value}, on the page {values:?}"));
                    }
                }
            }
        }
        let has = |name: &str| families.iter().any(|(base, family)| family.documented_as(base) == name);
        for (name, _) in page.iter().filter(|(name, told)| told.on.contains(&node) && !has(name)) {
            wrong.insert(format!("{name} is not on {node}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each name of the page is there, of one node or another, and no other is.
fn as_druid_calls_it(watched: &Watched) {
    let mut there = BTreeMap::new();
    for (.., server) in watched.nodes() {
        there.extend(asked(server, "/metrics?names=druid"));
    }
    let page = page();
    let named: BTreeSet<String> = cells(&page, "| `")
        .filter_map(|cells| cells.get(1).filter(|name| name.starts_with("`druid_")).map(|name| quoted(name)[0].clone()))
        .collect();
    assert_eq!(there.keys().cloned().collect::<BTreeSet<_>>(), named);
}

/// Of tasks there is no end, and of their series there is.
fn tasks_that_ended_are_gone(watched: &Watched) {
    let tasks = || {
        let families = asked(watched.node("i1"), "/metrics");
        let of = |sample: &Sample| sample.labels["task"].clone();
        families.get("henge_ingest_rows").map_or_else(BTreeSet::new, |rows| rows.samples.iter().map(of).collect())
    };
    let first = tasks();
    assert!(!first.is_empty());
    let stop = watched.ask("admin", "POST", &format!("/druid/indexer/v1/supervisor/{TABLE}/suspend"), Some(&json!({})));
    assert_eq!(stop.status, 200, "{}", stop.body);
    let end = Instant::now() + Duration::from_secs(60);
    while !tasks().is_empty() {
        assert!(Instant::now() < end, "{first:?} have ended, and are told of: {:?}", tasks());
        std::thread::sleep(Duration::from_millis(50));
    }
    let gone = asked(watched.node("i1"), "/metrics");
    for name in ["henge_ingest_lag", "henge_ingest_handoff_age_seconds", "henge_ingest_newest_event_age_seconds"] {
        assert!(!gone.contains_key(name), "{name}: {:?}", gone[name]);
    }
    let resumed =
        watched.ask("admin", "POST", &format!("/druid/indexer/v1/supervisor/{TABLE}/resume"), Some(&json!({})));
    assert_eq!(resumed.status, 200, "{}", resumed.body);
}

fn kept_of_each_node(watched: &Watched) {
    for (.., server) in watched.nodes() {
        let address = server.base.trim_start_matches("http://");
        watched.until(&format!(
            "SELECT COUNT(*) FROM sys.metrics WHERE node = '{address}' AND name = 'henge_server_leading'"
        ));
    }
    let addresses: BTreeSet<String> = watched.nodes().map(|(name, ..)| watched.address(name)).collect();
    let rows = watched
        .sql("metrics", "SELECT node, MAX(\"value\") FROM sys.metrics WHERE name = 'henge_server_leading' GROUP BY 1");
    let leading: BTreeMap<String, f64> =
        rows.iter().map(|row| (row[0].as_str().unwrap().into(), row[1].as_f64().unwrap())).collect();
    assert_eq!(leading.keys().cloned().collect::<BTreeSet<_>>(), addresses);
    let leads = |(node, value): (&String, &f64)| (*value == 1.0).then(|| node.clone());
    assert_eq!(leading.iter().filter_map(leads).collect::<Vec<_>>(), [watched.address(LEADER)]);
    // What `/metrics` says now was in a sample before, name by name.
    for (node, _, server) in watched.nodes() {
        let families = asked(server, "/metrics");
        let of = |(name, family): (&String, &Family)| {
            let name = name.clone();
            family.samples.iter().map(move |sample| format!("{name}{}", sample.suffix)).collect::<Vec<_>>()
        };
        let shown: BTreeSet<String> = families.iter().flat_map(of).collect();
        let text = format!("SELECT DISTINCT name FROM sys.metrics WHERE node = '{}'", watched.address(node));
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let kept: BTreeSet<String> =
                watched.sql("metrics", &text).iter().map(|row| row[0].as_str().unwrap().to_string()).collect();
            if shown.is_subset(&kept) {
                break;
            }
            let lacking: Vec<_> = shown.difference(&kept).collect();
            assert!(Instant::now() < end, "{node} keeps no {lacking:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    // Of the alert that [`Watched`] has.
    watched.until("SELECT COUNT(*) FROM sys.metrics WHERE name = 'henge_server_alerts_firing' AND \"value\" = 1");
    let kinds =
        watched.sql("metrics", "SELECT DISTINCT kind FROM sys.metrics WHERE name LIKE 'henge_server_quer%' ORDER BY 1");
    assert_eq!(json!(kinds), json!([["counter"], ["histogram"]]));
}

/// Who may read every datasource and system table, and not the state of the store, learns nothing of it: neither a row, nor by a
/// label what there is of others.
fn for_nobody_else(watched: &Watched) {
    let ways = |who: &str| -> Vec<(String, u16, Value)> {
        let sql = |text: &str| (SQL, "POST", json!({"query": text, "resultFormat": "array"}));
        let native = |source: Value| {
            (
                "/druid/v2",
                "POST",
                json!({"queryType": "scan", "dataSource": source, "intervals": ["2000/3000"], "limit": 3}),
            )
        };
        let named = json!("sys.metrics");
        let asked = [
            sql("SELECT * FROM sys.metrics LIMIT 3"),
            sql("SELECT COUNT(*) FROM \"sys.metrics\""),
            sql("SELECT COUNT(*) FROM druid.\"sys.metrics\""),
            sql(&format!("SELECT COUNT(*) FROM {TABLE} WHERE key IN (SELECT labels FROM sys.metrics)")),
            sql(&format!("SELECT key FROM {TABLE} UNION ALL SELECT labels FROM sys.metrics")),
            sql("SELECT * FROM sys.segments s JOIN sys.metrics m ON s.datasource = m.name"),
            sql("EXPLAIN PLAN FOR SELECT * FROM sys.metrics"),
            native(named.clone()),
            native(json!({"type": "union", "dataSources": [TABLE, named]})),
            native(
                json!({"type": "query", "query": {"queryType": "scan", "dataSource": named, "intervals": ["2000/3000"]}}),
            ),
            ("/druid/v2", "POST", json!({"queryType": "segmentMetadata", "dataSource": named})),
            ("/druid/v2", "POST", json!({"queryType": "timeBoundary", "dataSource": named})),
            ("/druid/v2", "POST", json!({"queryType": "dataSourceMetadata", "dataSource": named})),
            ("/druid/v2/datasources/sys.metrics", "GET", Value::Null),
            ("/druid/v2/datasources/sys.metrics/dimensions", "GET", Value::Null),
            ("/druid/coordinator/v1/datasources/sys.metrics", "GET", Value::Null),
            ("/druid/coordinator/v1/datasources/sys.metrics/segments?full", "GET", Value::Null),
            ("/druid/coordinator/v1/metadata/datasources/sys.metrics/segments", "GET", Value::Null),
            ("/druid/indexer/v1/supervisor/sys.metrics/status", "GET", Value::Null),
            ("/metrics", "GET", Value::Null),
            ("/metrics?names=druid", "GET", Value::Null),
        ];
        let answer = |(path, method, body): (&str, &str, Value)| {
            let reply = watched.ask(who, method, path, Some(&body).filter(|body| !body.is_null()));
            (format!("{method} {path} {body}"), reply.status, reply.body)
        };
        asked.map(answer).into()
    };
    for who in ["analyst", "tenant"] {
        for (way, status, body) in ways(who) {
            assert!([400, 403, 404].contains(&status), "{who}: {way}: {status}: {body}");
            assert!(!body.to_string().contains("henge_"), "{who}: {way}: {body}");
        }
        let tables = "SELECT TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS";
        for told in [
            watched.sql(who, tables),
            watched.sql(who, "SELECT TABLE_NAME, TABLE_SCHEMA FROM INFORMATION_SCHEMA.TABLES"),
        ] {
            assert!(
                !told.is_empty() && told.iter().all(|row| row[0] != "metrics" && row[0] != "sys.metrics"),
                "{who}: {told:?}"
            );
        }
    }
    // Who may read the state sees all of it, by whichever name; not so where a policy is about it.
    let count = |who: &str, table: &str, which: &str| {
        let found =
            watched.sql(who, &format!("SELECT COUNT(*) FROM {table} WHERE name = 'henge_server_leading' AND {which}"));
        found[0][0].as_u64().unwrap()
    };
    let broker = format!("node = '{}'", watched.address(BROKER));
    for table in ["sys.metrics", "\"sys.metrics\""] {
        assert!(count("metrics", table, &broker) > 0 && count("metrics", table, &format!("NOT {broker}")) > 0);
    }
    let document = json!({"permissions": [{"resource": {"type": "STATE", "name": "STATE"}, "action": "READ"}],
        "policies": [{"name": "one", "datasource": "sys.metrics", "sql": broker}]});
    let reply = watched.ask("admin", "PUT", "/henge/v1/security/roles/metrics", Some(&document));
    assert_eq!(reply.status, 200, "{}", reply.body);
    // Nodes read rules each for itself, a moment later; those that do not go by the same ones refuse.
    let others =
        json!({"query": format!("SELECT COUNT(*) FROM sys.metrics WHERE NOT {broker}"), "resultFormat": "array"});
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = watched.ask("metrics", "POST", SQL, Some(&others));
        if reply.status == 200 && reply.body == json!([[0]]) {
            break;
        }
        assert!(Instant::now() < end, "the policy does not hold: {}: {}\n{}", reply.status, reply.body, watched.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    for table in ["sys.metrics", "\"sys.metrics\""] {
        assert!(count("metrics", table, &broker) > 0);
        assert_eq!(count("metrics", table, &format!("NOT {broker}")), 0);
    }
}
