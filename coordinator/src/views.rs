//! The leader's views, as brokers take them.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Coordinator;
use crate::view::{View, ViewNumber, ViewUpdate};

impl Coordinator {
    /// The newest view. Its number is 0 until there is a first one: a new leader waits until the nodes that it knows of
    /// have reported, or a node's lease is over.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.inner.feed.read().view)
    }

    /// What is to be applied to a view of this number so that it is the newest one.
    pub fn view_since(&self, number: ViewNumber) -> ViewUpdate {
        self.inner.feed.read().since(number)
    }

    /// Changes with every view.
    pub fn watch_view(&self) -> watch::Receiver<ViewNumber> {
        self.inner.view_changed.subscribe()
    }
}
