"""Values for templates: names, places and organisations of many countries, dates, addresses.

They are those of the training texts, those of Faker (MIT) for some thirty countries, and made-up ones, so that a
detector learns how names look and where they stand instead of a list of them.
"""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

from faker import Faker
from inflected import bent, bent_place

DEMONYMS: str = json.loads(Path(__file__).with_name("demonyms.json").read_text(encoding="utf-8"))["of_one_word"]
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
LANGUAGES = {
    "de": ("de_DE", "de_AT", "de_CH"),
    "fr": ("fr_FR", "fr_CH", "fr_BE"),
    "es": ("es_ES", "es_MX", "es_CO"),
    "it": ("it_IT",),
    "nl": ("nl_NL", "nl_BE"),
    "pt": ("pt_PT", "pt_BR"),
    "pl": ("pl_PL",),
    "cs": ("cs_CZ",),
    "ru": ("ru_RU",),
}
"""Languages of templates besides English, with Faker's countries for their values."""
OTHER_SCRIPTS = ("ru_RU", "el_GR", "uk_UA", "bg_BG")
ROMANISED = ("ja_JP", "zh_CN", "zh_TW")
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
_ENDINGS = "ly ify io hub data soft tech net ware lab labs map maps quest cloud pay base works bit box eo ia ex x media"
_FORM = re.compile(
    r",? (?:Inc|Ltd|LLC|Corp|Corporation|Company|Limited|L\.?P|GmbH|plc|AG|S\.A|N\.V|B\.V|Co)\b\.?,?", re.I
)
_OFFICES = "Health|Finance|Education|Justice|Transport|Defence|Labour|Agriculture"
_BODIES = (
    "Airlines|Airways|Air Lines|Bank|National Bank|Investment Bank|Football Association|Medical Association|"
    "Library|Museum|Railways|Post|Telecom|Chamber of Commerce|Academy of Sciences|Union|"
    "Gazette|Herald|Broadcasting Corporation|Red Crescent|Cancer Society|Heart Foundation|Petroleum|Steel|Tobacco|"
    "Open University|Space Agency|Central Bank|Expeditions|Mutual"
)
_CIVIC = (
    "County Council|Borough Council|Police Department|General Hospital|City Hospital|Public Library|School District|"
    "Football Club|United|Chamber of Commerce|Transit Authority"
)
_ORGANS = (
    "Border Force|Border Police|Police|Navy|Air Force|Army|Ministry of Defence|Foreign Office|Ministry of Health|"
    "Parliament|Government|government|Embassy|Consulate|Treasury|Prison Service|Federal Police|Immigration Service|"
    "Secret Service|High Court|Court of Appeal|Electoral Commission|Department of Justice|State Railway|Tax Office|"
    "Ministry of Foreign Affairs|National Guard|army|police|embassy|parliament|border police|foreign ministry"
)
"""Bodies of a state by what they do: their people says whose they are, and is no part of a name."""
_LEADERS = (
    "President|Prime Minister|Chancellor|Foreign Minister|King|Queen|Ambassador|Minister of Finance|prime minister|"
    "president|ambassador|foreign minister|finance minister|Head of State|Crown Prince|consul"
)
_ROLES = (
    "Licensor|Licensee|Lessor|Lessee|Buyer|Seller|Vendor|Purchaser|Franchisor|Franchisee|Supplier|Distributor|Company|"
    "Customer|Consultant|Contractor|Employer|Employee|Owner|Agent|Principal|Lender|Borrower|Grantor|Grantee|Assignor|"
    "Assignee|Sponsor|Manufacturer|Reseller|Provider|Client|Recipient|Discloser|Shareholder|Investor|Party A|Party B"
)
_BEASTS = (
    "antelope lemur gazelle otter badger camel donkey ferret walrus beagle poodle parrot falcon heron salmon trout "
    "lizard python beetle hornet weasel marten lynx bison yak llama alpaca hyena jackal cheetah"
)
_CALLS = (
    "Hooray Wow Boom Bang Hallelujah Eureka Voila Bravo Cheers Ahoy Yikes Oops Splash Touchdown Takeoff Tada Presto "
    "Yay Zap Crash Encore Goodness Blimey Tally-ho Snap Howdy Ciao Hola Aloha Namaste Adios"
)
_COINED = (
    "ella|ia|us|ium|as|ides|bacter|coccus|myces|in|ol|ax|or|ine|ane|ate|mab|nib|vir|cillin|statin|zole|pril|ase|ogen|"
    "actin|kin|lin|tide|oma|osis|itis|ylate"
)
_LINES = "\n|, | "
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


