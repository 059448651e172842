"""Models that outlive a run: source models, scores on the test part, the report, predictions."""
