//! What brokers ask of data nodes: both ends of it.
//!
//! 1. [`RemoteNode`] sends the ask, with the number of the process that it is for: a node that was started anew has other
//!    rows than the picture tells of.
//! 2. The handler asks the [`LocalNode`] of its process. Rows that grow are answered for only while this node surely is the
//!    one that has them ([`Tenure`]), looked at before they are opened and again when they are: a process that stood still
//!    in between wakes up to refuse.
//! 3. A copy that is found to be broken is fetched anew at once; the broker that met it asks elsewhere meanwhile. Who asks about
//!    one that is being fetched waits for it.
//! 4. The answer is a stream of frames, made no faster than it is read; whoever drops it ends the work at the other end. Its
//!    last frame says that it is complete, or how it failed: a stream without it is an error, which the reader of frames sees.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;
use query::cluster::{DataNode, NodeAnswer, NodeAsk};
use query::local::LocalNode;
use query::wire::answer::Closing;
use query::wire::frame::{self, Kind};
use query::{Broker, Error, Result};
use segment::Segment;
use segment::inventory::{Inventory, Served};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::peers::Peers;
use crate::http::App;
use crate::roles::historical::Historical;
use crate::traces::PARENT;

/// Where asks go.
pub const QUERY: &str = "/henge/internal/v1/query";

/// The number of the process that an ask is for.
pub const PROCESS: HeaderName = HeaderName::from_static("x-henge-process");

/// A data node that is another process.
pub struct RemoteNode {
    pub peers: Arc<Peers>,
    /// `host:port`.
    pub address: String,
    pub process: u64,
}

#[async_trait]
impl DataNode for RemoteNode {
    async fn run(&self, ask: &NodeAsk) -> Result<NodeAnswer> {
        let gone = |why: &dyn std::fmt::Display| Error::Unavailable(why.to_string());
        let mut step = self.peers.traces.ask(&ask.query_id, &self.address, ask.segments.len());
        let mut request = axum::http::Request::builder()
            .method(Method::POST)
            .uri(QUERY)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(PROCESS, HeaderValue::from(self.process))
            .body(Body::from(ask.to_bytes()))
            .map_err(|error| gone(&error))?;
        if let Some(parent) = step.header() {
            request.headers_mut().insert(PARENT, parent);
        }
        let sent = tokio::time::timeout(ask.remaining, self.peers.send(&self.address, request)).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                step.failed();
                return Err(gone(&error));
            }
            Err(_) => {
                step.failed();
                return Err(gone(&format_args!("node at {} did not answer in time", self.address)));
            }
        };
        let status = response.status();
        if !status.is_success() {
            step.failed();
            return Err(gone(&format_args!("node at {} answered {status}", self.address)));
        }
        let frames = response.into_body().into_data_stream();
        let broken = |error| Error::Unavailable(format!("a data node's answer broke off: {error}"));
        Ok(step.around(frames.map(move |bytes| bytes.map_err(broken)).boxed()))
    }
}

/// Until when something is surely so that the leader said: that this node is the one that has its rows, for it gives them to
/// another only once it has not heard of this node for the lease's time, counted from when what it heard last was sent; that
/// a broker may answer by the view it has.
#[derive(Default)]
pub struct Tenure(Mutex<Tenancy>);

#[derive(Default)]
struct Tenancy {
    until: Option<Instant>,
    has_begun: bool,
    is_over: bool,
}

impl Tenure {
    /// What was sent at a moment was taken in, or answered. Nothing after [`Tenure::end`].
    pub fn renew(&self, sent: Instant, lease: Duration) {
        let tenancy = &mut *self.0.lock();
        if !tenancy.is_over {
            (tenancy.until, tenancy.has_begun) = (Some(sent + lease), true);
        }
    }

    pub fn end(&self) {
        let tenancy = &mut *self.0.lock();
        (tenancy.until, tenancy.is_over) = (None, true);
    }

