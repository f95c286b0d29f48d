//! Every query of every dashboard of `deploy/grafana` has an answer: what it asks of Henge is asked as Grafana's plugin asks it,
//! by a user with the rights that the pages say, and read as the plugin reads it; what it asks of Prometheus is asked of a real one
//! that reads every node and keeps the rules of `deploy/prometheus`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::free_port;
use crate::watched::{SQL, Watched, password};

/// What is not measured by nodes: by the exporter of deploy/compose's proxy, which is not among what is started here. That it is
/// there, `dev/deploy.sh --run` looks at.
const OF_THE_PROXY: &str = "haproxy_";

fn deploy(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(path)
}

/// One query of a panel, and where it stands.
struct Target {
    at: String,
    panel: Value,
    asks: Value,
}

impl Target {
    fn source(&self) -> &str {
        self.asks["datasource"]["uid"].as_str().unwrap_or_default()
    }
}

/// Of each source that is provisioned, by its id, its type.
fn sources() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(deploy("grafana/provisioning/datasources/henge.yaml")).unwrap();
    let values = |key: &str| {
        let of = move |line: &str| line.strip_prefix("    ")?.strip_prefix(key)?.strip_prefix(": ").map(str::to_string);
        text.lines().filter_map(of).collect::<Vec<_>>()
    };
    let (ids, types) = (values("uid"), values("type"));
    assert_eq!((ids.len(), types.len()), (2, 2), "{text}");
    ids.into_iter().zip(types).collect()
}

/// All queries, of dashboards that are whole.
fn targets() -> Vec<Target> {
    let sources = sources();
    let (mut targets, mut boards) = (Vec::new(), BTreeSet::new());
    for file in std::fs::read_dir(deploy("grafana/dashboards")).unwrap() {
        let path = file.unwrap().path();
        let board: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        assert!(board["uid"] == *name && boards.insert(name.clone()), "{name}: its uid is {}", board["uid"]);
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let at = format!("{name}: {}", panel["title"].as_str().unwrap());
            assert!(panel["id"].as_u64().is_some_and(|id| ids.insert(id)), "{at}: its id is {}", panel["id"]);
            let asked = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
            assert_eq!(asked.is_empty(), panel["type"] == "row", "{at}: asks {} queries", asked.len());
            let letters: BTreeSet<_> = asked.iter().map(|asks| asks["refId"].as_str().unwrap()).collect();
            assert_eq!(letters.len(), asked.len(), "{at}: two queries of one letter");
            for asks in asked {
                let source = &asks["datasource"];
                let kind = source["uid"].as_str().and_then(|uid| sources.get(uid));
                assert!(kind.is_some_and(|kind| source["type"] == **kind), "{at}: no source {source}");
                assert_eq!(source, &panel["datasource"], "{at}: asks another source than the panel");
                assert!(asks["expr"].as_str().is_some_and(|query| !query.is_empty()), "{at}: asks nothing");
                targets.push(Target { at: at.clone(), panel: panel.clone(), asks: asks.clone() });
            }
        }
    }
    assert!(boards.len() >= 5 && targets.len() >= 60, "{} queries of {boards:?}", targets.len());
    targets
}

