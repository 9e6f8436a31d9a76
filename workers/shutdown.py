"""How a shutdown shares out its grace time: the stages follow one another, and together they end within it."""

# Shares of the grace time, in the order of the stages. The rest is for what takes no noticeable time.
DRAIN = 0.5  # end the last read, finish what was begun
SETTLE = 0.2  # settle what has an outcome …
SHIELD = 0.05  # … and let a transaction that runs by then end
LEAVE = 0.1  # hand over what is still pending
CLOSE_CHANNEL = 0.05
CLOSE_POOL = 0.05
