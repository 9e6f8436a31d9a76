"""The cases: one module each, with `measure(session)` and the goals that its result is held to."""
