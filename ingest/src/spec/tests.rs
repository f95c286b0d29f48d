//! Specs as users post them, well and badly.

use expect_test::{Expect, expect};
use segment::schema::{Discovery, ValueType};
use serde_json::{Value, json};

use super::*;

fn kafka() -> Value {
    json!({
        "type": "kafka",
        "spec": {
            "dataSchema": {
                "dataSource": "wiki",
                "timestampSpec": {"column": "time", "format": "iso"},
                "dimensionsSpec": {"dimensions": ["channel", {"type": "long", "name": "added"}]},
                "metricsSpec": [{"type": "count", "name": "events"}],
                "granularitySpec": {"segmentGranularity": "HOUR", "queryGranularity": "MINUTE", "rollup": true}
            },
            "ioConfig": {
                "topic": "wiki",
                "inputFormat": {"type": "json"},
                "consumerProperties": {"bootstrap.servers": "localhost:9092"},
                "taskDuration": "PT10M",
                "useEarliestOffset": true
            },
            "tuningConfig": {"type": "kafka", "maxRowsPerSegment": 1000}
        }
    })
}

fn batch() -> Value {
    let mut spec = kafka();
    spec["type"] = json!("index_parallel");
    spec["spec"]["ioConfig"] = json!({
        "type": "index_parallel",
        "inputSource": {"type": "inline", "data": "{}"},
        "inputFormat": {"type": "json"}
    });
    spec["spec"]["tuningConfig"] =
        json!({"type": "index_parallel", "partitionsSpec": {"type": "dynamic", "maxRowsPerSegment": 7}});
    spec
}

/// A spec with one thing changed: the pointer's last name is set.
fn with(mut spec: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = spec.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(list) => list.push(value),
        _ => parent[name] = value,
    }
    spec
}

fn refused(pointer: &str, value: Value, expected: Expect) {
    let error = SupervisorSpec::from_json(&with(kafka(), pointer, value)).err().map(|e| e.to_string());
    expected.assert_eq(error.as_deref().unwrap_or("accepted"));
}

fn batch_refused(pointer: &str, value: Value, expected: Expect) {
    let error = BatchSpec::from_json(&with(batch(), pointer, value)).err().map(|e| e.to_string());
    expected.assert_eq(error.as_deref().unwrap_or("accepted"));
}

#[test]
fn a_supervisor_spec_is_read() {
    let spec = SupervisorSpec::from_json(&kafka()).unwrap();
    assert_eq!(spec.id, "wiki");
    assert_eq!(spec.io.task_duration_millis, 600_000);
    assert!(spec.io.use_earliest_offset && !spec.suspended);
    assert_eq!(spec.tuning.max_rows_per_segment, 1000);
    assert_eq!(spec.tuning.max_rows_in_memory, 150_000);
    assert_eq!(spec.tuning.max_bytes_in_memory, MemoryBound::Auto);
    assert_eq!(spec.data_schema.discovery, Discovery::None);
    assert_eq!(spec.data_schema.dimensions[1].value_type, ValueType::Long);
    assert!(spec.ignored.is_empty());
    assert_eq!(spec.io.window(1_000), (i64::MIN, i64::MAX));
}

#[test]
fn the_flat_form_and_what_is_read_back_mean_the_same() {
    let nested = kafka();
    let mut flat = nested["spec"].clone();
    flat["type"] = json!("kafka");
    let back = SupervisorSpec::from_json(&nested).unwrap().to_json();
    assert_eq!(back["dataSchema"], back["spec"]["dataSchema"]);
    for document in [flat, back] {
        let spec = SupervisorSpec::from_json(&document).unwrap();
        assert_eq!(spec.id, "wiki");
        assert_eq!(spec.io.task_duration_millis, 600_000);
        assert_eq!(spec.tuning.max_rows_per_segment, 1000);
    }
}

#[test]
fn fields_without_a_meaning_are_named() {
    let spec = with(kafka(), "/spec/ioConfig/replicas", json!(2));
    let spec = with(spec, "/spec/tuningConfig/indexSpec", json!({}));
    let spec = with(spec, "/spec/dataSchema/projections", json!([]));
    let spec = with(spec, "/spec/ioConfig/completionTimeout", json!("PT30M"));
    let spec = with(spec, "/spec/tuningConfig/handoffConditionTimeout", json!(0));
    let spec = SupervisorSpec::from_json(&spec).unwrap();
    let named = [
        "spec.dataSchema.projections",
        "spec.ioConfig.replicas",
        "spec.ioConfig.completionTimeout",
        "spec.tuningConfig.indexSpec",
        "spec.tuningConfig.handoffConditionTimeout",
    ];
    assert_eq!(spec.ignored, named);
}

