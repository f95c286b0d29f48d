//! dict columns.

pub struct DictColumn {}
