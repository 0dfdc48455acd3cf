//! Sequential equivalence of the block with a model.