    pub fn holds(&self) -> bool {
        self.0.lock().until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether it ever held.
    pub fn has_begun(&self) -> bool {
        self.0.lock().has_begun
    }
}

/// What brokers reach of this process.
pub struct Answers {
    pub node: Arc<LocalNode>,
    /// What it answers by.
    pub rows: Arc<Broker>,
    pub inventory: Arc<Inventory>,
    /// Where the published ones among them are from.
    pub historical: Option<Arc<Historical>>,
    pub process: u64,
    pub tenure: Arc<Tenure>,
}

impl Answers {
    async fn answer(self: &Arc<Self>, app: &App, process: Option<u64>, ask: &[u8]) -> Result<NodeAnswer> {
        if process != Some(self.process) {
            return Err(Error::Unavailable("this node was started anew since; look for newer news of it".into()));
        }
        let ask = NodeAsk::from_bytes(ask)?;
        let (grows, mut copies) = self.asked(&ask);
        if copies.is_broken() {
            copies.mend().await;
            copies = self.asked(&ask).1;
        }
        if grows && !self.tenure.holds() {
            return Err(lost());
        }
        let known = app.standing.known();
        let answer = match self.node.run(&ask).await {
            // The broker may know of newer rules, or lookups, than are known here.
            Err(error @ (Error::Denied(_) | Error::Unavailable(_))) => match app.standing.catch_up(known).await {
                true => self.node.run(&ask).await?,
                false => return Err(error),
            },
            answer => answer?,
        };
        // They are looked at when all has been read, or nobody reads on.
        let mut answer = answer
            .map(move |bytes| {
                let _held = &copies;
                bytes
            })
            .boxed();
        if !grows {
            return Ok(answer);
        }
        let first = answer.next().await;
        if !self.tenure.holds() {
            return Err(lost());
        }
        Ok(stream::iter(first).chain(answer).boxed())
    }

    /// Whether it is about rows that are not published, and those that are.
    fn asked(&self, ask: &NodeAsk) -> (bool, Copies) {
        let ids: Vec<_> = ask.segments.iter().map(|asked| asked.id.clone()).collect();
        let (mut grows, mut segments) = (false, Vec::with_capacity(ids.len()));
        for served in self.inventory.open(&ids).1.into_iter().flatten() {
            match served {
                Served::Realtime(_) => grows = true,
                Served::Published(segment) => segments.push(segment),
            }
        }
        (grows, Copies { segments, historical: self.historical.clone() })
    }
}

/// Local copies that an answer is made of.
struct Copies {
    segments: Vec<Arc<Segment>>,
    historical: Option<Arc<Historical>>,
}

impl Copies {
    fn is_broken(&self) -> bool {
        self.segments.iter().any(|segment| segment.is_broken())
    }

    /// Fetches broken ones anew. What deep storage cannot give whole is not served any more.
    async fn mend(&self) {
        if let Some(historical) = &self.historical {
            historical.mend().await;
        }
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if let (true, Some(historical), Ok(runtime)) = (self.is_broken(), self.historical.take(), Handle::try_current())
        {
            runtime.spawn(async move { historical.mend().await });
        }
    }
}

fn lost() -> Error {
    Error::Unavailable("the node has not been heard of by the leader for too long; another may have its rows".into())
}

/// Answers an ask.
pub async fn query(State(app): State<Arc<App>>, headers: HeaderMap, ask: Bytes) -> Response {
    let process = headers.get(PROCESS).and_then(|value| value.to_str().ok()?.parse().ok());
    let answered = match &app.answers {
        Some(answers) => answers.answer(&app, process, &ask).await,
        None => Err(Error::Unavailable("this node has no rows".into())),
    };
    let frames = answered.unwrap_or_else(|error| {
        let closing = frame::write(Kind::Closing, &Closing::failed(&error).to_bytes());
        stream::iter([Ok(closing)]).boxed()
    });
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(frames)).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;
    use query::Principal;
    use query::cluster::What;
    use query::wire::frame::Frames;
    use tokio::net::TcpListener;

    use super::*;
    use crate::rpc::peers::{SECRET, Secret};
    use crate::traces::Traces;

    fn ask() -> NodeAsk {
        NodeAsk {
            query_id: "q".into(),
            who: Principal::new("somebody"),
            keys: BTreeMap::new(),
            what: What::Columns,
            segments: Vec::new(),
            remaining: Duration::from_secs(20),
            memory_bytes: 1 << 20,
            scan_bytes: None,
            subquery_rows_max: 1,
            priority: 0,
            lookups: BTreeMap::new(),
        }
    }

