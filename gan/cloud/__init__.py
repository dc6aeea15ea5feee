"""Takes runs and submissions elsewhere: to rented machines, to buckets, onto somebody else's worker."""