#[test]
fn secrets_come_from_the_environment() {
    let environment = |name: &str| (name == "KAFKA_PASSWORD").then(|| "sesame".to_string());
    let read = |json: Value| properties::read(&json, "p", &environment);
    let properties = read(json!({
        "bootstrap.servers": "localhost:9092",
        "ssl.key.password": {"type": "environment", "variable": "KAFKA_PASSWORD"},
        "druid.dynamic.config.provider": {"type": "environment", "variables": {"sasl.password": "KAFKA_PASSWORD"}}
    }));
    let properties = properties.unwrap();
    assert_eq!((&*properties["ssl.key.password"], &*properties["sasl.password"]), ("sesame", "sesame"));
    for (provider, expected) in [
        (
            json!({"type": "environment", "variable": "HENGE_ADMIN_PASSWORD"}),
            "p.x.variable: a spec may take variables that begin with KAFKA_ or SECRET_, not [HENGE_ADMIN_PASSWORD]",
        ),
        (
            json!({"type": "environment", "variable": "KAFKA_OTHER"}),
            "p.x.variable: variable [KAFKA_OTHER] is not set for this process; set it and start the node anew",
        ),
        (json!({"type": "environment"}), "p.x.variable must name a variable of the environment, as a text"),
        (
            json!({"type": "vault"}),
            r#"p.x: a password provider is {"type":"default","password":…} or {"type":"environment","variable":…}"#,
        ),
    ] {
        let error = read(json!({"bootstrap.servers": "localhost:9092", "x": provider})).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

/// Whether a variable is set is no answer to a spec that nobody is allowed to post.
#[test]
fn a_spec_is_read_without_the_environment_first() {
    let pointer = "/spec/ioConfig/consumerProperties";
    let posted = |variable: &str| {
        let provider = json!({"type": "environment", "variables": {"bootstrap.servers": variable}});
        with(kafka(), pointer, json!({"druid.dynamic.config.provider": provider}))
    };
    let spec = SupervisorSpec::unresolved(&posted("KAFKA_NOT_SET")).unwrap();
    assert_eq!(spec.data_schema.datasource, "wiki");
    assert!(SupervisorSpec::from_json(&posted("KAFKA_NOT_SET")).is_err());
    assert!(SupervisorSpec::unresolved(&posted("HOME")).is_err());
}

#[test]
fn what_loads_runs_or_sends_what_is_on_the_server_is_refused() {
    for (name, why) in [
        ("plugin.library.paths", "loads or runs"),
        ("ssl.engine.location", "loads or runs"),
        ("ssl.providers", "loads or runs"),
        ("sasl.kerberos.kinit.cmd", "loads or runs"),
        ("sasl.oauthbearer.assertion.file", "sends"),
        ("sasl.oauthbearer.assertion.jwt.template.file", "sends"),
        ("ssl.ca.location", "opens"),
        ("ssl.certificate.location", "opens"),
        ("ssl.crl.location", "opens"),
        ("ssl.key.location", "opens"),
        ("ssl.keystore.location", "opens"),
        ("https.ca.location", "opens"),
        ("debug", "fills the log"),
    ] {
        let provider = json!({"type": "mapString", "config": {name: "x"}});
        for given in [json!({name: "x"}), json!({"druid.dynamic.config.provider": provider})] {
            let mut given = given;
            given["bootstrap.servers"] = json!("here:1");
            let error = properties::consumer_properties(&given, "p").unwrap_err().to_string();
            assert!(error.contains(&format!("p: {name} is not allowed: it {why}")), "{error}");
        }
    }
}

#[test]
fn mistakes_are_refused_with_their_path() {
    refused("/typ", json!("x"), expect!["typ is not a known field; the nearest is type"]);
    refused("/type", json!("kafak"), expect![[r#"type "kafak" is not known; valid are kafka; the nearest is kafka"#]]);
    refused(
        "/spec/ioConfig/taskCuont",
        json!(1),
        expect!["spec.ioConfig.taskCuont is not a known field; the nearest is taskCount"],
    );
    refused("/spec/ioConfig/taskCount", json!(0), expect!["spec.ioConfig.taskCount must be at least 1, not 0"]);
    refused(
        "/spec/ioConfig/taskCount",
        json!("many"),
        expect![[r#"spec.ioConfig.taskCount must be a whole number, not the text "many""#]],
    );
    refused(
        "/spec/ioConfig/taskDuration",
        json!("1h"),
        expect![[r#"spec.ioConfig.taskDuration must be an ISO 8601 period such as PT1H, not "1h""#]],
    );
    refused(
        "/spec/ioConfig/topicPattern",
        json!("w.*"),
        expect!["spec.ioConfig.topic and topicPattern exclude each other; give one"],
    );
    refused(
        "/spec/ioConfig/topic",
        json!("a b"),
        expect![
            "spec.ioConfig.topic must be 1 to 249 letters, digits, dots, underscores or hyphens (for a pattern use topicPattern)"
        ],
    );
    refused(
        "/spec/ioConfig/consumerProperties",
        json!({}),
        expect![[r#"spec.ioConfig.consumerProperties must have bootstrap.servers, such as "localhost:9092""#]],
    );
    refused(
        "/spec/ioConfig/consumerProperties",
        json!({"bootstrap.servers": "here:1", "metadata.broker.list": "there:1"}),
        expect![
            "spec.ioConfig.consumerProperties: metadata.broker.list is another name of bootstrap.servers; give that one alone"
        ],
    );
    refused(
        "/spec/ioConfig/inputFormat/type",
        json!("jsn"),
        expect![[
            r#"spec.ioConfig.inputFormat.type "jsn" is not known; valid are json, csv, tsv, lines, regex, parquet, kafka; the nearest is json"#
        ]],
    );
    refused(
        "/spec/ioConfig/inputFormat/type",
        json!("avro_ocf"),
        expect![[
            r#"spec.ioConfig.inputFormat.type "avro_ocf" is not supported; valid are json, csv, tsv, lines, regex, parquet, kafka"#
        ]],
    );
    refused(
        "/spec/dataSchema/dataSource",
        json!("a/b"),
        expect![[r#"spec.dataSchema.dataSource "a/b" must not contain a slash"#]],
    );
    refused("/spec/dataSchema/dataSource", json!(" "), expect!["spec.dataSchema.dataSource must not be empty"]);
    refused(
        "/spec/dataSchema/dataSource",
        json!("x".repeat(256)),
        expect!["spec.dataSchema.dataSource must be at most 255 bytes, not 256"],
    );
    refused(
        "/spec/dataSchema/timestampSpec/format",
        json!("yyyy-MM-ddTHH"),
        expect![[
            r#"spec.dataSchema.timestampSpec.format "yyyy-MM-ddTHH": the letter T has no meaning in a pattern; put literal letters into single quotes; named formats are auto, iso, posix, millis, micro, nano, ruby"#
        ]],
    );
    refused(
        "/spec/dataSchema/dimensionsSpec/dimensions/-",
        json!("channel"),
        expect![[r#"spec.dataSchema.dimensionsSpec.dimensions[2].name "channel" is there twice"#]],
    );
    refused(
        "/spec/dataSchema/dimensionsSpec/dimensions/-",
        json!({"name": "n", "type": "int"}),
        expect![[
            r#"spec.dataSchema.dimensionsSpec.dimensions[2].type "int" is not known; valid are string, long, float, double, auto, json, spatial; the nearest is long"#
        ]],
    );
    refused(
        "/spec/dataSchema/metricsSpec/-",
        json!({"type": "count", "name": "channel"}),
        expect![[r#"spec.dataSchema.metricsSpec[1].name "channel" is also the name of a dimension; rename one"#]],
    );
    refused(
        "/spec/dataSchema/metricsSpec/-",
        json!({"type": "count", "name": "__time"}),
        expect![[r#"spec.dataSchema.metricsSpec[1].name "__time" is also the name of the time column; rename one"#]],
    );
    refused(
        "/spec/dataSchema/granularitySpec/segmentGranularity",
        json!("NONE"),
        expect!["spec.dataSchema.granularitySpec.segmentGranularity must be at least one second, such as HOUR or DAY"],
    );
    refused(
        "/spec/dataSchema/granularitySpec/rollup",
        json!("yes"),
        expect![[r#"spec.dataSchema.granularitySpec.rollup must be true or false, not the text "yes""#]],
    );
    refused(
        "/spec/dataSchema/granularitySpec/intervals",
        json!(["2020/2020"]),
        expect![[
            r#"spec.dataSchema.granularitySpec.intervals[0] "2020/2020" is empty; its end must be after its start"#
        ]],
    );
    refused(
        "/spec/tuningConfig/maxRowsInMemory",
        json!(0),
        expect!["spec.tuningConfig.maxRowsInMemory must be at least 1, not 0"],
    );
    refused("/spec/dataSchema", json!(7), expect!["spec.dataSchema must be an object, not 7"]);
}

#[test]
fn a_batch_spec_is_read() {
    let spec = BatchSpec::from_json(&batch()).unwrap();
    assert_eq!(spec.tuning.max_rows_per_segment, 7);
    assert_eq!(spec.source, InputSource::Inline("{}".into()));
    assert!(!spec.append && !spec.drop_existing);
    let hashed = json!({"type": "hashed", "numShards": 3, "targetRowsPerSegment": 9});
    let spec = BatchSpec::from_json(&with(batch(), "/spec/tuningConfig/partitionsSpec", hashed)).unwrap();
    assert_eq!(spec.tuning.max_rows_per_segment, 9);
    assert_eq!(spec.ignored, ["spec.tuningConfig.partitionsSpec.numShards", "spec.tuningConfig.partitionsSpec.type"]);
}

#[test]
fn mistakes_of_batch_specs_are_refused() {
    batch_refused(
        "/type",
        json!("index_paralel"),
        expect![[
            r#"type "index_paralel" is not known; valid are index_parallel, index; the nearest is index_parallel"#
        ]],
    );
    batch_refused(
        "/spec/ioConfig/inputSource",
        json!({"type": "inlin"}),
        expect![[
            r#"spec.ioConfig.inputSource.type "inlin" is not known; valid are inline, local, http; the nearest is inline"#
        ]],
    );
    for (source, expected) in [
        (json!({}), expect!["spec.ioConfig.inputSource.uris must have 1 to 100000 URIs"]),
        (
            json!({"uris": ["ftp://h/x"]}),
            expect!["spec.ioConfig.inputSource.uris[0] must begin with http:// or https://"],
        ),
        (
            json!({"uris": ["http://h/", "/x"]}),
            expect!["spec.ioConfig.inputSource.uris[1] must begin with http:// or https://"],
        ),
        (
            json!({"uris": ["http://ann:sesame@h/"]}),
            expect![
                "spec.ioConfig.inputSource.uris[0] has a user in it; give httpAuthenticationUsername and httpAuthenticationPassword, which are not shown"
            ],
        ),
        (
            json!({"uris": ["http://h/"], "httpAuthenticationPassword": "sesame"}),
            expect!["spec.ioConfig.inputSource.httpAuthenticationUsername is required with httpAuthenticationPassword"],
        ),
        (
            json!({"uris": ["http://h/"], "httpAuthenticationUsername": "ann", "httpAuthenticationPassword": ["sesame"]}),
            expect!["spec.ioConfig.inputSource.httpAuthenticationPassword must be a text or a password provider"],
        ),
        (
            json!({"uris": ["http://h/"], "httpAuthenticationUsername": "ann",
                "httpAuthenticationPassword": {"type": "environment", "variable": "PATH"}}),
            expect![
                "spec.ioConfig.inputSource.httpAuthenticationPassword.variable: a spec may take variables that begin with KAFKA_ or SECRET_, not [PATH]"
            ],
        ),
        (
            json!({"uris": ["http://h/"], "requestHeaders": {"Host": "sesame"}}),
            expect!["spec.ioConfig.inputSource.requestHeaders.Host is set by the reader itself; leave it out"],
        ),
        (
            json!({"uris": ["http://h/"], "requestHeaders": {"X": "sesame\r\nY: z"}}),
            expect!["spec.ioConfig.inputSource.requestHeaders.X must be a text of one line"],
        ),
    ] {
        let mut source = source;
        source["type"] = json!("http");
        batch_refused("/spec/ioConfig/inputSource", source, expected);
    }
    batch_refused(
        "/spec/dataSchema/transformSpec",
        json!({"transforms": [{"type": "expression", "name": "lat", "expression": "x"}]}),
        expect!["accepted"],
    );
    let mut spatial = batch();
    spatial["spec"]["dataSchema"]["dimensionsSpec"] =
        json!({"spatialDimensions": [{"dimName": "at", "dims": ["lat", "lon"]}]});
    let read = BatchSpec::from_json(&spatial).unwrap();
    assert!(format!("{:?}", read.data_schema.exclusions).contains("lon"));
    spatial["spec"]["dataSchema"]["transformSpec"] =
        json!({"transforms": [{"type": "expression", "name": "lat", "expression": "x"}]});
    let error = BatchSpec::from_json(&spatial).unwrap_err().to_string();
    assert!(error.contains(r#""at" reads "lat", which transformSpec makes"#), "{error}");
    batch_refused(
        "/spec/ioConfig/inputSource",
        json!({"type": "local"}),
        expect!["spec.ioConfig.inputSource must have either baseDir or files"],
    );
    batch_refused(
        "/spec/ioConfig/dropExisting",
        json!(true),
        expect!["spec.dataSchema.granularitySpec.intervals is required with dropExisting"],
    );
    batch_refused(
        "/spec/ioConfig/inputFormat",
        json!({"type": "parquet"}),
        expect!["spec.ioConfig.inputFormat.type parquet needs files, not an inline source"],
    );
    batch_refused(
        "/spec/ioConfig/inputFormat",
        json!({"type": "csv"}),
        expect![
            "spec.ioConfig.inputFormat.columns must name the columns, or spec.ioConfig.inputFormat.findColumnsFromHeader be true"
        ],
    );
    batch_refused(
        "/spec/ioConfig/inputFormat",
        json!({"type": "json", "flattenSpec": {"fields": [{"type": "path", "name": "x", "expr": "a.b"}]}}),
        expect![[r#"spec.ioConfig.inputFormat.flattenSpec.fields[0].expr "a.b": a path starts with $"#]],
    );
}

#[test]
fn what_is_wanted_and_what_is_discovered() {
    let mut spec = kafka();
    spec["spec"]["dataSchema"] = json!({
        "dataSource": "d",
        "timestampSpec": {"column": "ts"},
        "dimensionsSpec": {"dimensionExclusions": ["secret"]},
        "metricsSpec": [{"type": "longSum", "name": "sum", "fieldName": "amount"}]
    });
    let schema = SupervisorSpec::from_json(&spec).unwrap().data_schema;
    let wanted = schema.wanted();
    assert_eq!(wanted.names, ["amount"]);
    assert!(wanted.others);
    assert_eq!(wanted.excluded, ["secret", "__time", "ts", "sum"]);
    assert_eq!(schema.schema().exclusions, ["secret", "__time", "ts", "sum", "amount"]);
    assert_eq!(schema.schema().discovery, Discovery::Strings);
}

#[test]
fn auto_dimensions_take_the_type_of_their_values() {
    let dimensions = json!({"dimensions": [{"type": "auto", "name": "a"}, "s"]});
    let spec = with(kafka(), "/spec/dataSchema/dimensionsSpec", dimensions);
    let schema = SupervisorSpec::from_json(&spec).unwrap().data_schema;
    assert_eq!(schema.wanted().names, ["a", "s"]);
    assert!(!schema.wanted().others);
    assert_eq!(schema.schema().discovery, Discovery::None);
    assert_eq!(schema.dimensions.iter().map(|d| d.auto).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn the_number_of_tasks_may_follow_the_lag() {
    let scaler = |more: Value| {
        let mut scaler = json!({"enableTaskAutoScaler": true, "taskCountMin": 2, "taskCountMax": 6});
        more.as_object().unwrap().iter().for_each(|(name, value)| scaler[name] = value.clone());
        with(kafka(), "/spec/ioConfig/autoScalerConfig", scaler)
    };
    let read = |more: Value| SupervisorSpec::from_json(&scaler(more)).unwrap();
    let spec = read(json!({"stopTaskCountRatio": 0.5}));
    let with_defaults = spec.io.auto_scaler.unwrap();
    assert_eq!(spec.io.task_count, 2, "taskCount does not count");
    assert_eq!(spec.ignored, ["spec.ioConfig.autoScalerConfig.stopTaskCountRatio"]);
    let expected = AutoScaler {
        task_count_min: 2,
        task_count_max: 6,
        task_count_start: None,
        lag_aggregate: LagAggregate::Sum,
        lag_collection_interval_millis: 30_000,
        lag_collection_range_millis: 600_000,
        scale_action_start_delay_millis: 300_000,
        scale_action_period_millis: 60_000,
        scale_out_threshold: 6_000_000,
        scale_out_fraction: 0.3,
        scale_out_step: 2,
        scale_in_threshold: 1_000_000,
        scale_in_fraction: 0.9,
        scale_in_step: 1,
        scale_up_delay_millis: 600_000,
        scale_down_delay_millis: 600_000,
    };
    assert_eq!(with_defaults, expected);
    let more = json!({"taskCountStart": 3, "lagAggregate": "MAX", "minTriggerScaleActionFrequencyMillis": "5000",
        "minScaleUpDelay": "PT1S", "autoScalerStrategy": "lagBased"});
    let given = read(more);
    assert_eq!(given.io.task_count, 3);
    let given = given.io.auto_scaler.unwrap();
    assert_eq!((given.scale_up_delay_millis, given.scale_down_delay_millis), (1_000, 5_000));
    assert_eq!(given.lag_aggregate, LagAggregate::Max);

    for off in [json!({"enableTaskAutoScaler": false, "autoScalerStrategy": "costBased"}), json!({})] {
        let spec = with(kafka(), "/spec/ioConfig/autoScalerConfig", off);
        let spec = SupervisorSpec::from_json(&with(spec, "/spec/ioConfig/taskCount", json!(4))).unwrap();
        assert!(spec.io.auto_scaler.is_none() && spec.io.task_count == 4 && spec.ignored.is_empty());
    }

    let refused = |more: Value, expected: Expect| {
        let error = SupervisorSpec::from_json(&scaler(more)).err().map(|error| error.to_string());
        expected.assert_eq(error.as_deref().unwrap_or("accepted"));
    };
    refused(
        json!({"taskCountMax": null}),
        expect!["spec.ioConfig.autoScalerConfig.taskCountMax is required where enableTaskAutoScaler is true"],
    );
    refused(
        json!({"taskCountMin": 7}),
        expect!["spec.ioConfig.autoScalerConfig.taskCountMax must be at least taskCountMin, 7, not 6"],
    );
    refused(
        json!({"taskCountMin": 0}),
        expect!["spec.ioConfig.autoScalerConfig.taskCountMin must be from 1 to 1000, not 0"],
    );
    refused(
        json!({"taskCountStart": 9}),
        expect![
            "spec.ioConfig.autoScalerConfig.taskCountStart must be from taskCountMin to taskCountMax, 2 to 6, not 9"
        ],
    );
    refused(
        json!({"autoScalerStrategy": "costBased"}),
        expect![[r#"spec.ioConfig.autoScalerConfig.autoScalerStrategy "costBased" is not supported; give lagBased"#]],
    );
    refused(
        json!({"autoScalerStrategy": "lagbased"}),
        expect![[
            r#"spec.ioConfig.autoScalerConfig.autoScalerStrategy "lagbased" is not known; valid are lagBased; the nearest is lagBased"#
        ]],
    );
    refused(
        json!({"lagCollectionIntervalMillis": 10}),
        expect![
            "spec.ioConfig.autoScalerConfig.lagCollectionIntervalMillis must be at least 601 for that range: no more than 1000 lags are kept"
        ],
    );
    refused(
        json!({"lagCollectionRangeMillis": 10}),
        expect![
            "spec.ioConfig.autoScalerConfig.lagCollectionRangeMillis must be at least lagCollectionIntervalMillis, 30000, not 10"
        ],
    );
    refused(
        json!({"triggerScaleOutFractionThreshold": 30}),
        expect![
            "spec.ioConfig.autoScalerConfig.triggerScaleOutFractionThreshold must be a share above 0 and up to 1, such as 0.3, not 30"
        ],
    );
    refused(
        json!({"scaleInThreshold": 7_000_000}),
        expect![
            "spec.ioConfig.autoScalerConfig.scaleInThreshold must not be above scaleOutThreshold, 6000000; it is 7000000"
        ],
    );
    refused(
        json!({"scaleOutTreshold": 1}),
        expect![
            "spec.ioConfig.autoScalerConfig.scaleOutTreshold is not a known field; the nearest is scaleOutThreshold"
        ],
    );
}
