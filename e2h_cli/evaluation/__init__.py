"""Sample groups, voting and statistics: pure functions on arrays."""
