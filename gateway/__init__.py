"""The gateway: the in-app inbox, live, over WebSocket. Reads Postgres, hears Redis, serves browsers."""
