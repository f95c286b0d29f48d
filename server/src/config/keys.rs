//! The one list of what can be set.

/// A setting: `section.name` in the file is `HENGE_SECTION_NAME` in the environment and `--set section.name=value` as a
/// flag. An empty default means that the value follows from others; the sentence says how.
pub struct Key {
    pub name: &'static str,
    pub default: &'static str,
    pub sentence: &'static str,
}

const fn key(name: &'static str, default: &'static str, sentence: &'static str) -> Key {
    Key { name, default, sentence }
}

pub const KEYS: &[Key] = &[
    key(
        "data_dir",
        "var",
        "folder that holds everything this process keeps: metadata, deep storage, segment copies, tasks",
    ),
    key("host", "127.0.0.1", "address to listen on"),
    key("port", "8888", "port to listen on; 0 takes a free one"),
    key("tls.certificate", "", "PEM file with the server's certificate and its chain; empty is no TLS"),
    key("tls.key", "", "PEM file with the key of the certificate; both are read again when they change"),
    key("tls.client_ca", "", "PEM file with authorities; clients must show a certificate of one of them"),
    key("tls.port", "8443", "port for TLS; 0 takes a free one"),
    key("tls.only", "false", "whether nothing is served without TLS"),
    key("http.cors_origins", "", "origins whose pages may read answers, separated by commas; empty is none, * is any"),
    key(
        "http.hosts",
        "",
        "names that a node without authentication is reached by beside localhost and the machine's own, separated by commas; requests for others are refused there",
    ),
    key(
        "http.requests_per_second",
        "0",
        "requests that one caller may send, twice as many at once; more are refused with 429; 0 is no limit",
    ),
    key("http.body_idle_ms", "60000", "rest between two pieces of a request's body after which it is refused"),
    key(
        "http.bodies_max_bytes",
        "1073741824",
        "memory for the bodies of all requests at once, a quarter of it for those of whom it is not known yet who asks, and a quarter of that for those of one address (of IPv6: of one /64); at least the largest of one; more are refused with 503",
    ),
    key(
        "http.header_ms",
        "30000",
        "time from a request's first byte to the end of its headers, and from a connection to its first request",
    ),
    key(
        "http.connections_max",
        "10000",
        "connections at once, half as many from one address; at most the process's open files less 256; more are closed",
    ),
    key(
        "roles",
        "all",
        "what this process does: all, or some of coordinator, broker, historical, ingest, separated by commas, as one of several nodes that share metadata.url and storage.deep",
    ),
    key(
        "metadata.url",
        "",
        "where metadata is kept: postgres://user:password@host:port/database, which several nodes may share, of which one leads and the others stand by; empty is an SQLite file in data_dir",
    ),
    key(
        "cluster.address",
        "",
        "host:port by which clients and other nodes reach this one; empty is what it listens on",
    ),
    key("cluster.node", "", "name of this node, the same after a restart; empty is cluster.address"),
    key(
        "cluster.lease_ms",
        "3000",
        "time without a word after which another node takes the place of the one that leads",
    ),
    key(
        "cluster.secret",
        "",
        "by which nodes know each other, at least 16 characters, the same on all; must be set where roles is not all",
    ),
    key(
        "cluster.ca",
        "",
        "PEM file with the authorities of the nodes' certificates; where it is set, nodes speak to each other by TLS and show tls.certificate",
    ),
    key("cluster.node_lease_ms", "8000", "time without a word after which a node that does not lead is taken for lost"),
    key(
        "cluster.leave_ms",
        "60000",
        "time that a node with the role ingest has to hand its tasks over when it is told to end; 0 hands nothing over",
    ),
    key(
        "cluster.return_ms",
        "60000",
        "time after the loss of a node that copies of what it served are not made elsewhere, as it may come back; what nobody else serves is loaded at once",
    ),
    key(
        "cluster.drain_ms",
        "3000",
        "time that a broker or a historical goes on taking requests after it was told to stop and has said that it is not ready; longer than what stands before brokers takes to see it",
    ),
    key("cluster.tier", "_default_tier", "tier of this node as a historical"),
    key("cluster.priority", "0", "priority of that tier"),
    key("log.level", "info", "tracing filter, such as info or ingest=debug,info"),
    key("log.format", "text", "text or json"),
    key(
        "traces.url",
        "",
        "OpenTelemetry collector that traces are sent to by OTLP over HTTP, with its path: http://collector:4318/v1/traces; empty makes none",
    ),
    key(
        "traces.share",
        "0.1",
        "of requests that do not say whether they are traced, and of segments, those that are: from 0 to 1",
    ),
    key(
        "traces.headers",
        "",
        "headers that the collector asks for, such as authorization=Bearer abc, separated by commas",
    ),
    key(
        "auth.required",
        "auto",
        "whether every request needs credentials: true, false, or auto, which is true unless host is a loopback address; where none are needed, those of users are checked all the same",
    ),
    key(
        "auth.allow_anonymous_from_anywhere",
        "",
        "auth.required = false on a host that is not loopback is refused unless this is: yes, anyone who can reach this port may do everything",
    ),
    key(
        "auth.first_password",
        "",
        "password of the user admin, which is made at the first start; empty makes one and prints it once",
    ),
    key("auth.failures_max", "10", "failed sign-ins of an account after which it is locked for auth.lockout_ms"),
    key("auth.lockout_ms", "300000", "time that an account or an address is locked after too many failed sign-ins"),
    key("auth.remember_ms", "60000", "time that a checked name and password are remembered rather than hashed again"),
    key("auth.session_idle_ms", "1800000", "time after which a session that nobody uses ends"),
    key("auth.session_max_ms", "43200000", "time after which a session ends in any case"),
    key("auth.oidc_issuer", "", "OpenID Connect provider whose JWTs are taken as bearer tokens; empty takes none"),
    key("auth.oidc_audience", "", "what a JWT must name as its audience"),
    key("auth.oidc_name_claim", "sub", "claim that is the name of the user"),
    key(
        "auth.oidc_roles_claim",
        "roles",
        "claim whose values auth.oidc_role_map maps to roles; dots lead into objects",
    ),
    key("auth.oidc_role_map", "", "roles of the claim's values: value=role, separated by commas; others give none"),
    key("auth.oidc_groups_claim", "groups", "claim that lists the groups of the user"),
    key("auth.oidc_attribute_claims", "", "claims that become attributes of the user, separated by commas"),
    key("query.threads", "0", "threads that compute queries; 0 is one a core"),
    key("query.concurrent_max", "64", "queries that run at once; more are refused with 429"),
    key(
        "query.lanes",
        "",
        "places of lanes among these, as low=20%, reports=4: of queries whose context names the lane, or of negative priority (low)",
    ),
    key("query.memory_max_bytes", "1073741824", "memory that one query may hold for groups and results"),
    key(
        "query.memory_total_bytes",
        "0",
        "memory that all queries may hold together, three quarters of it one; 0 is half of the machine's or of the cgroup's",
    ),
    key(
        "query.policy_cache_bytes",
        "67108864",
        "memory for which rows of published segments callers with policies see; 0 keeps nothing",
    ),
    key("query.timeout_ms", "300000", "deadline of a query whose context names no timeout"),
    key("query.timeout_max_ms", "3600000", "longest deadline that a context may ask for"),
    key("query.body_max_bytes", "16777216", "largest body of a query"),
    key(
        "query.default_context",
        "{}",
        "JSON object of the context keys that every native and SQL query has which does not set them itself",
    ),
    key(
        "cache.segments_bytes",
        "0",
        "memory for what queries with groups make of published segments, kept where these are, so that the same need not be computed again; 0 keeps nothing",
    ),
    key(
        "cache.results_bytes",
        "0",
        "memory for whole answers that came from published segments alone, kept by who was asked; 0 keeps nothing",
    ),
    key(
        "cache.entry_max_bytes",
        "1000000",
        "largest of these values that is kept",
    ),
    key(
        "cache.redis_url",
        "",
        "redis://user:password@host:port/database, where what is made of segments is kept for other nodes too, sealed by cluster.secret; empty is nowhere",
    ),
    key(
        "cache.redis_timeout_ms",
        "5",
        "time that Redis has for an answer; what takes longer is computed here",
    ),
    key(
        "cache.redis_expire_ms",
        "86400000",
        "time after which Redis forgets what was put there",
    ),
    key("sql.jdbc_connections_max", "25", "JDBC connections that are open at once"),
    key("sql.jdbc_statements_max", "4", "statements that a JDBC connection may have open"),
    key("sql.jdbc_idle_ms", "300000", "time after which a JDBC connection that nobody uses is closed"),
    key("sql.flight_statements_max", "1000", "prepared statements of Flight SQL that are kept at once"),
    key(
        "sql.flight_idle_ms",
        "600000",
        "time after which a prepared statement of Flight SQL that nobody uses is closed",
    ),
    key("sql.statement_ttl_ms", "86400000", "time that results of asynchronous statements are kept"),
    key("sql.statement_bytes_max", "10737418240", "largest result of an asynchronous statement"),
    key(
        "sql.statement_owner_bytes_max",
        "42949672960",
        "largest results of all asynchronous statements of one user that are kept",
    ),
    key("ingest.tasks_max", "16", "tasks that run at once; more wait"),
    key("ingest.body_max_bytes", "67108864", "largest body of a task or supervisor spec (inline data included)"),
    key(
        "ingest.http_hosts",
        "*",
        "hosts that http input sources may read, separated by commas: names, *.domain or addresses, each with a port or without, wherever they are; * is any with a public address; empty is none",
    ),
    key("ingest.http_protocols", "http,https", "protocols of http input sources, separated by commas"),
    key(
        "ingest.http_file_max_bytes",
        "4294967296",
        "largest file of an http input source that is fetched whole before it is read, unpacked: one of Parquet",
    ),
    key("audit.enabled", "true", "whether what people do is recorded in sys.audit"),
    key("audit.queries", "true", "whether queries are recorded too, or only changes, sign-ins and denials"),
    key("audit.publish_ms", "3600000", "time after which recorded events are published as a segment"),
    key("audit.retention_days", "0", "days that recorded events are kept; 0 is for ever"),
    key(
        "audit.journal_max_bytes",
        "1073741824",
        "events that may wait to be published; past it changes of security are refused, other events are lost",
    ),
    key("audit.kafka_topic", "", "topic that gets a copy of every recorded event; empty is none"),
    key(
        "audit.kafka_properties",
        "",
        "file of the properties (name=value) with which that topic's brokers are reached",
    ),
    key(
        "storage.deep",
        "",
        "deep storage: a folder, or s3://bucket/prefix; empty is the folder deep-storage below data_dir",
    ),
    key("storage.s3_endpoint", "", "http(s)://host:port of the S3 server; empty is Amazon's of the region"),
    key("storage.s3_region", "us-east-1", "region of the bucket"),
    key(
        "storage.s3_access_key",
        "",
        "key to S3; empty takes the credentials of AWS_* variables, of the container or of the machine",
    ),
    key("storage.s3_secret_key", "", "the secret of storage.s3_access_key"),
    key(
        "storage.s3_allow_http",
        "false",
        "whether storage.s3_endpoint may be http://, which everybody on the way reads",
    ),
    key("storage.cache_max_bytes", "107374182400", "local copies of segments of deep storage, all together"),
    key(
        "storage.local_sources",
        "*",
        "folders that local input sources may read, separated by commas; * is any; never those that this process keeps its own data in",
    ),
    key("coordinator.cycle_ms", "1000", "longest time between two looks of the coordinator at what should be where"),
    key("ingest.fail_point", "", "for crash tests: the named step of a task at which the process kills itself"),
];
