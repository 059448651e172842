"""Train, validation and test parts: the schemes, the draws, and what structures are grouped by."""
