//! An answer on its way out, as the gate watches it: rows that are still to come are for whom they were asked by, as long as
//! that one may ask.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;

use crate::auth::Changes;

/// Ends an answer, unfinished, at the first change after which `still` does not hold, and as soon as `leads` does not. What
/// is made already goes out.
pub fn watch(
    answer: Response,
    changes: Changes,
    still: impl Fn() -> bool + Send + 'static,
    leads: impl Fn() -> bool + Send + 'static,
) -> Response {
    match answer.body().size_hint().exact() {
        Some(_) => answer,
        None => answer.map(|body| Body::new(Watched { body, changes, still: Box::new(still), leads: Box::new(leads) })),
    }
}

struct Watched {
    body: Body,
    changes: Changes,
    still: Box<dyn Fn() -> bool + Send>,
    leads: Box<dyn Fn() -> bool + Send>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let broken = |over: &str| Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other(over.to_string())))));
        if self.changes.have_come() && !(self.still)() {
            return broken("who asked may not ask any more");
        }
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() && !(self.leads)() {
            return broken("this node does not lead any more");
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
