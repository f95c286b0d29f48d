//! Damage is found or does no harm.
