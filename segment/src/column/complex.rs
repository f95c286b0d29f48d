//! complex columns.

pub struct ComplexColumn {}
