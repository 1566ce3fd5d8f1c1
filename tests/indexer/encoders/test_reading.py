"""How much of a text a tokenizer reads: the default encoder's, and small ones made here for what it is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from indexer.encoders import Encoder, load_encoder
from indexer.encoders.export import SAMPLES
from indexer.encoders.reading import Reading
from searchengine.fusion import LEAST_TRUST, READABLE, trust

RUSSIAN = "Настройка сети при помощи сервера"
CHINESE = "安装过程中的网络设置"
KOREAN = "파일 시스템 마운트하기"


@pytest.fixture(scope="module")
def english() -> Encoder:
    """The default encoder, which has learnt English."""
    return load_encoder(backend="onnx", device="cpu")


def word_pieces(*pieces: str) -> Reading:
    """A BERT tokenizer of these pieces."""
    vocabulary = {piece: number for number, piece in enumerate(["[UNK]", *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return Reading(tokenizer)


# The default encoder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "How do retries back off?",
        "naïve café résumé",
        "Wie ändert man die Größe einer Festplatte?",
        "Où se trouve le fichier de configuration du réseau ?",
        "Hvordan vælges et filsystem på Linux?",
        "getUserName qzxv_wq",
        "überprüfeSchlüssel()",
        "x",
        "3.14159 € — 100 %",
        "fire 🔥 alarm at night",
    ],
)
def test_what_it_reads_is_trusted_in_full(english: Encoder, text: str) -> None:
    assert trust(english.readable(text)) == 1


@pytest.mark.parametrize(
    "text", [RUSSIAN, CHINESE, KOREAN, "ネットワークの設定を変更する方法", "ภาษาไทยอ่านยาก", "🦑🧿"]
)
def test_what_it_only_spells_is_not(english: Encoder, text: str) -> None:
    assert english.readable(text) < READABLE
    assert LEAST_TRUST <= trust(english.readable(text)) < 0.6


def test_a_name_in_latin_letters_counts_by_its_letters(english: Encoder) -> None:
    assert english.readable("кот Linux") == pytest.approx(5 / 8)


@settings(max_examples=50)
@given(text=st.text(max_size=60))
def test_a_share_is_between_nothing_and_all(english: Encoder, text: str) -> None:
    assert 0 <= english.readable(text) <= 1


def test_a_long_text_is_read_as_far_as_the_encoder_reads(english: Encoder) -> None:
    beyond = "winter " * english.max_length
    assert english.readable(f"{beyond} {RUSSIAN}") == 1


# Others -------------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(words=st.lists(st.from_regex(r"[а-яäöüßéñα-ω가-힣一-龥あ-んก-ฮ]{1,9}", fullmatch=True), min_size=1, max_size=6))
def test_known_whole_words_are_read_in_full_in_any_language(words: list[str]) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(["<unk>", *set(words)])}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert Reading(tokenizer).share(" ".join(words)) == 1
    assert Reading(tokenizer).share("ўў") == 0


def test_pieces_of_several_letters_are_read_and_single_ones_spelled() -> None:
    reading = word_pieces("сет", "##и", "к", "##о", "##т", "и")
    assert reading.share("сети") == pytest.approx(3 / 4)
    assert reading.share("кот и сети") == pytest.approx((0 + 1 + 3) / 8), "и is a word"
    assert reading.share("сети щука") == pytest.approx(3 / 8), "one word is unknown"


def test_an_ideograph_is_a_word_and_a_syllable_one_piece() -> None:
    reading = word_pieces(*set(CHINESE), "の", "図")
    assert reading.share(CHINESE) == 1
    assert reading.share("図の") == 1, "の is a word of its own after an ideograph"
    assert reading.share(f"{CHINESE}猫狗") == pytest.approx(len(CHINESE) / (len(CHINESE) + 2))
    assert reading.share("日本") == 0
    korean = Tokenizer(models.WordPiece({"[UNK]": 0, "파일": 1, "시": 2, "##스": 3, "##템": 4}, unk_token="[UNK]"))
    korean.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert Reading(korean).share("파일 시스템") == 1


def test_a_character_of_several_bytes_is_spelled() -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([*SAMPLES[:2], "the naïve house"] * 2, trainer)
    reading = Reading(tokenizer)
    assert reading.share("the naïve house") == 1
    assert reading.share(RUSSIAN) == reading.share(CHINESE) == reading.share(KOREAN) == 0


def test_a_model_of_characters_reads_by_spelling() -> None:
    letters = "абвгдежзиклмнопрстуфхцчшщыьэюя"
    reading = word_pieces(*letters, *(f"##{letter}" for letter in letters))
    assert reading.share("сервер") == 1
    assert reading.share("ђш") == 0
