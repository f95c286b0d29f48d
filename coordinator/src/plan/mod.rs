//! Pure planners: from the picture to what should be done. They neither read the clock nor change anything.

pub(crate) mod assignment;
pub(crate) mod placement;
pub(crate) mod supervisors;