    /// A node that answers with a stream of a test's own, and how it is reached.
    async fn node(answer: impl Fn() -> NodeAnswer + Clone + Send + Sync + 'static) -> RemoteNode {
        let handler = move |headers: HeaderMap, ask: Bytes| async move {
            assert_eq!([&headers[PROCESS], &headers[SECRET]], ["7", "the-word-of-the-nodes"]);
            assert_eq!(NodeAsk::from_bytes(&ask).unwrap().query_id, "q");
            Body::from_stream(answer())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().route(QUERY, post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let peers = Peers::new(&Secret::new("the-word-of-the-nodes".into()), None, Traces::default()).unwrap();
        RemoteNode { peers, address, process: 7 }
    }

    fn closing() -> Bytes {
        frame::write(Kind::Closing, &Closing::Complete { matched: true }.to_bytes())
    }

    async fn frames(node: &RemoteNode) -> Result<Vec<Kind>> {
        let mut frames = Frames::new(node.run(&ask()).await?);
        let mut kinds = Vec::new();
        while let Some((kind, _)) = frames.next().await? {
            kinds.push(kind);
        }
        Ok(kinds)
    }

    #[tokio::test]
    async fn frames_come_as_they_were_sent_and_what_breaks_off_is_an_error() {
        let whole = node(|| {
            let rows = frame::write(Kind::Rows, &[7; 300_000]);
            stream::iter([Ok(rows.slice(..100_000)), Ok(rows.slice(100_000..)), Ok(closing())]).boxed()
        });
        let whole = whole.await;
        // Over one connection, as often as asked.
        for _ in 0..3 {
            assert_eq!(frames(&whole).await.unwrap(), [Kind::Rows, Kind::Closing]);
        }
        let cut = node(|| stream::iter([Ok(closing().slice(..9))]).boxed()).await;
        assert!(matches!(frames(&cut).await, Err(Error::Unavailable(_))), "it ends within a frame");
        let broken = node(|| {
            let failed = Err(Error::Unavailable("the disk".into()));
            stream::iter([Ok(frame::write(Kind::Rows, b"rows")), failed]).boxed()
        });
        assert!(matches!(frames(&broken.await).await, Err(Error::Unavailable(_))), "it breaks off");
    }

    #[tokio::test]
    async fn who_is_not_there_and_who_refuses_are_errors() {
        let node = node(|| stream::iter([Ok(closing())]).boxed()).await;
        let nobody = RemoteNode { peers: node.peers.clone(), address: "127.0.0.1:1".into(), process: 7 };
        assert!(matches!(nobody.run(&ask()).await, Err(Error::Unavailable(_))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let refuses = Router::new().fallback(|| async { StatusCode::UNAUTHORIZED });
        tokio::spawn(async move { axum::serve(listener, refuses).await });
        let refusing = RemoteNode { peers: node.peers.clone(), address, process: 7 };
        let error = refusing.run(&ask()).await.err().unwrap();
        assert!(error.to_string().contains("401"), "{error}");
    }

    #[tokio::test]
    async fn dropping_an_answer_ends_the_work_at_the_other_end() {
        struct AtWork(Arc<AtomicUsize>);
        impl Drop for AtWork {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let (at_work, made) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, counter) = (at_work.clone(), made.clone());
        let endless = node(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let (held, counter) = (AtWork(counted.clone()), counter.clone());
            let rows = frame::write(Kind::Rows, &[1; 1 << 16]);
            stream::repeat_with(move || {
                let _held = &held;
                counter.fetch_add(1, Ordering::SeqCst);
                Ok(rows.clone())
            })
            .boxed()
        })
        .await;
        let mut frames = Frames::new(endless.run(&ask()).await.unwrap());
        assert_eq!(frames.next().await.unwrap().unwrap().0, Kind::Rows);
        assert_eq!(at_work.load(Ordering::SeqCst), 1);
        // Nobody reads on: what is made is bounded by what may be on its way.
        let mut before = usize::MAX;
        while before != made.load(Ordering::SeqCst) {
            before = made.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(before < 200, "{before} pieces of 64 KiB were made for nobody");
        drop(frames);
        while at_work.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn tenure_lasts_from_when_the_report_was_sent() {
        let (tenure, lease) = (Tenure::default(), Duration::from_secs(800));
        assert!(!tenure.holds());
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        tenure.renew(Instant::now(), lease);
        assert!(tenure.holds());
        // A machine that was started just now knows no time before.
        if let Some(sent) = ago(801) {
            tenure.renew(sent, lease);
            assert!(!tenure.holds());
        }
        tenure.renew(Instant::now(), lease);
        tenure.end();
        assert!(!tenure.holds());
        tenure.renew(Instant::now(), lease);
        assert!(!tenure.holds(), "it has ended");
    }
}
