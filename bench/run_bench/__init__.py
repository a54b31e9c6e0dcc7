"""The parts of bench/run, and how their results become one."""
