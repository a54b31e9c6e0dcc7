"""The parts of bench/registry: servers, what is asked of them, what comes out."""
