//! The leader's views, as brokers take them.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Coordinator;
use crate::plan::placement;
use crate::view::{View, ViewNumber, ViewUpdate};

impl Coordinator {
    /// Makes the next view, if there is anything new to see. A new leader makes none while it waits for nodes.
    pub(crate) fn show(&self) {
        let mut picture = self.inner.picture.write();
        if self.check_lead().is_err() || !picture.expected.is_empty() {
            return;
        }
        let picture = &mut *picture;
        if picture.now > 0 {
            // A view is to know what rules have loaded nowhere.
            placement::look(picture, picture.now);
        }
        picture.settle_marks();
        let begins = !picture.standing.is_begun();
        if !begins && picture.changed.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut picture.changed);
        let mut standing = std::mem::take(&mut picture.standing);
        let mut feed = self.inner.feed.write();
        let changes = standing.step(picture, changed, &feed.view);
        picture.standing = standing;
        if begins || !changes.is_empty() {
            let number = feed.add(self.epoch(), changes);
            self.inner.view_changed.send_replace(number);
        }
    }

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
