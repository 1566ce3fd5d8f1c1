"""Index a folder of mixed files, then ask it questions that share no word with their answers.

python examples/search_a_folder.py                      # the library beside this file
python examples/search_a_folder.py ~/notes "how do I …?"
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import searchengine

LIBRARY = Path(__file__).with_name("library")
QUESTIONS = [
    "why is my attic wet since we put fibreglass in?",
    "rescue a sailor who tumbled into the waves",
    "what were seamstresses' wages during wartime?",
]

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else LIBRARY
with TemporaryDirectory() as temporary:
    index = searchengine.index(folder, index=Path(temporary) / "index")
    for question in sys.argv[2:] or QUESTIONS:
        print(f"\n{question}")
        for hit in index.search(question, k=3):
            place = f"page {hit.page}" if hit.page else f"line {hit.line}" if hit.line else hit.location.heading or ""
            print(f"  {hit.score:.2f}  {hit.document}  {place}  {' '.join(hit.text.split())[:90]}…")
