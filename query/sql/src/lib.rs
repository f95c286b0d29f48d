//! query/sql
