//! A stream that ends at its deadline although nobody reads it: a client that stops reading must not keep what the stream
//! holds (a place among the running queries, mapped segments) for longer than the query may take.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{BoxStream, Stream, StreamExt};
use parking_lot::Mutex;
use tokio::task::AbortHandle;

struct Leashed<T> {
    held: Arc<Mutex<Option<BoxStream<'static, T>>>>,
    /// What is said in place of the rest; `None` once it is said or the stream has ended by itself.
    late: Option<T>,
    timer: AbortHandle,
}

/// The stream's items. After `remaining` the stream is dropped, and whoever reads next gets `late` and the end.
/// Needs a Tokio runtime.
pub fn until<T: Send + Unpin + 'static>(
    stream: BoxStream<'static, T>,
    remaining: Duration,
    late: T,
) -> BoxStream<'static, T> {
    let held = Arc::new(Mutex::new(Some(stream)));
    let of_timer = Arc::downgrade(&held);
    let timer = tokio::spawn(async move {
        tokio::time::sleep(remaining).await;
        let stream = of_timer.upgrade().and_then(|held| held.lock().take());
        drop(stream);
    });
    Leashed { held, late: Some(late), timer: timer.abort_handle() }.boxed()
}

impl<T: Unpin> Stream for Leashed<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut held = self.held.lock();
        let Some(stream) = held.as_mut() else {
            drop(held);
            return Poll::Ready(self.late.take());
        };
        let item = stream.poll_next_unpin(context);
        if matches!(item, Poll::Ready(None)) {
            *held = None;
            drop(held);
            self.late = None;
            self.timer.abort();
        }
        item
    }
}

impl<T> Drop for Leashed<T> {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    /// Tells when it is dropped.
    struct Held(Arc<Mutex<bool>>);

    impl Drop for Held {
        fn drop(&mut self) {
            *self.0.lock() = true;
        }
    }

    fn numbers(dropped: &Arc<Mutex<bool>>) -> BoxStream<'static, i32> {
        let held = Held(dropped.clone());
        stream::iter(0..3)
            .map(move |number| {
                let _held = &held;
                number
            })
            .boxed()
    }

    #[tokio::test]
    async fn what_nobody_reads_is_let_go_at_the_deadline() {
        let dropped = Arc::new(Mutex::new(false));
        let mut read = until(numbers(&dropped), Duration::ZERO, -1);
        while !*dropped.lock() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((read.next().await, read.next().await), (Some(-1), None));
    }

    #[tokio::test]
    async fn what_is_read_in_time_is_whole() {
        let dropped = Arc::new(Mutex::new(false));
        let read: Vec<i32> = until(numbers(&dropped), Duration::from_secs(3600), -1).collect().await;
        assert_eq!(read, [0, 1, 2]);
        assert!(*dropped.lock());
    }
}
