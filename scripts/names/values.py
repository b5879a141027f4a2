"""Values for templates: names, places and organisations of many countries, dates, addresses.

They are those of the training texts, those of Faker (MIT) for some thirty countries, and made-up ones, so that a
detector learns how names look and where they stand instead of a list of them.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence

from faker import Faker

LOCALES = (
    *(
        "en_US",
        "en_GB",
        "en_IN",
        "en_AU",
        "en_NZ",
        "de_DE",
        "fr_FR",
        "es_ES",
        "es_MX",
        "it_IT",
        "nl_NL",
        "pl_PL",
        "pt_BR",
    ),
    *("tr_TR", "sv_SE", "no_NO", "da_DK", "cs_CZ", "ro_RO", "vi_VN", "id_ID", "fil_PH", "hr_HR", "sl_SI", "az_AZ"),
)
OTHER_SCRIPTS = ("ru_RU", "el_GR", "uk_UA", "bg_BG")
ROMANISED = ("ja_JP", "zh_CN", "zh_TW")
NATIONALITIES = (
    "American British English Scottish Welsh Irish French German Austrian Swiss Dutch Belgian Spanish Portuguese "
    "Italian Greek Turkish Polish Czech Slovak Hungarian Romanian Bulgarian Serbian Croatian Slovenian Ukrainian "
    "Russian Belarusian Lithuanian Latvian Estonian Finnish Swedish Norwegian Danish Icelandic Canadian Mexican "
    "Brazilian Argentinian Chilean Peruvian Colombian Cuban Chinese Japanese Korean Vietnamese Thai Indonesian "
    "Malaysian Filipino Indian Pakistani Bangladeshi Iranian Iraqi Syrian Lebanese Israeli Palestinian Egyptian "
    "Moroccan Algerian Tunisian Nigerian Ghanaian Kenyan Ethiopian Australian Jewish Muslim Christian Catholic "
    "Buddhist Hindu Kurdish Asian African European Arab"
)
MONTHS = "January February March April May June July August September October November December"
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_COMMON = (
    "Will Mark April Grace May June Rose Hope Faith Joy Rich Frank Bill Art Pat Dawn Summer Autumn Jordan Chase "
    "Hunter Drew Grant Miles Reed Dean Earl Christian Sky Amber Ruby Ivy Lily Daisy Violet Jade Pearl Olive "
    "Basil Angel Robin Jack Rob"
)
"""Given names that are words."""
_TITLES = "Mr. Mrs. Ms. Dr. Miss Mr Mrs Ms Dr Prof. Professor Sir"
_STEMS = (
    "Blue Green North Summit Pioneer Atlas Vertex Quantum Global United First National Royal Golden Silver "
    "Bright Clear Core Delta Omega Nova Apex Cloud Data Smart Open Rapid Red River Stone Oak Pine Harbor Sun "
    "Star Metro Central Pacific Atlantic Alpine Nordic Trans Inter Bio Geo Info Tele Micro Nano Meta Eco Agri "
    "Aero Auto Medi Fin Net Web Logi Opti Vita"
)
_TRADES = (
    "Bank|Software|Group|Systems|Partners|Capital|Energy|Foods|Motors|Airlines|Pharma|Media|Insurance|Consulting|"
    "Labs|Press|Technologies|Solutions|Industries|Logistics|Holdings|Foundation|Institute|Hospital|University|"
    "College|Savings Bank|Credit Union|Health|Telecom|Analytics|Studios|Records|Times|Council|Church|Museum|"
    "Electric|Steel|Chemicals|Books|Trust"
)
_FORMS = "Inc.|Inc|Ltd|Ltd.|LLC|GmbH|AG|plc|S.A.|B.V.|Corp.|Corporation|Limited|and Co.|& Co.|SE|Oy|AB|SpA"
_OFFICES = "Health|Finance|Education|Justice|Transport|Defence|Labour|Agriculture"
_COUNTRIES = (
    "USA|UK|U.S.|United States|Netherlands|England|Scotland|Europe|America|Germany|France|Italy|Spain|India|China|Japan"
)
_DATES = (
    "%Y-%m-%d",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d %B %Y",
    "%B %d, %Y",
    "%B %d",
    "%d %b %Y",
    "%d/%m/%y",
    "%Y-%m-%d %H:%M:%S",
    "%B %dth",
)


class Values:
    """Makes values; the same seed gives the same values."""

    def __init__(self, known: Mapping[str, Sequence[str]], seed: int, locales: Sequence[str] = LOCALES) -> None:
        """Known values by what they are: `first`, `last`, `person`, `org`, `city`, `street`, `address`, `phone`."""
        self.random = random.Random(seed)  # noqa: S311 - examples, no secret
        self._known = known
        self._fakers = [Faker(locale) for locale in locales]
        self._others = [Faker(locale) for locale in OTHER_SCRIPTS]
        self._romanised = [Faker(locale) for locale in ROMANISED]
        self._english = Faker("en_US")
        for n, each in enumerate([*self._fakers, *self._others, *self._romanised, self._english]):
            each.seed_instance(seed + n)

    def _pick(self, words: str, by: str = " ") -> str:
        return self.random.choice(words.split(by))

    def _of_training(self, what: str, share: float) -> str | None:
        return self.random.choice(self._known[what]) if self.random.random() < share else None

    def first(self) -> str:
        """A given name."""
        chance = self.random.random()
        if chance < 0.06:
            return str(self.random.choice(self._romanised).first_romanized_name())
        if chance < 0.10:
            return self.random.choice(self._others).first_name()
        if chance < 0.15:
            return self.made()
        if chance < 0.18:
            return self._pick(_COMMON)
        return self._of_training("first", 0.35) or self.random.choice(self._fakers).first_name().split()[-1]

    def last(self) -> str:
        """A family name."""
        chance = self.random.random()
        if chance < 0.06:
            return str(self.random.choice(self._romanised).last_romanized_name())
        if chance < 0.10:
            return self.random.choice(self._others).last_name()
        if chance < 0.17:
            return self.made()
        return self._of_training("last", 0.35) or self.random.choice(self._fakers).last_name()

    def made(self) -> str:
        """A name that nobody has."""
        pick = self.random.choice
        ends = (pick("nrslkm") if self.random.random() < 0.3 else "" for _ in range(self.random.randint(2, 4)))
        return "".join(pick("bcdfghjklmnprstvwz") + pick("aeiouy") + end for end in ends).capitalize()

    def person(self) -> str:
        """A name with two parts or more."""
        known, chance = self._of_training("person", 0.35), self.random.random()
        if known:
            return known
        if chance < 0.1:
            return f"{self.first()} {self.random.choice(string.ascii_uppercase)}. {self.last()}"
        if chance < 0.2:
            return f"{self.first()} {self.first()} {self.last()}"
        if chance < 0.26:
            return f"{self.first()} {self.last()}-{self.last()}"
        if chance < 0.29:
            return f"{self.random.choice(string.ascii_uppercase)}. {self.last()}"
        return f"{self.first()} {self.last()}"

    def org(self) -> str:
        """A company, an authority, a school."""
        known, chance = self._of_training("org", 0.4), self.random.random()
        if known:
            return known
        if chance < 0.17:
            return self.random.choice(self._fakers[:12]).company()
        if chance < 0.27:
            return "".join(self.random.choices(string.ascii_uppercase, k=self.random.randint(2, 5)))
        if chance < 0.33:
            return f"University of {self.city()}"
        if chance < 0.38:
            return f"{self._pick('Ministry|Department|Institute|Office', '|')} of {self._pick(_OFFICES, '|')}"
        stem = self.random.choice(
            [
                self.last,
                self.city,
                self.made,
                lambda: self._pick(_STEMS),
                lambda: self._pick(_STEMS) + self._pick(_STEMS).lower(),
            ]
        )()
        shape = self.random.random()
        parts = [stem] + [self._pick(_TRADES, "|")] * (shape < 0.65) + [self._pick(_FORMS, "|")] * (0.5 < shape < 0.85)
        return " ".join(parts)

    def city(self) -> str:
        """A town."""
        return self._of_training("city", 0.45) or self.random.choice(self._fakers).city()

    def country(self) -> str:
        """A country, or a part of the world."""
        return self._pick(_COUNTRIES, "|") if self.random.random() < 0.2 else self._english.country()

    def street(self) -> str:
        """A street without its number."""
        return self._of_training("street", 0.4) or self.random.choice(self._fakers).street_name()

    def num(self) -> str:
        """A house."""
        return str(self.random.randint(1, 300)) + (self.random.choice("abc") if self.random.random() < 0.1 else "")

    def zip(self) -> str:
        """A postcode."""
        return self.random.choice(self._fakers).postcode()

    def address(self) -> str:
        """Street and house, often with the town."""
        known, chance = self._of_training("address", 0.45), self.random.random()
        if known:
            return known
        if chance < 0.55:
            whole = self.random.choice(self._fakers).address()
            return whole if chance < 0.28 else whole.replace("\n", ", ")
        town = self.random.random() < 0.6
        if chance < 0.75:
            return f"{self.num()} {self.street()}" + (f", {self.city()}" if town else "")
        return f"{self.street()} {self.num()}" + (f", {self.zip()} {self.city()}" if town else "")

    def nat(self) -> str:
        """A nationality, or a group that people belong to."""
        return self._pick(NATIONALITIES)

    def date(self) -> str:
        """A day."""
        return self._english.date_object().strftime(self.random.choice(_DATES))

    def year(self) -> str:
        """A year."""
        return str(self.random.randint(1900, 2030))

    def month(self) -> str:
        """A month's name."""
        return self._pick(MONTHS)

    def weekday(self) -> str:
        """A day of the week."""
        return self._pick(WEEKDAYS)

    def age(self) -> str:
        """Years of life."""
        return str(self.random.randint(1, 99))

    def title(self) -> str:
        """What stands before a name."""
        return self._pick(_TITLES)

    def job(self) -> str:
        """What somebody works as."""
        job = self._english.job().split(",")[0]
        return job if self.random.random() < 0.4 else job.lower()

    def phone(self) -> str:
        """A telephone number."""
        return self.random.choice(self._known["phone"])

    def email(self) -> str:
        """An e-mail address."""
        return self._english.email()

    def iban(self) -> str:
        """An account."""
        return self._english.iban()
