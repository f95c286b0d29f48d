//! Accumulators: the folding state of aggregates, one slot a group.
