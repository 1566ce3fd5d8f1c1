"""A BEIR folder is read exactly, or refused with the place of the fault."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.beir import open_dataset, read_corpus
from benchmarks.lines import SHOWN_CHARACTERS, shown
from indexer.errors import DataError

from .conftest import DOCUMENTS, HEADER, QRELS, QUERIES, jsonl, refusal


def test_a_folder_gives_its_documents_queries_and_judgements(beir):
    dataset = open_dataset(beir())
    assert dataset.name == "tiny"
    assert [document.id for document in dataset.corpus] == ["d1", "d2", "d3", "d4"]
    assert next(iter(dataset.corpus)) == ("d1", "Apples", "Apples grow on trees in the orchard.")
    assert len(dataset.corpus) == 4
    assert dataset.queries == {query["_id"]: query["text"] for query in QUERIES}
    assert dataset.qrels == {"q1": {"d1": 2}, "q2": {"d2": 1}, "q3": {"d4": 1}}
    assert dataset.notes == ()


def test_a_corpus_is_streamed_afresh_and_selected_from(beir):
    corpus = open_dataset(beir()).corpus
    assert list(corpus) == list(corpus)
    assert list(corpus.select(["d3", "d1", "nowhere"])) == ["d1", "d3"]


# 73, 74: what is missing


def test_a_missing_folder_names_what_stands_there_instead(beir, tmp_path):
    beir()
    message = refusal(tmp_path / "tinny")
    assert "tinny: no such folder" in message
    assert "there are: tiny" in message


def test_a_folder_missing_with_its_parents_names_the_nearest_that_exists(beir, tmp_path):
    beir()
    assert f"in {tmp_path} there are: tiny" in refusal(tmp_path / "a" / "b" / "c")


def test_a_file_is_no_folder(beir):
    assert "a BEIR folder is expected" in refusal(beir() / "corpus.jsonl")


def test_a_missing_corpus_names_what_is_there(beir):
    message = refusal(beir(corpus=None))
    assert "no corpus.jsonl or corpus.jsonl.gz" in message
    assert "there are: qrels, queries.jsonl" in message


def test_missing_queries_name_what_is_there(beir):
    message = refusal(beir(queries=None))
    assert "no queries.jsonl or queries.jsonl.gz" in message
    assert "there are: corpus.jsonl, qrels" in message


def test_missing_qrels_name_what_is_there(beir):
    folder = beir(test=None)
    (folder / "qrels").rmdir()
    message = refusal(folder)
    assert "no folder qrels" in message
    assert "there are: corpus.jsonl, queries.jsonl" in message


@pytest.mark.parametrize("split", ["dev", "../test", "", "test.tsv", "a\nb"])
def test_a_missing_split_names_the_splits(beir, split):
    folder = beir(train=QRELS)
    message = refusal(folder, split)
    assert f"no split {json.dumps(split)} in {folder / 'qrels'}; there are: test, train" in message


def test_many_entries_are_cut_short(beir):
    message = refusal(beir(**{f"s{number:02}": QRELS for number in range(30)}), "dev")
    assert "s10, s11 and 19 more" in message


# 75, 76: gzip


def pack(folder, *parts):
    for part in parts:
        path = folder / part
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def test_gzipped_parts_read_like_plain_ones(beir):
    plain = open_dataset(beir(name="plain"))
    folder = beir(name="packed")
    pack(folder, "corpus.jsonl", "queries.jsonl", "qrels/test.tsv")
    packed = open_dataset(folder)
    assert list(packed.corpus) == list(plain.corpus)
    assert (packed.queries, packed.qrels, packed.notes) == (plain.queries, plain.qrels, ())


def test_the_plain_file_wins_over_the_gzipped_one_and_that_is_said(beir):
    folder = beir()
    (folder / "corpus.jsonl.gz").write_bytes(b"never read")
    dataset = open_dataset(folder)
    assert len(dataset.corpus) == 4
    assert dataset.notes == (f"{folder / 'corpus.jsonl'} is read, corpus.jsonl.gz beside it is not",)


def test_a_truncated_gzip_file_names_its_last_good_line(beir, tmp_path):
    lines = [json.dumps({"_id": str(number), "text": f"text {number * 7919 % 1000}"}) for number in range(5000)]
    folder = beir(corpus=None)
    whole = gzip.compress("\n".join(lines).encode())
    (folder / "corpus.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    message = refusal(folder)
    last = int(message.split("the last good line is ")[1].split()[0])
    assert "corpus.jsonl.gz: truncated gzip file" in message
    assert 1000 < last < 4000
    read = []
    with pytest.raises(DataError):
        read.extend(read_corpus(folder / "corpus.jsonl.gz"))


def test_a_damaged_gzip_file_is_refused(beir):
    folder = beir()
    pack(folder, "corpus.jsonl")
    path = folder / "corpus.jsonl.gz"
    damaged = bytearray(path.read_bytes())
    damaged[-6] ^= 0xFF  # the checksum: all lines arrive, and are still not to be trusted
    path.write_bytes(damaged)
    assert "corpus.jsonl.gz: damaged gzip file, the last good line is 4" in refusal(folder)


@pytest.mark.parametrize("content", [b"not gzip at all", b"\x1f\x8b\x08\x00garbage that is no stream"])
def test_what_is_no_gzip_file_is_refused(beir, content):
    folder = beir(corpus=None)
    (folder / "corpus.jsonl.gz").write_bytes(content)
    assert "no line can be read" in refusal(folder)


def test_an_empty_gzip_file_holds_no_document(beir):
    folder = beir(corpus=None)
    (folder / "corpus.jsonl.gz").write_bytes(b"")
    assert "no document in it" in refusal(folder)


# 77: broken lines


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"_id": "x", "text": "cut of', "broken JSON"),
        ("[1, 2]", "a JSON object is expected, not list"),
        ("17", "a JSON object is expected, not int"),
        ('{"_id": "x"}', 'no "text" (the line has: "_id")'),
        ('{"id": "x", "text": ""}', '"_id" must be a string that is not empty (the line has: "id", "text")'),
        ('{"_id": "", "text": ""}', '"_id" must be a string'),
        ('{"_id": null, "text": ""}', '"_id" must be a string'),
        ('{"_id": true, "text": ""}', '"_id" must be a string'),
        ('{"_id": "x", "text": 5}', '"text" must be a string, not int'),
        ('{"_id": "x", "text": "", "title": ["a"]}', '"title" must be a string, not list'),
        ("[" * 100_000, "JSON that cannot be read"),
        ('{"_id": ' + "9" * 5000 + "}", "JSON that cannot be read"),
        ('{"_id": "a\tb", "text": ""}', "broken JSON: Invalid control character"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(beir, line, what):
    folder = beir(corpus=jsonl(DOCUMENTS) + "\n" + line + "\n")
    message = refusal(folder)
    assert f"{folder / 'corpus.jsonl'}:6: {what}" in message
    assert len(message) < 300 + len(str(folder))


def test_a_broken_query_line_is_named(beir):
    assert "queries.jsonl:4: broken JSON" in refusal(beir(queries=jsonl(QUERIES) + "{"))


def test_a_line_that_is_not_utf8_is_named(beir):
    corpus = jsonl(DOCUMENTS).encode() + '{"_id": "é", "text": ""}'.encode("latin-1")
    assert "corpus.jsonl:5: not UTF-8 at byte 10" in refusal(beir(corpus=corpus))


def test_a_folder_in_place_of_a_file_is_refused(beir):
    folder = beir(corpus=None)
    (folder / "corpus.jsonl").mkdir()
    assert "corpus.jsonl: cannot be read: Is a directory" in refusal(folder)


# 78: ids that repeat


def test_a_repeated_document_id_is_refused_with_its_line(beir):
    message = refusal(beir(corpus=jsonl([*DOCUMENTS, {"_id": "d2", "text": "another"}])))
    assert 'corpus.jsonl:5: the document id "d2" repeats (--keep-first keeps the first)' in message


def test_a_repeated_query_id_is_refused_with_its_line(beir):
    assert 'queries.jsonl:4: the query id "q1" repeats' in refusal(
        beir(queries=jsonl([*QUERIES, {"_id": "q1", "text": "another"}]))
    )


def test_keep_first_goes_on_and_counts(beir):
    folder = beir(
        corpus=jsonl([*DOCUMENTS, {"_id": "d2", "text": "another"}]),
        queries=jsonl([*QUERIES, {"_id": "q1", "text": "another"}]),
    )
    dataset = open_dataset(folder, keep_first=True)
    assert [document.text for document in dataset.corpus] == [document["text"] for document in DOCUMENTS]
    assert dataset.queries["q1"] == "fruit trees in an orchard"
    assert dataset.notes == ("1 query with an id seen before left out", "1 document with an id seen before left out")


# 79, 80: empty texts


def test_empty_documents_are_kept_and_counted(beir):
    dataset = open_dataset(beir(corpus=jsonl([*DOCUMENTS, {"_id": "e1", "text": " \n"}, {"_id": "e2", "text": None}])))
    assert len(dataset.corpus) == 6
    assert dataset.notes == ("2 empty documents kept",)


def test_a_document_with_a_title_alone_is_not_empty(beir):
    assert open_dataset(beir(corpus=jsonl([*DOCUMENTS, {"_id": "t", "title": "Only", "text": ""}]))).notes == ()


@pytest.mark.parametrize("text", ["", "  ", "\t\u00a0\n", "\x01\x7f"])
def test_an_empty_query_is_kept_and_counted(beir, text):
    dataset = open_dataset(beir(queries=jsonl([{"_id": "q1", "text": text}, *QUERIES[1:]])))
    assert set(dataset.qrels) == {"q1", "q2", "q3"}
    assert dataset.notes == ("1 empty query scored 0",)


@pytest.mark.parametrize("part", ["corpus", "queries"])
@pytest.mark.parametrize("content", ["", "\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_entries_is_refused(beir, part, content):
    assert f"{part}.jsonl: no " in refusal(beir(**{part: content}))


# 87, 88: what a split does not judge


def test_queries_without_judgement_are_left_out_and_said(beir):
    dataset = open_dataset(beir(test=HEADER + "q2\td2\t1\n"))
    assert list(dataset.queries) == ["q2"]
    assert dataset.notes == ("2 queries of 3 without judgement in this split left out",)


def test_a_query_with_no_relevant_document_stays_and_is_said(beir):
    dataset = open_dataset(beir(test=QRELS.replace("q3\td4\t1", "q3\td4\t0")))
    assert dataset.qrels["q3"] == {"d4": 0}
    assert dataset.notes == ("1 query with no relevant document scored 0",)


@pytest.mark.parametrize("content", ["", HEADER, "\n"])
def test_an_empty_split_is_refused(beir, content):
    assert "dev.tsv: no judgement in it (choose a --split that has some; there are: dev, test)" in refusal(
        beir(dev=content), "dev"
    )


# 89: ids that queries and documents share


def test_a_query_that_is_a_document_is_known_as_such(beir):
    documents = [{"_id": "q1", "title": "tags", "text": "fruit  trees in an orchard "}, *DOCUMENTS]
    dataset = open_dataset(beir(corpus=jsonl(documents)))
    assert dataset.own == {"q1"}
    assert dataset.notes == ("1 query found in the corpus under the same id: dropped from their own hits",)


def test_a_title_may_belong_to_the_query(beir):
    documents = [{"_id": "q1", "title": "fruit trees", "text": "in an orchard"}, *DOCUMENTS]
    assert open_dataset(beir(corpus=jsonl(documents))).own == {"q1"}


def test_an_id_that_coincides_by_chance_means_nothing(beir):
    dataset = open_dataset(beir(corpus=jsonl([{"_id": "q1", "text": "quite another text"}, *DOCUMENTS])))
    assert dataset.own == frozenset()
    assert dataset.notes == ()


# characters


def test_line_ends_and_byte_order_marks_change_nothing(beir):
    plain = open_dataset(beir(name="plain"))
    odd = open_dataset(
        beir(
            name="odd",
            corpus=b"\xef\xbb\xbf" + jsonl(DOCUMENTS).replace("\n", "\r\n").encode(),
            queries=b"\xef\xbb\xbf" + jsonl(QUERIES).replace("\n", "\r\n\r\n").encode(),
        )
    )
    assert list(odd.corpus) == list(plain.corpus)
    assert odd.queries == plain.queries


def test_separators_inside_a_text_end_no_line(beir):
    text = "a\u2028b\u0085c\x0bd"
    line = json.dumps({"_id": "d9", "text": text}, ensure_ascii=False)
    dataset = open_dataset(beir(corpus=jsonl(DOCUMENTS) + line + "\n"))
    assert dataset.corpus.select(["d9"])["d9"].text == text


def test_nul_and_lone_surrogates_become_replacement_characters(beir):
    dataset = open_dataset(beir(corpus=jsonl(DOCUMENTS) + r'{"_id": "d9", "text": "a\u0000b\ud800c\ud83d\ude00"}'))
    assert dataset.corpus.select(["d9"])["d9"].text == "a\ufffdb\ufffdc\U0001f600"


@given(
    st.lists(
        st.fixed_dictionaries({"_id": st.text(min_size=1), "title": st.text(), "text": st.text()}),
        min_size=1,
        unique_by=lambda record: record["_id"],
    ),
    st.booleans(),
)
def test_any_clean_text_survives_reading(tmp_path_factory, records, escaped):
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("\n".join(json.dumps(record, ensure_ascii=escaped) for record in records), newline="\n")
    expected = [
        tuple(record[field].replace("\x00", "\ufffd") for field in ("_id", "title", "text")) for record in records
    ]
    assert [tuple(document) for document in read_corpus(path)] == expected


@given(st.text())
def test_what_is_shown_is_short_and_on_one_line(text):
    quoted = shown(text)
    assert len(quoted) <= SHOWN_CHARACTERS
    assert quoted.isprintable() or not any(ord(character) < 32 for character in quoted)


# real ones


@pytest.mark.parametrize(
    ("name", "documents", "queries"), [("scifact", 5183, 300), ("cranfield", 1400, 225), ("nfcorpus", 3633, 323)]
)
def test_real_data_sets_have_the_published_sizes(data, name, documents, queries):
    if not (data / name).is_dir():
        pytest.skip(f"no {name} in {data}")
    dataset = open_dataset(data / name)
    assert (len(dataset.corpus), len(dataset.queries)) == (documents, queries)
    assert dataset.own == frozenset()  # in Cranfield ids of queries and documents coincide by chance
