"""The parts of bench/conversion: what converts, what it is measured beside, what it cost."""
