"""Telephone numbers as people type them (S1.15–S1.17, S1.26, S4.24, R15, R41, R43)."""

from __future__ import annotations

import re
from typing import Any

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portal.phone_numbers import (
    InvalidNumber,
    country_of,
    display_number,
    is_short_code,
    national_digits,
    number_kind,
    parse_number,
    parse_own_number,
)


@pytest.mark.parametrize(
    ("raw", "country", "number"),
    [
        ("2019920781", "US", "+12019920781"),
        ("(201) 992-0781", "US", "+12019920781"),
        ("201.992.0781", "US", "+12019920781"),
        (" 1 201 992 0781 ", "US", "+12019920781"),
        ("+1 (201) 992-0781", "GB", "+12019920781"),
        ("011 1 2019920781", "US", "+12019920781"),
        ("0012019920781", "US", "+12019920781"),
        ("00 1 201 992 0781", "GB", "+12019920781"),
        ("00919995942123", "US", "+919995942123"),
        ("07480542780", "GB", "+447480542780"),
        ("7480542780", "GB", "+447480542780"),
        ("447480542780", "GB", "+447480542780"),
        ("+44 (0)7480 542780", "US", "+447480542780"),
        ("0612345678", "IT", "+390612345678"),
        ("+39 06 1234 5678", "US", "+390612345678"),
        ("03012345678", "DE", "+493012345678"),
        ("\u202a+1 201\u00a0992\u20110781\u202c", "US", "+12019920781"),
        ("\t2019920781\n", "US", "+12019920781"),
    ],
)
def test_s1_17_numbers_become_e164_without_the_users_knowledge(raw: str, country: str, number: str) -> None:
    assert parse_number(raw, country=country) == number


@pytest.mark.parametrize(
    ("raw", "country", "exclude", "number"),
    [
        ("0612345678", "IT", False, "+390612345678"),
        ("0612345678", "IT", True, "+390612345678"),
        ("7480542780", "GB", False, "+447480542780"),
        ("+447480542780", "GB", False, "+447480542780"),
        ("00447480542780", "GB", False, "+447480542780"),
        ("07480542780", "GB", True, "+447480542780"),
    ],
)
def test_s1_16_the_leading_zero_setting(raw: str, country: str, exclude: bool, number: str) -> None:
    assert parse_number(raw, country=country, exclude_leading_zero=exclude) == number


def test_s1_16_a_kept_zero_must_make_a_valid_number() -> None:
    with pytest.raises(InvalidNumber):
        parse_number("07480542780", country="GB", exclude_leading_zero=False)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "",
        "   ",
        "\u200b",
        "abc",
        "1-800-FLOWERS",
        "２０１９９２０７８１",
        "٢٠١٩٩٢٠٧٨١",
        "²019920781",
        "2019920781\0",
        "201\x00992078",
        "2019920781x12",
        "2019920781;ext=1",
        "tel:+12019920781",
        "+",
        "++12019920781",
        "+1+2019920781",
        "2019920781+",
        "()",
        "07480542780",
        "12345",
        "72345",
        "1112010580",
        "5555550100",
        "+999123456789",
        "+0012019920781",
        "201992078",
        "20199207811",
        "1" * 64,
        "2" * 65,
        "2019920781" * 100_000,
        2019920781,
        b"2019920781",
    ],
)
def test_what_is_no_number_is_refused_with_a_sentence(raw: Any) -> None:
    with pytest.raises(InvalidNumber, match=r"\.$"):
        parse_number(raw)


@pytest.mark.parametrize("raw", ["911", "112", "999", "000", "9-1-1", " 911 "])
def test_r43_emergency_numbers_cannot_be_texted(raw: str) -> None:
    with pytest.raises(InvalidNumber, match="Emergency"):
        parse_number(raw)
    assert not is_short_code(raw)


def test_r43_a_countrys_and_a_tenants_own_emergency_numbers_count_too() -> None:
    with pytest.raises(InvalidNumber, match="Emergency"):
        parse_number("110", country="DE")
    with pytest.raises(InvalidNumber, match="Emergency"):
        parse_number("2019920781", emergency_numbers=["2019920781"])


