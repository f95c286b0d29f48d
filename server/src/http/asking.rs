//! A request's body on its way in, as the gate watches it: whether its sender has said all, and whether they rest for too
//! long.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use tower_http::timeout::TimeoutBody;

use crate::node::now;

/// When a request had been asked: its body was read to the end.
#[derive(Debug, Clone)]
pub struct Asking(Arc<AtomicI64>);

/// Before that.
const NOT_YET: i64 = i64::MIN;

impl Asking {
    /// Watches a body, which fails if nothing comes of it for so long while somebody waits for it.
    pub fn watch(body: Body, idle_max: Option<Duration>) -> (Asking, Body) {
        let asking = Asking(Arc::new(AtomicI64::new(NOT_YET)));
        asking.look(&body);
        let watched = Watched { body, asking: asking.clone() };
        let body = match idle_max {
            Some(idle_max) => Body::new(TimeoutBody::new(idle_max, watched)),
            None => Body::new(watched),
        };
        (asking, body)
    }

    /// In milliseconds since 1970; `None` as long as more may come.
    pub fn asked(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Acquire)).filter(|at| *at != NOT_YET)
    }

    fn look(&self, body: &Body) {
        if body.is_end_stream() {
            self.end();
        }
    }

    fn end(&self) {
        // The first end counts.
        let _ = self.0.compare_exchange(NOT_YET, now(), Ordering::AcqRel, Ordering::Acquire);
    }
}

struct Watched {
    body: Body,
    asking: Asking,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(_))) => self.asking.look(&self.body),
            Poll::Ready(None) => self.asking.end(),
            // What broke off was not asked.
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use futures::stream;

    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(3600));

    async fn read(body: Body) -> Result<Bytes, axum::Error> {
        axum::body::to_bytes(body, 100).await
    }

    #[tokio::test]
    async fn a_request_has_been_asked_when_its_body_is_at_its_end() {
        assert!(Asking::watch(Body::empty(), LONG).0.asked().is_some());
        let (send, received) = mpsc::unbounded::<Result<Bytes, std::io::Error>>();
        let (asking, body) = Asking::watch(Body::from_stream(received), LONG);
        let reading = tokio::spawn(read(body));
        for part in ["some", "more"] {
            send.unbounded_send(Ok(part.into())).unwrap();
            tokio::task::yield_now().await;
            assert_eq!(asking.asked(), None);
        }
        let before = now();
        drop(send);
        assert_eq!(reading.await.unwrap().unwrap(), "somemore");
        assert!((before..=now()).contains(&asking.asked().unwrap()));

        let broken = stream::iter([Ok(Bytes::from("some")), Err(std::io::Error::other("broken"))]);
        let (asking, body) = Asking::watch(Body::from_stream(broken), LONG);
        assert!(read(body).await.is_err());
        assert_eq!(asking.asked(), None);
    }
}
