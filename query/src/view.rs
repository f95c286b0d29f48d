//! Which segments a query concerns, as of one moment.
