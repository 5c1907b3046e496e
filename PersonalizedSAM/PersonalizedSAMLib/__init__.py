"""Parts of PersonalizedSAM alone: the run from a prior to its targets, corrections, parameters, sample data."""
