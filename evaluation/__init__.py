"""What the runs are worth: scores on the test part, statistics, experiments and pages."""
