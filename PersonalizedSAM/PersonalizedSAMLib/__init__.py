"""What only PersonalizedSAM needs: the run from a prior to its targets, corrections, parameters, sample data."""
