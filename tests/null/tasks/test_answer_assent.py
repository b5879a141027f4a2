"""May an answer begin with "Yes" or "No"?"""

import pytest

from coterie.tasks.answer.writing import is_settled


@pytest.mark.parametrize(
    ("question", "sentence", "source"),
    [
        ("Are dogs allowed?", "Yes, dogs are allowed on a lead.", "Dogs are allowed on a lead."),
        ("Are cheques accepted?", "No, cheques are not accepted.", "Cheques are not accepted."),
        ("Is there a lift?", "No. There is no lift.", "There is no lift."),
        ("Can trainees work from home?", "No, trainees may not work from home.", "Trainees may not work from home."),
        ("Must I wear a cap?", "Yes, you must wear a cap.", "You must wear a cap."),
    ],
)
def test_what_is_asked_is_settled(question, sentence, source):
    """The rest is a clause of the source, and affirms or denies the very words of the question."""
    assert is_settled(question, sentence, [source])


@pytest.mark.parametrize(
    ("question", "sentence", "source"),
    [
        ("Are dogs allowed?", "No, dogs are allowed on a lead.", "Dogs are allowed on a lead."),
        ("Are cheques accepted?", "Yes, cheques are not accepted.", "Cheques are not accepted."),
        ("Are dogs allowed?", "Yes, dogs are allowed.", "Dogs are allowed on a lead."),
        ("Are dogs allowed in the bar?", "Yes, dogs are allowed in the garden.", "Dogs are allowed in the garden."),
        ("Is the price rise certain?", "Yes, the price rise was rejected.", "The price rise was rejected."),
        ("Will the price rise?", "Yes, the price rise was rejected.", "The price rise was rejected."),
        (
            "Are guests allowed?",
            "No, guests who are not members are allowed.",
            "Guests who are not members are allowed.",
        ),
        ("Must I wear a cap?", "Yes, you may wear a cap.", "You may wear a cap."),
        ("Must I wear a cap?", "No, you must not wear a cap.", "You must not wear a cap."),
        ("Can I bring a towel?", "No, you need not bring a towel.", "You need not bring a towel."),
        ("Are dogs or cats allowed?", "Yes, dogs or cats are allowed.", "Dogs or cats are allowed."),
        ("Aren't dogs allowed?", "No, dogs are not allowed.", "Dogs are not allowed."),
        ("Is parking free before 9?", "Yes, parking is free after 9.", "Parking is free after 9."),
        ("Are dogs allowed?", "Yes, dogs are allowed only in July.", "Dogs are allowed only in July."),
        ("Does the landlord pay the tenant?", "Yes, the tenant pays the landlord.", "The tenant pays the landlord."),
        ("What does it cost?", "Yes, it costs 3 euros.", "It costs 3 euros."),
        ("Are dogs allowed?", "Yes.", "Dogs are allowed."),
    ],
)
def test_what_is_doubtful_is_not(question, sentence, source):
    """Another predicate, place, order or obligation, a condition lost, or the wrong one of the two."""
    assert not is_settled(question, sentence, [source])
