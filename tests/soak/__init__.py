"""The long proofs: what `make test` samples, run at length. Started by `make soak SEED=…`."""
