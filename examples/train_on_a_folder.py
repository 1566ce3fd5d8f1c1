"""Train the encoder on a folder's own text, without labels, and search the folder with it.

python examples/train_on_a_folder.py                # a few steps on the library beside this file
python examples/train_on_a_folder.py ~/notes 300    # more of them; the gate keeps the model only if it is no worse
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import searchengine
from trainer.recipe import load_recipe
from trainer.train import train

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("library")
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 4
with TemporaryDirectory() as temporary:
    recipe = load_recipe("span", (f"run.steps={steps}", "run.batch=8", "view.window=128"))
    report = train(recipe, [folder], Path(temporary) / "model")
    print(report.reason)
    index = searchengine.index(
        folder, index=Path(temporary) / "index", model=str(report.output) if report.kept else None
    )
    for hit in index.search("rescue a sailor who tumbled into the waves", k=3):
        print(f"{hit.score:.2f}  {hit.document}  {hit.line or ''}")
