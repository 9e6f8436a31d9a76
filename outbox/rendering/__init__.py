"""Templates rendered, for workers that send and for the API that shows what would be sent."""
