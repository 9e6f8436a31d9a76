"""Two gateways behind a balancer, thousands of clients, gateways killed and Redis restarted: does every client end with
exactly its notifications, in order, and the exact count? `make soak`."""
