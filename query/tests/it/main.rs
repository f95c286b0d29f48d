//! Tests of the query engine as its callers see it.

extern crate henge_query as query;

mod group;
