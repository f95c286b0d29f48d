//! Traces: how a query, and the rows of a segment, went through the processes of a cluster, sent to an OpenTelemetry
//! collector (OTLP, protobuf over HTTP). Nothing is made where no collector is named.
//!
//! - **A query** is one trace: the request, the query, what it asks of each data node, and what the node did. Its caller may
//!   have begun it ([`traceparent`](https://www.w3.org/TR/trace-context/)), and between nodes the same header carries it on.
//!   Queries are found again by their ids where they ask nodes, as that happens on whatever thread.
//! - **A segment** is one trace: rows are appended, it is frozen, pushed, published, and loaded, by different processes at
//!   different times. No word is passed between them: the number of its trace is made of its name, and so is whether it
//!   is among those that are traced. Rows that get another name when they are published go on in the trace of that one.
//!
//! Spans name tables, segments, nodes, and counts; no text of a query, and nothing of rows. What a collector does not take in
//! time is dropped: at most [`QUEUE_MAX`] spans wait.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use futures::stream::{BoxStream, StreamExt};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider};
use parking_lot::Mutex;
use segment::SegmentId;

/// By which a span goes on in another process.
pub const PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Spans that wait for the collector.
const QUEUE_MAX: usize = 4096;

/// Within which the collector takes a batch of them.
const SENT_WITHIN: Duration = Duration::from_secs(5);

/// How long what is left may take when the process ends.
const ENDED_WITHIN: Duration = Duration::from_secs(3);

/// Queries that are found by their ids. Of more, the parts are traces of their own.
const QUERIES_MAX: usize = 10_000;

/// Paths of what nodes ask of each other.
const INTERNAL: &str = "/henge/internal/";

/// Where traces go, and how many.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// With its path, such as `http://collector:4318/v1/traces`.
    pub url: String,
    /// Of the requests that say nothing about it, and of segments: between 0 and 1.
    pub share: f64,
    pub headers: BTreeMap<String, String>,
}

/// Makes spans, or does nothing.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Tracing>>);

struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    share: f64,
    queries: Mutex<HashMap<String, SpanContext>>,
}

/// A step that is going on; it ends when this is dropped.
pub struct Step {
    /// `None` where nothing is traced.
    span: Option<opentelemetry_sdk::trace::Span>,
    /// The query that this is.
    query: Option<(Arc<Tracing>, String)>,
}

tokio::task_local! {
    /// Of the request that is handled here.
    static REQUEST: SpanContext;
}

impl Traces {
    /// As the settings say, of the node of a name.
    pub fn start(settings: Option<Settings>, node: &str, roles: String) -> anyhow::Result<Traces> {
        let Some(settings) = settings else { return Ok(Traces::default()) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.url)
            .with_headers(settings.headers.into_iter().collect())
            .with_timeout(SENT_WITHIN)
            .build()?;
        let queue = BatchConfigBuilder::default().with_max_queue_size(QUEUE_MAX).build();
        let share = Sampler::TraceIdRatioBased(settings.share);
        let about = [
            KeyValue::new("service.name", "henge"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", node.to_string()),
            KeyValue::new("henge.roles", roles),
        ];
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(queue).build())
            .with_sampler(Sampler::ParentBased(Box::new(share)))
            .with_resource(Resource::builder_empty().with_attributes(about).build())
            .build();
        let tracer = provider.tracer("henge");
        Ok(Traces(Some(Arc::new(Tracing { provider, tracer, share: settings.share, queries: Mutex::default() }))))
    }

    /// Sends what is left, for a while. To be called where blocking is right.
    pub fn end(&self) {
        if let Some(tracing) = &self.0
            && let Err(error) = tracing.provider.shutdown_with_timeout(ENDED_WITHIN)
        {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }

    /// A query begins, within the request that is handled here if there is one.
    pub fn query(&self, kind: &'static str, id: &str) -> Step {
        let Some(tracing) = &self.0 else { return Step::none() };
        let parent = REQUEST.try_with(SpanContext::clone).ok();
        let about = vec![KeyValue::new("henge.query.type", kind), KeyValue::new("henge.query.id", id.to_string())];
        let mut step = tracing.step("query", SpanKind::Internal, parent, about);
        let Some(span) = &step.span else { return step };
        let mut queries = tracing.queries.lock();
        if span.span_context().is_sampled() && queries.len() < QUERIES_MAX && !queries.contains_key(id) {
            queries.insert(id.to_string(), span.span_context().clone());
            step.query = Some((tracing.clone(), id.to_string()));
        }
        step
    }

    /// The query of an id asks a data node.
    pub fn ask(&self, query_id: &str, node: &str, segments: usize) -> Step {
        let Some(tracing) = &self.0 else { return Step::none() };
        let Some(parent) = tracing.queries.lock().get(query_id).cloned() else { return Step::none() };
        let about =
            vec![KeyValue::new("server.address", node.to_string()), KeyValue::new("henge.segments", segments as i64)];
        tracing.step("ask", SpanKind::Client, Some(parent), about)
    }

    /// Something is done of a segment, which `rows` rows are concerned by.
    pub fn segment(&self, id: &SegmentId, step: &'static str, rows: u64) -> Step {
        let Some(tracing) = &self.0 else { return Step::none() };
        let parent = of_segment(id, tracing.share);
        if !parent.is_sampled() {
            return Step::none();
        }
        let about = vec![KeyValue::new("henge.segment", id.to_string()), KeyValue::new("henge.rows", rows as i64)];
        tracing.step(step, SpanKind::Internal, Some(parent), about)
    }
}

/// The layer around all requests.
pub async fn record(State(traces): State<Traces>, mut request: Request, next: Next) -> Response {
    let Some(tracing) = &traces.0 else { return next.run(request).await };
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", |path| path.as_str());
    // What nodes tell each other all the time, and how they are looked at, is nobody's question.
    let begun = request.headers().contains_key(PARENT);
    if (route.starts_with(INTERNAL) && !begun)
        || route == "/metrics"
        || route.starts_with("/status")
        || route.starts_with("/console")
    {
        return next.run(request).await;
    }
    let about = vec![
        KeyValue::new("http.request.method", request.method().to_string()),
        KeyValue::new("http.route", route.to_string()),
    ];
    let mut step = tracing.step("request", SpanKind::Server, read(request.headers()), about);
    let Some(span) = &mut step.span else { return next.run(request).await };
    let of = span.span_context().clone();
    // A request that is passed on goes on within this.
    if let Some(header) = written(&of) {
        request.headers_mut().insert(PARENT, header);
    }
    let response = REQUEST.scope(of, next.run(request)).await;
    let status = response.status();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
    // It ends with the last of what is answered.
    response.map(|body| Body::new(Traced { body, _step: step }))
}

/// An answer on its way out, of a request that is traced.
struct Traced {
    body: Body,
    _step: Step,
}

impl HttpBody for Traced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Tracing {
    fn step(&self, name: &'static str, kind: SpanKind, parent: Option<SpanContext>, about: Vec<KeyValue>) -> Step {
        let builder = self.tracer.span_builder(name).with_kind(kind).with_attributes(about);
        let within = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        Step { span: Some(self.tracer.build_with_context(builder, &within)), query: None }
    }
}

impl Step {
    fn none() -> Step {
        Step { span: None, query: None }
    }

