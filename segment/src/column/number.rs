//! number columns.

pub struct NumberColumn {}
