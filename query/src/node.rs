//! Conductor of a data node.
