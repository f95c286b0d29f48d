//! Bytes that were written once are read for ever.
