"""From text to a better encoder. Start at ``train.py``; in a program: ``trainer.train.train(load_recipe(…), …)``."""
