"""From qrels to figures: BEIR folders, runs, measures, significance. Importing it costs nothing."""
