//! Sorted string dictionaries.
