//! Codecs of blocks of numbers.