    /// What tells another process to go on within this.
    pub fn header(&self) -> Option<HeaderValue> {
        written(self.span.as_ref()?.span_context())
    }

    pub fn failed(&mut self) {
        if let Some(span) = &mut self.span {
            span.set_status(Status::error(""));
        }
    }

    /// Ends with a stream: when it is read to its end, or dropped.
    pub fn around<T: Send + 'static>(self, stream: BoxStream<'static, T>) -> BoxStream<'static, T> {
        if self.span.is_none() {
            return stream;
        }
        stream
            .map(move |item| {
                let _going_on = &self;
                item
            })
            .boxed()
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some((tracing, id)) = self.query.take() {
            tracing.queries.lock().remove(&id);
        }
    }
}

/// `None` of what is not as the standard has it.
fn read(headers: &HeaderMap) -> Option<SpanContext> {
    let text = headers.get(PARENT)?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = [version.len(), trace.len(), span.len(), flags.len()];
    let more = parts.next().is_some();
    if lengths != [2, 32, 16, 2] || version == "ff" || (version == "00" && more) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE)).filter(SpanContext::is_valid)
}

fn written(of: &SpanContext) -> Option<HeaderValue> {
    let flags = of.trace_flags().to_u8();
    HeaderValue::from_str(&format!("00-{}-{}-{flags:02x}", of.trace_id(), of.span_id())).ok()
}

/// Within which all that is done of a segment is, by whichever process.
fn of_segment(id: &SegmentId, share: f64) -> SpanContext {
    let digest = ring::digest::digest(&ring::digest::SHA256, id.to_string().as_bytes());
    let bytes = digest.as_ref();
    let number = |from: usize| u64::from_be_bytes(std::array::from_fn(|i| bytes[from + i]));
    let trace = (u128::from(number(0)) << 64) | u128::from(number(8));
    let sampled = (number(24) as f64) < share * u64::MAX as f64;
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(TraceId::from(trace), SpanId::from(number(16)), flags, true, TraceState::NONE)
}

/// Speaks to the collector on the thread that batches are sent by, which blocks for it.
#[derive(Debug)]
struct Collector(ureq::Agent);

impl Collector {
    fn new() -> Collector {
        let settings = ureq::Agent::config_builder()
            .timeout_global(Some(SENT_WITHIN))
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        Collector(settings.into())
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: axum::http::Request<Bytes>) -> Result<axum::http::Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let request = axum::http::Request::from_parts(parts, body.to_vec());
        let answer = self.0.run(request)?;
        let (parts, mut body) = answer.into_parts();
        let body = body.with_config().limit(64 << 10).read_to_vec()?;
        Ok(axum::http::Response::from_parts(parts, body.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Option<SpanContext> {
        let mut headers = HeaderMap::new();
        headers.insert(PARENT, HeaderValue::from_str(text).unwrap());
        read(&headers)
    }

    #[test]
    fn a_parent_is_read_as_it_is_written() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read = header(text).unwrap();
        assert!(read.is_sampled() && read.is_remote());
        assert_eq!(written(&read).unwrap(), text);
        assert!(!header("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap().is_sampled());
        // Later versions may say more.
        assert!(header("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
    }

    #[test]
    fn what_is_no_parent_begins_a_trace_of_its_own() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319z-b7ad6b7169203331-01",
        ] {
            assert!(header(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_segment_has_one_trace_wherever_it_is() {
        let id = |partition| SegmentId {
            datasource: "wiki".into(),
            interval: segment::Interval::parse("2026-01-01/2026-01-02").unwrap(),
            version: "2026-01-01T00:00:00.000Z".into(),
            partition,
        };
        assert_eq!(of_segment(&id(1), 1.0), of_segment(&id(1), 1.0));
        assert_ne!(of_segment(&id(1), 1.0).trace_id(), of_segment(&id(2), 1.0).trace_id());
        assert!(of_segment(&id(1), 1.0).is_sampled() && !of_segment(&id(1), 0.0).is_sampled());
        let traced = (0..1000).filter(|partition| of_segment(&id(*partition), 0.25).is_sampled()).count();
        assert!((150..350).contains(&traced), "{traced}");
    }
}
