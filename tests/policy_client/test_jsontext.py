import pytest

from policy_client.errors import JsonRefused
from policy_client.jsontext import canonical_json, load_json


def test_canonical_json_has_one_text_for_one_value():
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == canonical_json({"a": "é", "b": [1, 2.5, None]})
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "json"),
        (b"   ", "json"),
        (b"\x00\xff", "json"),
        (b"{", "json"),
        (b'{"a": 1, "a": 2}', "json"),
        (b"NaN", "json"),
        (b"-Infinity", "json"),
        (b"1e999", "json"),
        (b"9" * 5000, "json"),
        (b'"\\ud800"', "json"),
        (b"[" * 100_000 + b"]" * 100_000, "json"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "json"),
        (b'"' + b"x" * 2000 + b'"', "size"),
    ],
)
def test_what_is_not_our_json_is_refused_with_a_code(text, code):
    with pytest.raises(JsonRefused) as caught:
        load_json(text, max_size=1000 if code == "size" else 10**7)
    assert caught.value.code == code
    assert caught.value.message


def test_brackets_inside_strings_do_not_count_as_depth():
    text = r'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "\\", "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "a\\\"["]'
    assert load_json(text)[1] == "\\"


def test_a_pair_of_surrogates_is_one_character():
    assert load_json(rb'"\ud83d\ude00"') == "😀"


def test_depth_is_accepted_up_to_the_bound():
    assert load_json("[" * 32 + "]" * 32)
    with pytest.raises(JsonRefused):
        load_json("[" * 33 + "]" * 33)
