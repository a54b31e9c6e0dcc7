"""What bench/read-everything measures, and what it shows."""