@pytest.mark.parametrize(
    ("raw", "country", "number"),
    [
        ("2019920789", "US", "+12019920789"),
        ("(201) 992-0789", "GB", "+12019920789"),
        ("1 201 992 0789", "GB", "+12019920789"),
        ("+1 201 992 0789", "GB", "+12019920789"),
        ("7912345678", "GB", "+447912345678"),
        ("07480542780", "GB", "+447480542780"),
        ("+447480542780", "US", "+447480542780"),
    ],
)
def test_s4_24_r15_staff_type_ten_digits_or_e164(raw: str, country: str, number: str) -> None:
    assert parse_own_number(raw, country=country) == number


@pytest.mark.parametrize("raw", [None, "", "201992078", "FLOWERS", "911", "72345", "1992078920"])
def test_s4_24_staff_get_the_same_refusals(raw: Any) -> None:
    with pytest.raises(InvalidNumber):
        parse_own_number(raw)


@pytest.mark.parametrize(
    ("raw", "yes"),
    [
        ("729", True),
        ("72345", True),
        ("12345678", True),
        ("12", False),
        ("123456789", False),
        ("+72345", False),
        ("７２３４５", False),
        ("72 345", False),
        ("AMAZON", False),
        ("72345\n", False),
        ("", False),
    ],
)
def test_short_codes_are_three_to_eight_digits(raw: str, yes: bool) -> None:
    assert is_short_code(raw) is yes


@pytest.mark.parametrize(
    ("number", "national"),
    [
        ("+12012010580", "2012010580"),
        ("+447480542780", "07480542780"),
        ("+390612345678", "0612345678"),
        ("+4930123456", "030123456"),
        ("72345", "72345"),
        ("AMAZON", "AMAZON"),
        ("", ""),
        ("+", "+"),
        ("+nonsense", "+nonsense"),
        ("+" + "1" * 100, "+" + "1" * 100),
    ],
)
def test_r41_national_digits_have_no_separators(number: str, national: str) -> None:
    assert national_digits(number) == national


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Chris Cell", "Chris Cell (2012010580)"),
        ("  Chris Cell ", "Chris Cell (2012010580)"),
        ("Line 2", "Line 2 (2012010580)"),
        ("2012010581", "2012010581 (2012010580)"),
        ("", "2012010580"),
        ("  ", "2012010580"),
        ("2012010580", "2012010580"),
        ("+12012010580", "2012010580"),
        ("1 (201) 201-0580", "2012010580"),
        ("(201) 201-0580", "2012010580"),
    ],
)
def test_s1_49_a_number_is_shown_with_its_friendly_name(name: str, shown: str) -> None:
    assert display_number(name, "+12012010580") == shown


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("+447480542780", "mobile"),
        ("+442082881248", "landline"),
        ("+445600123456", "voip"),
        ("+12019920781", "unknown"),
        ("+18005550100", "unknown"),
        ("72345", "short_code"),
        ("911", "short_code"),
        ("AMAZON", "alphanumeric"),
        ("Bank 24", "alphanumeric"),
        ("+nonsense", "alphanumeric"),
        ("", "unknown"),
        ("+1", "unknown"),
    ],
)
def test_the_kind_of_a_remote_party(number: str, kind: str) -> None:
    assert number_kind(number) == kind


@pytest.mark.parametrize(
    ("number", "country"), [("+12019920781", "US"), ("+447480542780", "GB"), ("+14165550123", "CA"), ("72345", "")]
)
def test_r39_the_country_of_a_number(number: str, country: str) -> None:
    assert country_of(number) == country


COUNTRIES = st.sampled_from(["US", "GB", "IT", "DE", "AR", "RU", "JP", "AU"])


@pytest.mark.fuzz
@given(raw=st.text(max_size=80) | st.text("0123456789+-(). ", max_size=20), country=COUNTRIES, exclude=st.booleans())
@example(raw="0", country="IT", exclude=False)
@example(raw="01647", country="DE", exclude=True)
@example(raw="+4930000000000000", country="DE", exclude=False)
def test_anything_is_either_a_number_or_refused(raw: str, country: str, exclude: bool) -> None:
    try:
        number = parse_number(raw, country=country, exclude_leading_zero=exclude)
    except InvalidNumber:
        return
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}", number)
    assert parse_number(number, country="US") == number


@pytest.mark.parametrize("country", ["US", "GB", "IT", "DE", "FR", "AU", "JP", "RU", "HU"])
def test_what_is_shown_can_be_dialled_again(country: str) -> None:
    """R41: a user who copies the number on the screen reaches the same party."""
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
        parsed = phonenumbers.example_number_for_type(country, kind)
        number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        assert parse_number(national_digits(number), country=country) == number
