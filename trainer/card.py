"""The model card: what a trained encoder is, what it was made of, and what was measured. README.md of its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trainer.recipe import CROSS, Recipe


def card(recipe: Recipe, facts: Mapping[str, Any]) -> str:
    """Write the card; ``facts`` are what ``output.write_output`` knows of the run."""
    before, after = facts["before"], facts["after"]
    rows = "\n".join(f"| {name} | {before[name]:.4f} | {after[name]:.4f} |" for name in ("nDCG@10", "R@100", "RR@10"))
    cross = recipe.model.kind == CROSS
    made = (
        "A cross-encoder for `searchengine query --rerank`" if cross else "An encoder for `searchengine index --model`"
    )
    judged = "Hybrid retrieval, read again," if cross else "Dense retrieval"
    anew = " (architecture and tokenizer; weights drawn anew)" if recipe.run.from_scratch else ""
    settings = json.dumps(recipe.as_dict(), indent=1, ensure_ascii=False, default=list)
    return f"""---
library_name: sentence-transformers
pipeline_tag: {"text-ranking" if cross else "sentence-similarity"}
base_model: {facts["base"]}
---

# {facts["name"]}

{made}, trained by `searchengine train {recipe.name}`.

{recipe.description}

| | |
| --- | --- |
| starting model | {facts["base"]}{anew} |
| data | {", ".join(facts["data"])} ({facts["documents"]:,} documents, {facts["examples"]:,} examples an epoch) |
| method | {recipe.source} |
| steps | {facts["steps"]:,} of {facts["batch"]} examples, seed {facts["seed"]} |
| machine | {facts["machine"]}, {facts["seconds"] / 60:.0f} minutes |

{judged} on held-out queries, before and after ({facts["evaluated"]}; {facts["queries"]:,} queries over
{facts["searched"]:,} passages). These queries chose nothing but whether to keep the model and which of its checkpoints.

| measure | before | after |
| --- | --- | --- |
{rows}

It has adapted to the collection named above: training and held-out queries ask for documents of the same collection, so
expect less of a gain on another one. The starting model's licence applies to the weights.

<details><summary>recipe</summary>

```json
{settings}
```

</details>
"""
