"""What bench/warm-reads measures, and what it shows."""