/// As Grafana fills in the times of a dashboard; it knows no other names there, as no dashboard has variables.
fn filled_in(at: &str, text: &str, from_ms: u64, to_ms: u64) -> String {
    let date = |ms: u64| {
        let time = jiff::Timestamp::from_millisecond(ms as i64).unwrap();
        time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    };
    let mut text = text.to_string();
    for (name, ms) in [("from", from_ms), ("to", to_ms)] {
        text = text.replace(&format!("${{__{name}:date:iso}}"), &date(ms));
        text = text.replace(&format!("${{__{name}}}"), &ms.to_string());
    }
    assert!(!text.contains('$'), "{at}: there is no such variable: {text}");
    text
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What the plugin sends to Henge, and where to.
fn sent(target: &Target) -> (&'static str, Value) {
    let now = now_ms();
    let asked: Value = serde_json::from_str(&filled_in(
        &target.at,
        target.asks["expr"].as_str().unwrap(),
        now - 3_600_000,
        now + 1_000,
    ))
    .unwrap();
    let (mut query, settings) = (asked["builder"].clone(), &asked["settings"]);
    for (key, of) in [("builder", &target.asks["builder"]), ("settings", &target.asks["settings"])] {
        // What the editor shows is what is asked.
        let expr: Value = serde_json::from_str(target.asks["expr"].as_str().unwrap()).unwrap();
        assert_eq!(&expr[key], of, "{}: asks two things", target.at);
    }
    let context: serde_json::Map<String, Value> = settings["contextParameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap().to_string(), one["value"].clone()))
        .collect();
    if !context.is_empty() {
        query["context"] = Value::Object(context);
    }
    if query["queryType"] == "timeseries" {
        // A minute without rows has counts and no sums, of which the plugin guesses nothing good.
        let counts = |one: &Value| one["type"] == "count" || one["aggregator"]["type"] == "count";
        let has_none = query["aggregations"].as_array().unwrap().iter().all(counts);
        assert!(has_none || query["context"]["skipEmptyBuckets"] == "true", "{}: shows what is empty", target.at);
    }
    match query["queryType"].as_str() {
        Some("sql") => {
            query["resultFormat"] = "array".into();
            query["header"] = true.into();
            (SQL, query)
        }
        _ => ("/druid/v2", query),
    }
}

/// Columns and rows, as the plugin takes them out of an answer.
fn rows_of(query: &Value, answer: &Value) -> (Vec<String>, Vec<Vec<Value>>) {
    let answer = answer.as_array().cloned().unwrap_or_default();
    let names = |row: &Value| {
        let object = row.as_object().unwrap_or_else(|| panic!("no object: {row}"));
        std::iter::once("timestamp".to_string()).chain(object.keys().cloned()).collect::<Vec<_>>()
    };
    let under = |columns: &[String], time: &Value, row: &Value| {
        std::iter::once(time.clone()).chain(columns[1..].iter().map(|name| row[name].clone())).collect::<Vec<_>>()
    };
    match query["queryType"].as_str().unwrap() {
        "sql" if answer.len() > 1 => {
            let columns = serde_json::from_value(answer[0].clone()).unwrap();
            (columns, answer[1..].iter().map(|row| row.as_array().unwrap().clone()).collect())
        }
        "timeseries" if !answer.is_empty() => {
            let columns = names(&answer[0]["result"]);
            let rows = answer.iter().map(|one| under(&columns, &one["timestamp"], &one["result"])).collect();
            (columns, rows)
        }
        "topN" => {
            let all = answer.iter().flat_map(|one| {
                one["result"].as_array().unwrap().iter().map(|row| (one["timestamp"].clone(), row.clone()))
            });
            let all: Vec<_> = all.collect();
            let columns = all.first().map(|(_, row)| names(row)).unwrap_or_default();
            let rows = all.iter().map(|(time, row)| under(&columns, time, row)).collect();
            (columns, rows)
        }
        _ => (Vec::new(), Vec::new()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Bool,
    Int,
    Float,
    Time,
    Text,
}

fn is_time(text: &str) -> bool {
    text.len() == 24 && text.parse::<jiff::Timestamp>().is_ok()
}

/// What the plugin takes a column to be, by five of its rows; of a time that comes as a number by the name.
fn guessed(name: &str, column: &[&Value]) -> Kind {
    let step = column.len().div_ceil(5).max(1);
    let kinds: BTreeSet<Kind> = column
        .iter()
        .step_by(step)
        .filter_map(|value| match value {
            Value::Bool(_) => Some(Kind::Bool),
            Value::String(text) if text.parse::<i64>().is_ok() => Some(Kind::Int),
            Value::String(text)
                if ["t", "T", "TRUE", "true", "True", "f", "F", "FALSE", "false", "False"].contains(&text.as_str()) =>
            {
                Some(Kind::Bool)
            }
            Value::String(text) if is_time(text) => Some(Kind::Time),
            Value::String(_) => Some(Kind::Text),
            Value::Number(_) if name == "__time" || name.to_lowercase().contains("time_") => Some(Kind::Time),
            Value::Number(_) => Some(Kind::Float),
            _ => None,
        })
        .collect();
    match kinds.iter().collect::<Vec<_>>()[..] {
        [one] => *one,
        _ => Kind::Text,
    }
}

/// Why the plugin would end on this column, if it would.
fn fails(name: &str, column: &[&Value]) -> Option<String> {
    let kind = guessed(name, column);
    let is_read = |value: &Value| match kind {
        Kind::Bool => value.is_boolean() || value.is_string(),
        Kind::Int => value.is_string() || value.is_null(),
        Kind::Float => value.is_number() || value.is_null(),
        Kind::Time => value.is_number() || value.is_null() || value.as_str().is_some_and(is_time),
        Kind::Text => value.is_string() || value.is_null(),
    };
    column.iter().find(|value| !is_read(value)).map(|value| format!("{name} is taken for {kind:?}, and has {value}"))
}

/// Asks until there are rows; says what is wrong with them.
fn shown_by_the_plugin(watched: &Watched, target: &Target) -> Result<usize, String> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (path, query) = sent(target);
        let reply = watched.ask("grafana", "POST", path, Some(&query));
        if reply.status != 200 {
            return Err(format!("{query}: {}: {}", reply.status, reply.body));
        }
        let (columns, rows) = rows_of(&query, &reply.body);
        if rows.is_empty() {
            if Instant::now() > end {
                return Err(format!("{query}: no rows: {}", reply.body));
            }
            std::thread::sleep(Duration::from_millis(200));
            continue;
        }
        let column = |at: usize| rows.iter().map(|row| &row[at]).collect::<Vec<_>>();
        let wrong: Vec<String> = columns.iter().enumerate().filter_map(|(at, name)| fails(name, &column(at))).collect();
        if !wrong.is_empty() {
            return Err(format!("{query}: {wrong:?}"));
        }
        let of = |kind: Kind| {
            (0..columns.len()).filter(|at| guessed(&columns[*at], &column(*at)) == kind).collect::<Vec<_>>()
        };
        if target.panel["type"] == "timeseries" {
            // Grafana draws numbers over a time that does not go back.
            let time =
                of(Kind::Time).first().map(|at| column(*at).iter().map(|time| time.to_string()).collect::<Vec<_>>());
            if of(Kind::Float).is_empty() || !time.is_some_and(|time| time.is_sorted()) {
                return Err(format!("{query}: no line can be drawn of {columns:?}: {:?}", rows[0]));
            }
        }
        return Ok(rows.len());
    }
}

#[test]
fn the_plugin_guesses_by_five_rows() {
    let column = |values: &Value| values.as_array().unwrap().clone();
    for (name, values, kind, is_read) in [
        ("n", json!([1, null, 2.5]), Kind::Float, true),
        ("n", json!([null, null, null]), Kind::Text, true),
        // Only the first and the last but one of six are looked at, and three between them.
        ("n", json!([null, 7, null, 8, null, 9]), Kind::Text, false),
        ("t", json!(["2026-01-01T00:00:00.000Z", null]), Kind::Time, true),
        ("time_taken", json!([7]), Kind::Time, true),
        ("s", json!(["a", null, "7"]), Kind::Text, true),
        ("s", json!(["a", 7]), Kind::Text, false),
        ("s", json!(["7", "8"]), Kind::Int, true),
    ] {
        let column = column(&values);
        let column: Vec<&Value> = column.iter().collect();
        assert_eq!((guessed(name, &column), fails(name, &column).is_none()), (kind, is_read), "{values}");
    }
}

#[test]
fn every_query_of_every_dashboard_has_an_answer() {
    let targets = targets();
    let Some(watched) = Watched::start("dashboards") else { return };
    // As soon as it can be, so that it has something to tell when it is asked.
    let prometheus = Prometheus::start(&watched);
    let (of_henge, of_prometheus): (Vec<_>, Vec<_>) = targets.iter().partition(|target| target.source() == "henge");
    let wrong: BTreeMap<&str, String> = of_henge
        .iter()
        .filter_map(|target| Some((target.at.as_str(), shown_by_the_plugin(&watched, target).err()?)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("dashboards: {} queries of Henge have rows", of_henge.len());
    if let Some(prometheus) = prometheus {
        prometheus.reads_all_nodes(&watched);
        prometheus.has_series_for(&of_prometheus);
        prometheus.keeps_rules();
    }
}

struct Prometheus {
    child: Child,
    base: String,
    log: PathBuf,
    agent: ureq::Agent,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LONG: Duration = Duration::from_secs(60);

impl Prometheus {
    /// Reads every node each second, with the label that deploy/compose gives it.
    fn start(watched: &Watched) -> Option<Prometheus> {
        let Some(program) = std::env::var_os("HENGE_TEST_PROMETHEUS") else {
            eprintln!("=====================================================================");
            eprintln!("dashboards: HENGE_TEST_PROMETHEUS names no program: WHAT IS ASKED OF PROMETHEUS WAS NOT TRIED");
            eprintln!("=====================================================================");
            return None;
        };
        let dir = watched.dir().join("prometheus");
        std::fs::create_dir_all(&dir).unwrap();
        let target =
            |(name, role, _): (&str, &str, _)| json!({"targets": [watched.address(name)], "labels": {"role": role}});
        // What is JSON is YAML.
        let settings = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [deploy("prometheus/recording.yml"), deploy("prometheus/alerts.yml")],
            "scrape_configs": [{"job_name": "henge",
                "basic_auth": {"username": "metrics", "password": password("metrics")},
                "static_configs": watched.nodes().map(target).collect::<Vec<_>>()}],
        });
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, settings.to_string()).unwrap();
        let (port, log) = (free_port(), dir.join("log"));
        let out = std::fs::File::create(&log).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let agent = crate::cluster::agent(Duration::from_secs(10));
        Some(Prometheus { child, base: format!("http://127.0.0.1:{port}/api/v1"), log, agent })
    }

    /// What it answers under `data`, or why it does not.
    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let request = self.agent.get(format!("{}/{path}", self.base)).query_pairs(parameters.iter().copied());
        let text = request.call().and_then(|mut reply| reply.body_mut().read_to_string());
        let text = text.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer.to_string()) }
    }

    /// Waits until nothing is wrong any more.
    fn until_right(&self, wrong: impl Fn() -> Vec<String>) {
        let end = Instant::now() + LONG;
        loop {
            let wrong = wrong();
            if wrong.is_empty() {
                return;
            }
            let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < end, "{wrong:#?}\n{}", log());
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// It took what they said, and took it for OpenMetrics: that alone tells it units.
    fn reads_all_nodes(&self, watched: &Watched) {
        self.until_right(|| {
            let targets = self.ask("targets", &[]).unwrap_or_default();
            let targets = targets["activeTargets"].as_array().cloned().unwrap_or_default();
            let all = watched.nodes().count();
            let wrong = targets.iter().filter(|target| target["health"] != "up").map(Value::to_string);
            wrong.chain((targets.len() != all).then(|| format!("{} of {all}", targets.len()))).collect()
        });
        let told = self.ask("targets/metadata", &[("metric", "henge_server_uptime_seconds")]).unwrap();
        let told = told.as_array().unwrap();
        assert_eq!(told.len(), watched.nodes().count());
        assert!(told.iter().all(|one| one["unit"] == "seconds" && one["type"] == "gauge"), "{told:?}");
    }

    /// Series of the last minute that have a number in it.
    fn series(&self, query: &str) -> Result<Vec<Value>, String> {
        let now = now_ms() / 1000;
        let (from, to) = ((now - 60).to_string(), now.to_string());
        let found = self.ask("query_range", &[("query", query), ("start", &from), ("end", &to), ("step", "1")])?;
        let is_number =
            |point: &Value| point[1].as_str().and_then(|text| text.parse().ok()).is_some_and(f64::is_finite);
        let has_number =
            |series: &Value| series["values"].as_array().is_some_and(|points| points.iter().any(is_number));
        Ok(found["result"].as_array().cloned().unwrap_or_default().into_iter().filter(has_number).collect())
    }

    fn has_series_for(&self, targets: &[&Target]) {
        self.until_right(|| {
            let wrong = targets.iter().filter_map(|target| {
                let query = filled_in(&target.at, target.asks["expr"].as_str().unwrap(), 0, 0);
                let series = match self.series(&query) {
                    Ok(series) if series.is_empty() => return Some(format!("{}: {query}: no series", target.at)),
                    Ok(series) => series,
                    Err(error) => return Some(format!("{}: {query}: {error}", target.at)),
                };
                // What a line is called after has to be there, or it is called by nothing.
                let legend = target.asks["legendFormat"].as_str().unwrap_or_default();
                let named = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or_default().trim());
                let lacking: Vec<_> =
                    named.filter(|label| series.iter().any(|one| one["metric"][label].is_null())).collect();
                (!lacking.is_empty())
                    .then(|| format!("{}: {query}: no label {lacking:?}: {}", target.at, series[0]["metric"]))
            });
            wrong.collect()
        });
        println!("dashboards: {} queries of Prometheus have series", targets.len());
    }

    /// Every rule is evaluated without error, what is recorded has series, and so has every name that an alert asks for: only then
    /// can it fire.
    fn keeps_rules(&self) {
        let (mut records, mut alerts) = (BTreeSet::new(), BTreeMap::new());
        self.until_right(|| {
            let groups = self.ask("rules", &[]).unwrap_or_default()["groups"].as_array().cloned().unwrap_or_default();
            let rules: Vec<Value> =
                groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
            let wrong = rules
                .iter()
                .filter(|rule| rule["health"] != "ok")
                .map(|rule| format!("{}: {}", rule["name"], rule["lastError"]));
            wrong.chain(rules.is_empty().then(|| "no rules".to_string())).collect()
        });
        for group in self.ask("rules", &[]).unwrap()["groups"].as_array().unwrap() {
            for rule in group["rules"].as_array().unwrap() {
                let name = rule["name"].as_str().unwrap().to_string();
                match rule["type"].as_str() {
                    Some("recording") => drop(records.insert(name)),
                    _ => drop(alerts.insert(name, rule["query"].as_str().unwrap().to_string())),
                }
            }
        }
        assert!(records.len() > 10 && alerts.len() > 20, "{records:?} {alerts:?}");
        self.until_right(|| {
            records.iter().filter(|name| !self.series(name).is_ok_and(|found| !found.is_empty())).cloned().collect()
        });
        let mut elsewhere = BTreeSet::new();
        for (alert, query) in &alerts {
            let words = query.split(|ch: char| !ch.is_ascii_alphanumeric() && ch != '_' && ch != ':');
            for name in
                words.filter(|word| word.starts_with("henge") && *word != "henge" || word.starts_with(OF_THE_PROXY))
            {
                if name.starts_with(OF_THE_PROXY) {
                    elsewhere.insert(alert.as_str());
                    continue;
                }
                assert!(!self.series(name).unwrap().is_empty(), "{alert} asks for {name}, which nobody has");
            }
        }
        let active = self.ask("alerts", &[]).unwrap()["alerts"].as_array().cloned().unwrap_or_default();
        let firing: Vec<_> = active.iter().filter(|alert| alert["state"] == "firing").collect();
        assert!(firing.is_empty(), "nothing is wrong, and there fires {firing:?}");
        println!(
            "dashboards: {} recorded series are there, and all that {} alerts ask for; of the proxy: {elsewhere:?}",
            records.len(),
            alerts.len() - elsewhere.len()
        );
    }
}
