"""From text to a better encoder. Empty so far: the contrastive trainer is the project's next piece of work."""
