"""Qrels are read in every usual form, or refused with the line of the fault; ids stay what they are."""

from __future__ import annotations

import pytest

from benchmarks.beir import open_dataset

from .conftest import DOCUMENTS, HEADER, QRELS, jsonl, refusal


def test_a_pair_judged_twice_alike_counts_once(beir):
    assert open_dataset(beir(test=QRELS + "q1\td1\t2\n")).qrels["q1"] == {"d1": 2}


def test_a_pair_judged_twice_differently_is_refused(beir):
    folder = beir(test=QRELS + "q1\td1\t0\n")
    assert 'test.tsv:5: query "q1" and document "d1" are judged twice, 2 and 0' in refusal(folder)
    dataset = open_dataset(folder, keep_first=True)
    assert dataset.qrels["q1"] == {"d1": 2}
    assert dataset.notes == ("1 judgement contradicted an earlier one: the first counts",)


@pytest.mark.parametrize(
    "qrels",
    [
        QRELS,
        QRELS.removeprefix(HEADER),
        "\n" + QRELS.replace("\n", "\n\n"),
        QRELS.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + QRELS.encode(),
        "q1 0 d1 2\nq2 0 d2 1\nq3 0 d4 1",
        "q1\t0\td1\t2\nq2\t0\td2\t1\nq3\t0\td4\t1\n",
        "q1   Q0   d1  +2\nq2 Q0 d2 1\nq3 Q0 d4 1\n",
        "qid pid rel\nq1 d1 2\nq2 d2 1\nq3 d4 1\n",
        QRELS.replace("\t2", "\t 2 "),
    ],
    ids=["header", "bare", "blank lines", "crlf", "bom", "trec", "trec tabs", "trec spaces", "spaces", "padded"],
)
def test_qrels_are_read_in_every_usual_form(beir, qrels):
    assert open_dataset(beir(test=qrels)).qrels == {"q1": {"d1": 2}, "q2": {"d2": 1}, "q3": {"d4": 1}}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("q1\td2\t1.0", 'the score "1.0" is not an integer'),
        ("q1\td2\tgood", 'the score "good" is not an integer'),
        ("q1\td2\t", 'the score "" is not an integer'),
        ("q1\td2\t1_0", 'the score "1_0" is not an integer'),
        ("q1\td2\t٣", 'the score "٣" is not an integer'),
        ("q1\td2\t99999999999", "is not an integer"),
        ("q1\td2\t-1", "the score -1 is negative"),
        ("q1\td2", "2 columns, the first line has 3"),
        ("q1\td\t2\t1", "4 columns, the first line has 3 (an id with a tab?)"),
    ],
)
def test_a_bad_judgement_is_named_by_file_and_line(beir, line, what):
    message = refusal(beir(test=QRELS + line + "\n"))
    assert "qrels/test.tsv:5: " in message
    assert what in message


@pytest.mark.parametrize("line", ["q1", "q1\td1", "a b c d e"])
def test_qrels_of_another_shape_are_refused(beir, line):
    assert "test.tsv:1: " in refusal(beir(test=line))


def test_without_a_header_a_word_in_the_first_line_is_a_bad_score(beir):
    assert 'test.tsv:1: the score "high" is not an integer' in refusal(beir(test="q1\td1\thigh\n"))


def many(number):
    documents = [{"_id": f"d{n}", "text": f"text {n}"} for n in range(number)]
    queries = [{"_id": f"q{n}", "text": f"query {n}"} for n in range(number)]
    return documents, queries, HEADER + "".join(f"q{n}\td{n}\t1\n" for n in range(number))


def test_a_tenth_of_unknown_ids_is_noted(beir):
    documents, queries, qrels = many(10)
    dataset = open_dataset(beir(corpus=jsonl(documents[1:]), queries=jsonl(queries[:-1]), test=qrels))
    queries_note, documents_note = dataset.notes
    assert 'judges 1 query of 10 that queries.jsonl lacks, such as "q9": left out' in queries_note
    assert 'judges 1 document of 10 that corpus.jsonl lacks, such as "d0": they count as not found' in documents_note
    assert len(dataset.qrels) == 9
    assert dataset.qrels["q0"] == {"d0": 1}  # stays: a document that cannot be found is a miss


@pytest.mark.parametrize(("part", "noun"), [("corpus", "document"), ("queries", "query")])
def test_more_than_a_tenth_of_unknown_ids_is_another_data_set(beir, part, noun):
    documents, queries, qrels = many(19)
    content = jsonl((documents if part == "corpus" else queries)[2:])
    parts = {"corpus": jsonl(documents), "queries": jsonl(queries), "test": qrels} | {part: content}
    message = refusal(beir(**parts))
    assert f"judges 2 {'queries' if noun == 'query' else 'documents'} of 19 that {part}.jsonl lacks" in message
    assert "are both of the same data set?" in message


AWKWARD = ['"quoted"', "'", '""', "a b", "007", "7", "é", "日本", "\u2028", "a,b", "#", "null", "\\", "1e5", "x\u00a0y"]


def test_awkward_ids_stay_what_they_are(beir):
    folder = beir(
        corpus=jsonl({"_id": text, "text": "t"} for text in AWKWARD),
        queries=jsonl({"_id": text, "text": f"query {number}"} for number, text in enumerate(AWKWARD)),
        test=HEADER + "".join(f"{text}\t{text}\t1\n" for text in AWKWARD),
    )
    dataset = open_dataset(folder)
    assert [document.id for document in dataset.corpus] == AWKWARD
    assert dataset.qrels == {text: {text: 1} for text in AWKWARD}
    assert dataset.notes == ()


def test_an_id_with_a_tab_may_stand_in_the_corpus(beir):
    dataset = open_dataset(beir(corpus=jsonl([*DOCUMENTS, {"_id": "a\tb", "text": "x"}])))
    assert "a\tb" in dataset.corpus.ids


def test_integers_as_ids_become_strings_with_their_digits(beir):
    folder = beir(
        corpus='{"_id": 17, "text": "x"}\n{"_id": "017", "text": "y"}\n',
        queries=jsonl([{"_id": 1, "text": "x"}]),
        test="1\t17\t1\n1\t017\t0\n",
    )
    dataset = open_dataset(folder)
    assert dataset.qrels == {"1": {"17": 1, "017": 0}}
    assert [document.id for document in dataset.corpus] == ["17", "017"]
