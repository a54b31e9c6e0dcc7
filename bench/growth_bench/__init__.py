"""What bench/growth measures: the same thing, ever larger in one way."""
