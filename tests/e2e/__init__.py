"""End to end, through the public doors only."""
