"""Recipes are read whole or refused with the name of what is wrong."""

from __future__ import annotations

import pytest

from indexer.errors import UsageError
from trainer.assemble import pseudo_settings
from trainer.negatives import NEGATIVES
from trainer.objectives import OBJECTIVES
from trainer.recipe import build, choose, load_recipe, names
from trainer.regularisers import REGULARISERS
from trainer.views import VIEWS


@pytest.mark.parametrize("name", names())
def test_every_shipped_recipe_names_members_that_exist(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert recipe.source
    if recipe.view.kind == "pseudo":
        assert sum(pseudo_settings(recipe).wanted().values()) > 0
    elif not recipe.labelled:
        build(choose(VIEWS, recipe.view, "view", name), recipe.view.settings, "view", name)
    kind, settings = choose(NEGATIVES, recipe.negatives, "negatives", name)
    kind(build(settings, recipe.negatives.settings, "negatives", name))
    for family, chosen, section in (
        (OBJECTIVES, recipe.objective, "objective"),
        (REGULARISERS, recipe.regulariser, "regulariser"),
    ):
        build(choose(family, chosen, section, name), chosen.settings, section, name)


def test_the_recipes_of_the_plan_are_all_here():
    wanted = "contriever contriever-inbatch simcse esimcse declutr span supervised supervised-hard distill matryoshka"
    assert {*wanted.split(), "matryoshka2d"} <= set(names())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("run.epoch=3", "did you mean epochs"),
        ("run.epochs=many", "a number"),
        ("run.batch=2.5", "a whole number"),
        ("run.batch=0", "at least 1"),
        ("run.cached=1", "true or false"),
        ("negative.kind=hard", "unknown section"),
        ("run", "section.key=value"),
        ("run.learning_rate=5", "learning_rate"),
        ("run.epochs=nan", "above 0"),
    ],
)
def test_a_wrong_change_is_refused_by_name(change, said):
    with pytest.raises(UsageError, match=said):
        load_recipe("supervised", (change,))


def test_a_change_counts():
    recipe = load_recipe("supervised-hard", ("run.epochs=7", "negatives.share=0.9", "view.kind=labels"))
    assert recipe.run.epochs == 7
    assert recipe.negatives.settings["share"] == 0.9


def test_an_unknown_recipe_names_its_neighbour(tmp_path):
    with pytest.raises(UsageError, match="did you mean contriever"):
        load_recipe("contriver")
    with pytest.raises(UsageError, match="no recipe"):
        load_recipe(str(tmp_path / "mine.toml"))


def test_a_recipe_of_ones_own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[view]\nkind = "span"\n[objective]\nkind = "infonce"\ntemperature = 0.1\n')
    recipe = load_recipe(str(file))
    assert (recipe.name, recipe.negatives.kind, recipe.regulariser.kind) == ("mine", "inbatch", "none")
    file.write_text("[view\n")
    with pytest.raises(UsageError, match="mine"):
        load_recipe(str(file))


def test_an_unknown_kind_names_its_neighbour():
    recipe = load_recipe("supervised", ("objective.kind=infonse",))
    with pytest.raises(UsageError, match="did you mean infonce"):
        choose(OBJECTIVES, recipe.objective, "objective", recipe.name)