_OFTEN = DEMONYMS.split()[:200]
"""Peoples that are spoken of more often than others."""
_ONE_OF_THEM = (
    "Dane Swede Finn Pole Turk Scot Spaniard Briton Serb Croat Kurd Czech Slovak Bulgarian Icelander Arab Jew Filipino "
    "Greek Thai Iraqi Italian German American Canadian Muslim Christian Argentine Uzbek Tatar Afghan Israeli Saudi"
)
"""What one of a people is called, where many say the same of several with an `s`."""
_NO_MEN = frozenset({"German", "Roman", "Burman", "Ottoman"})


class Values:
    """Makes values; the same seed gives the same values."""

    def __init__(
        self,
        sources: Mapping[str, Sequence[str]],
        companies: Sequence[str],
        seed: int,
        locales: Sequence[str] = LOCALES,
        language: str = "en",
    ) -> None:
        """Take what values are made from.

        Args:
            sources: Values by what they are: `first`, `last`, `person`, `org`, `city`, `street`, `address`, `phone`.
            companies: Names of registered companies.
            seed: Of everything that is drawn.
            locales: Faker's countries.
            language: Of the sentences: how it bends names, and with an alphabet of its own no other names.
        """
        self._language = language
        self._foreign = language != "ru"
        self._companies = companies
        self.random = random.Random(seed)  # noqa: S311 - examples, no secret
        self._known = sources
        self._fakers = [Faker(locale) for locale in locales]
        self._others = [Faker(locale) for locale in OTHER_SCRIPTS]
        self._romanised = [Faker(locale) for locale in ROMANISED]
        self._english = Faker("en_US")
        for n, faker in enumerate([*self._fakers, *self._others, *self._romanised, self._english]):
            faker.seed_instance(seed + n)

    def _pick(self, words: str, by: str = " ") -> str:
        return self.random.choice(words.split(by))

    def _of_training(self, what: str, share: float) -> str | None:
        return self.random.choice(self._known[what]) if self.random.random() < share and self._foreign else None

    def first(self) -> str:
        """A given name."""
        chance = self.random.random() if self._foreign else 1.0
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
        chance = self.random.random() if self._foreign else 1.0
        if chance < 0.06:
            return str(self.random.choice(self._romanised).last_romanized_name())
        if chance < 0.10:
            return self.random.choice(self._others).last_name()
        if chance < 0.17:
            return self.made()
        return self._of_training("last", 0.35) or self.random.choice(self._fakers).last_name()

    def bents(self) -> str:
        """Somebody, in another case than the first."""
        faker, chance = self.random.choice(self._fakers), self.random.random()
        first, last = (
            (faker.first_name_male, faker.last_name_male)
            if self.random.random() < 0.5 and hasattr(faker, "last_name_male")
            else (
                getattr(faker, "first_name_female", faker.first_name),
                getattr(faker, "last_name_female", faker.last_name),
            )
        )
        name = first() if chance < 0.2 else last() if chance < 0.45 else f"{first()} {last()}"
        return bent(name, self._language, self.random)

    def town(self) -> str:
        """A town by its bare name."""
        faker = self.random.choice(self._fakers)
        return str(faker.city_name() if hasattr(faker, "city_name") else faker.city()).split(" ")[-1].capitalize()

    def towns(self) -> str:
        """A town in another case."""
        return bent_place(self.town(), self._language, self.random)

    def made(self) -> str:
        """A name that nobody has."""
        pick = self.random.choice
        ends = (pick("nrslkm") if self.random.random() < 0.3 else "" for _ in range(self.random.randint(2, 4)))
        return "".join(pick("bcdfghjklmnprstvwz") + pick("aeiouy") + end for end in ends).capitalize()

    def person(self) -> str:
        """A name with two parts or more."""
        training_value, chance = self._of_training("person", 0.35), self.random.random()
        if training_value:
            return training_value
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
        kinds = {
            lambda: self.random.choice(self._known["org"]): 25,
            lambda: self.random.choice(self._fakers[:12]).company(): 11,
            self._registered: 12,
            self._young: 15,
            self._traditional: 26,
            lambda: "".join(self.random.choices(string.ascii_uppercase, k=self.random.randint(2, 5))): 5,
            lambda: f"University of {self.city()}": 3,
            lambda: f"{self._pick('Ministry|Department|Institute|Office', '|')} of {self._pick(_OFFICES, '|')}": 3,
            self._of_people: 5,
            self._partners: 6,
        }
        return str(self.random.choices(list(kinds), weights=list(kinds.values()))[0]())

    def _partners(self) -> str:
        """A firm that has the names of those who founded it."""
        one, two, three = self.last(), self.last(), self.last()
        forms = (f"{one}, {two} and {three}", f"{one} and {two}", f"{one}-{two}", f"{one} and Sons", f"{one} Group")
        more = (f"{one}, {two} & {three}", f"{one} & {two} LLP", f"{one} Brothers", f"{one}'s", one)
        return self.random.choices((*forms, *more), weights=(6, 2, 4, 2, 2, 2, 1, 1, 1, 2))[0]

    def _of_people(self) -> str:
        """A body that has the name of a people or a town in its own."""
        if self.random.random() < 0.75:
            return f"{self._pick('Royal |||', '|')}{self.nat()} {self._pick(_BODIES, '|')}"
        return f"{self.city()} {self._pick(_CIVIC, '|')}"

    def _traditional(self) -> str:
        """A stem, what is done, and the legal form, or some of these."""
        stem = self.random.choice(
            [
                self.last,
                self.city,
                self.made,
                lambda: self._pick(_STEMS),
                lambda: self._pick(_STEMS) + self._pick(_STEMS).lower(),
                lambda: f"{self.last()} & {self.last()}",
            ]
        )()
        shape = self.random.random()
        parts = [stem] + [self._pick(_TRADES, "|")] * (shape < 0.65) + [self._pick(_FORMS, "|")] * (0.5 < shape < 0.85)
        return " ".join(parts)

    def _registered(self) -> str:
        """A company that signed a contract, often without its legal form."""
        name = self.random.choice(self._companies)
        if self.random.random() < 0.5:
            name = _FORM.sub("", name)
        return name.title() if name.isupper() and len(name) > 5 and self.random.random() < 0.7 else name

    def _young(self) -> str:
        """What a young company calls itself: common words, joined or not, or one with an ending."""
        first, second = self._english.word().capitalize(), self._english.word().capitalize()
        chance = self.random.random()
        if chance < 0.35:
            name = f"{first} {second}"
        elif chance < 0.6:
            name = first + (second if self.random.random() < 0.3 else second.lower())
        elif chance < 0.7:
            name = f"{first} {second} {self._english.word().capitalize()}"
        elif chance < 0.85:
            name = first + self._pick(_ENDINGS)
        else:
            name = self._pick(_ENDINGS).capitalize() + first.lower()
        return name + (f" {self._pick(_FORMS + '|' + _TRADES, '|')}" if self.random.random() < 0.3 else "")

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
        training_value, chance = self._of_training("address", 0.45), self.random.random()
        forms = (
            (0.28, self._posted),
            (0.55, lambda: self._posted().replace("\n", ", ")),
            (0.60, lambda: f"the corner of {self.street()} {self.num()} and {self.street()}"),
            (0.66, self._flat),
            (0.74, self._parcel),
            (0.87, lambda: f"{self.num()} {self.street()}" + (f", {self.city()}" if self._often() else "")),
            (
                1.00,
                lambda: f"{self.street()} {self.num()}" + (f", {self.zip()} {self.city()}" if self._often() else ""),
            ),
        )
        return training_value or next(form for limit, form in forms if chance < limit)()

    def _often(self) -> bool:
        return self.random.random() < 0.6

    def _posted(self) -> str:
        return self.random.choice(self._fakers).address()

    def _flat(self) -> str:
        """An address that begins with the flat."""
        flat = f"{self._pick('Apt. Suite Flat Unit')} {self.random.randint(1, 999)}"
        return f"{flat} {self.num()} {self.street()}{self._pick(_LINES, '|')}{self.city()} {self.zip()}"

    def _parcel(self) -> str:
        """Where a parcel goes, in one line or several, to the country."""
        between, flat = self._pick(_LINES, "|"), ""
        if self.random.random() < 0.5:
            flat = f" {self._pick('Apt. Suite')} {self.random.randint(1, 999)}"
        number = f"{self.num()} {self.num()}" if self.random.random() < 0.4 else self.num()
        end = self.random.choice(
            ["", f" {self.zip()}", f"{between}{self.country()}", f"{between}{self.country()} {self.zip()}"]
        )
        return f"{number} {self.street()}{flat}{between}{self.city()}{end}"

    def nat(self) -> str:
        """A nationality, or a group that people belong to."""
        if self.random.random() < 0.4:
            return self.random.choice(_OFTEN)
        return self._pick(DEMONYMS)

    def nats(self) -> str:
        """Several people of one nationality or group."""
        pick = self._pick(_ONE_OF_THEM) if self.random.random() < 0.25 else self.nat()
        if pick.endswith("man") and pick not in _NO_MEN:
            return pick if self.random.random() < 0.5 else pick[:-3] + "men"
        return pick if pick.endswith(("ish", "ese", "ch", "ss", "s")) else f"{pick}s"

    def organ(self) -> str:
        """A body of a state, which is nobody's name."""
        return self._pick(_ORGANS, "|")

    def leader(self) -> str:
        """Somebody who speaks for a state, by what they are."""
        return self._pick(_LEADERS, "|")

    def role(self) -> str:
        """What a contract calls a party."""
        return self._pick(_ROLES, "|")

    def beast(self) -> str:
        """An animal."""
        return self._pick(_BEASTS)

    def beasts(self) -> str:
        """Animals."""
        return f"{self.beast()}s"

    def thing(self) -> str:
        """A word with a capital that names nobody: a call, or any word."""
        return self._pick(_CALLS) if self.random.random() < 0.3 else self._word()

    def eponym(self) -> str:
        """Somebody after whom a thing is named, who is not meant."""
        return self.last()

    def coined(self) -> str:
        """A word of science that no dictionary has: a genus, a drug, a gene."""
        stem = self.random.choice([self.made().lower(), self._english.word()[:5]])
        word = (stem[: self.random.randint(3, 6)] + self._pick(_COINED, "|")).capitalize()
        return f"{word[0]}. {self.made().lower()}" if self.random.random() < 0.04 else word

    def work(self) -> str:
        """A book, a film or a song."""
        one, two, three = self._word(), self._word(), self._word()
        forms = (f"The {one}", f"{one} {two}", f"The {one} {two}", one, f"{one} of {two}", f"{one} and {two}")
        more = (f"{one} {two} {three}", f"A {one} for {two}", f"{self.made()}", f"The {one} of the {two}")
        return self.random.choice((*forms, *more))

    def _word(self) -> str:
        return self._english.word().capitalize()

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

    def card(self) -> str:
        """A card."""
        return self._english.credit_card_number()

    def url(self) -> str:
        """A page."""
        return self._english.url()

    def iban(self) -> str:
        """An account."""
        return self._english.iban()
