//! Rows as they stand: scan and search.
