"""What patterns find, what they leave, and how long they take."""

import phonenumbers
import pytest

from coterie.privacy.detection import Detector, Kind, redact
from coterie.privacy.patterns import PatternDetector

FULL_WIDTH = "4111111111111111".translate({ord("0") + n: 0xFF10 + n for n in range(10)})


def found(text):
    """What is found, as kinds and words."""
    return [(span.kind, text[span.start : span.end]) for span in PatternDetector().find(text)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("My card is 4111 1111 1111 1111, please", "CARD", "4111 1111 1111 1111"),
        ("amex 3782-822463-10005", "CARD", "3782-822463-10005"),
        ("card: " + FULL_WIDTH, "CARD", FULL_WIDTH),
        ("maestro 630427373398", "CARD", "630427373398"),
        ("to GB82 WEST 1234 5698 7654 32 today", "IBAN", "GB82 WEST 1234 5698 7654 32"),
        ("iban de89370400440532013000.", "IBAN", "de89370400440532013000"),
        ("write to (anna.b+x@mail.example.co.uk).", "EMAIL", "anna.b+x@mail.example.co.uk"),
        ("schreib an jürgen@müller.example", "EMAIL", "jürgen@müller.example"),
        ("from 10.218.6.131:8080", "IP", "10.218.6.131"),
        ("ping fe80::1 now", "IP", "fe80::1"),
        ("at d80:e4b5:79da:6cf6:71f3:51f7:9161:c319.", "IP", "d80:e4b5:79da:6cf6:71f3:51f7:9161:c319"),
        ("see https://www.example.org/a?b=c).", "URL", "https://www.example.org/a?b=c"),
        ("born on 4/17/1986", "DATE_OF_BIRTH", "4/17/1986"),
        ("geboren am 3. März 1970 in Ulm", "DATE_OF_BIRTH", "3. März 1970"),
        ("DOB: 1992-12-08 19:28:54", "DATE_OF_BIRTH", "1992-12-08 19:28:54"),
        ("date of birth is March 3rd, 1970", "DATE_OF_BIRTH", "March 3rd, 1970"),
        ("Data de nascimento: 3 de dezembro de 1970", "DATE_OF_BIRTH", "3 de dezembro de 1970"),
        ("geboren op 3 mei 1970", "DATE_OF_BIRTH", "3 mei 1970"),
        ("urodzony 3 maja 1970", "DATE_OF_BIRTH", "3 maja 1970"),
        ("DOB: 14-Mar-1987", "DATE_OF_BIRTH", "14-Mar-1987"),
        ("born 1987年3月14日", "DATE_OF_BIRTH", "1987年3月14日"),
        ("dob是14.03.1987吗", "DATE_OF_BIRTH", "14.03.1987"),
        ("客户的BSN是111222333", "NATIONAL_ID", "111222333"),
    ],
)
def test_found(text, kind, value):
    """What has a form is found whole and alone, at its place."""
    assert found(text) == [(kind, value)]


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("date of birth", "DATE_OF_BIRTH", "1987-03-14"),
        ("bank account number", "BANK_ACCOUNT", "12345678"),
        ("passport number", "NATIONAL_ID", "X1234567"),
        ("user password", "SECRET", "hunter2secret"),
        ("card cvv", "SECRET", "482"),
        ("bsn nummer", "NATIONAL_ID", "111222333"),
    ],
)
@pytest.mark.parametrize(
    "form",
    ['{{"{}":"{}"}}', '{{"a": {{"{}" : "{}", "b": 1}}}}', '{{\\"{}\\":\\"{}\\"}}', "<{}>{}</x>", "{} = '{}'", "{}: {}"],
)
def test_in_fields_of_programs(name, kind, value, form):
    """A field's name says what stands in it, also where its words are written together."""
    words = name.split()
    for field in ("_".join(words), "-".join(words), words[0] + "".join(map(str.capitalize, words[1:]))):
        [(found_kind, words_found)] = found(form.format(field, value))
        assert (found_kind, words_found.rstrip("\\")) == (kind, value), field


@pytest.mark.parametrize(
    "text",
    [
        '{"order_number":12345678,"createdAt":"2026-03-14","customerId":990011223,"sku_code":"4821"}',
        '{"passwordPolicy":"strict1","password_last_changed":"2024-03-14","card_last4":"4821"}',
        "order_date=2026-03-14&pinCount=1234",
    ],
)
def test_other_fields_of_programs(text):
    """A field that is called otherwise is none of them."""
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "+49 (0)69 979 80 58",
        "+(370) 5 212 3456",
        "+49 30 901820/21",
        "+971 (0)50 123 4567 ext. 123",
        "+1-202-555-0143;ext=12",
        "+1-743-438-6774x62406",
        "001-755-329-4431",
        "(505)498-8487x6837",
        "833.719.3994x1887",
        "(91) 5676-6953",
        "(03) 5327 5996",
        "02.27.96.63.08",
        "0477 11 28 98",
        "+442079460958",
    ],
)
def test_phones_alone(text):
    """A country code, brackets, the North American grouping or a trunk zero need no word beside them."""
    assert found(f"It is {text} since May.") == [("PHONE", text)]


@pytest.mark.parametrize("number", ["329 7730", "25-62-29-72", "469 34 883", "3732695155", "96 237271"])
def test_phones_said(number):
    """Other groups of digits are a telephone beside a word for one, and nothing without."""
    assert found(f"You can call {number}.") == [("PHONE", number)]
    assert found(f"It was {number}.") == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("phone #030 123 4567", ["030 123 4567"]),
        ("tel-0911 828 834", ["0911 828 834"]),
        ("Tel.:+420 603 107 356", ["+420 603 107 356"]),
        ("(+420 603 107 356)", ["+420 603 107 356"]),
        ("((505)498-8487x6837)", ["(505)498-8487x6837"]),
        ("Ph: 0513179177", ["0513179177"]),
        ("M: 0101891446 F: 0101891447", ["0101891446", "0101891447"]),
        ("36 85 25 24 is my new mobile number", ["36 85 25 24"]),
        ("call 882 385 120 or 888 488 078", ["882 385 120", "888 488 078"]),
        ("+48 575 925 807/517 599 236 (office)", ["+48 575 925 807", "517 599 236"]),
        ("(08) 8747 6301, 8747 6302", ["(08) 8747 6301", "8747 6302"]),
        ("0911/1234567", ["0911/1234567"]),
        ("483-178-1824x126", ["483-178-1824x126"]),
        ("Tel: 052 929 29 20 Ext: 12", ["052 929 29 20 Ext: 12"]),
        ("Ring 022 249 5526 7 days a week", ["022 249 5526"]),
        ("Call 402-597-8100x1266 24 hours a day", ["402-597-8100x1266"]),
        ("Call +49 30 901820 0 24 hours", ["+49 30 901820 0"]),
        ("8 Elm St, Troy, NY 12180 518-555-0142", ["518-555-0142"]),
        ("CALL 07911 123456", ["07911 123456"]),
        ("TEL 02155 123456 FAX 02155 123457", ["02155 123456", "02155 123457"]),
        ("call 329 773 of the hotel", ["329 773"]),
        ("call 030 (1234 5678", ["030 (1234 5678"]),
        ("8 Elm St, Troy, NY 12180 0911/1234567", ["0911/1234567"]),
        ("Ann,+41 (0)85 806 98 67,31", ["+41 (0)85 806 98 67"]),
        ("31,833.719.3994,Ann", ["833.719.3994"]),
        ("phone\nAnn,0688 843 79 56,31", ["0688 843 79 56"]),
        ("Call us at (32) 484-557 24/7", ["(32) 484-557"]),
        ("Call +41 62 585 51 90 24/7", ["+41 62 585 51 90"]),
        ("Phones: 0688 843 79 56/03.93.92.16.85", ["0688 843 79 56", "03.93.92.16.85"]),
        ("(021) 0025-967 (03) 5327 5996", ["(021) 0025-967", "(03) 5327 5996"]),
        ("Mobile 0348 2102744Office 02.27.96.63.08", ["0348 2102744", "02.27.96.63.08"]),
        ("Home 329 7730 Work: 469 34 883", ["329 7730", "469 34 883"]),
        ("\u7535\u8bdd 13812345678", ["13812345678"]),
        ("\u0422\u0435\u043b.: 469 34 883", ["469 34 883"]),
    ],
)
def test_phones_beside_signs(text, numbers):
    """Signs that join a number to its word, stand around it or part it from the next are no part of it."""
    assert found(text) == [("PHONE", number) for number in numbers]


def test_phones_in_a_column():
    """Under a telephone in a table the next one is one too, and numbers of other columns are not."""
    rows = ["name,phone,customer", "Ann,329 7730,469 34 883", "Bob,469 34 883,329 7730", "Cy,96 237271,451 5986"]
    assert found("\n".join(rows)) == [("PHONE", row.split(",")[1]) for row in rows[1:]]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Room 12, 678-777-1600", ["678-777-1600"]),
        ("My id is 12345 and (08) 8747 6301", ["(08) 8747 6301"]),
        ("Order 678-777-1600", []),
        ("Orders 12345, 329 7730", []),
        ("It costs 1,234567 and pi is 3,1415926535", []),
    ],
)
def test_phones_behind_another_number(text, numbers):
    """A word that says what a number is says it of one: the next has to speak for itself."""
    assert found(text) == [("PHONE", number) for number in numbers]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"firstName": "Helena", "lastName": "Vasquez", "name": "triage"}', ["Helena", "Vasquez"]),
        ('{\\"lastName\\": \\"Vasquez\\"}', ["Vasquez"]),
        ("<surname>Eriksen</surname><given-name type='x'>Liv</given-name>", ["Eriksen", "Liv"]),
        ("First name: Anna Last name: Smith-Jones City: Rome", ["Anna", "Smith-Jones"]),
        ("first_name=Anna&last_name=O'Brien&page=1", ["Anna", "O'Brien"]),
        ("last_name = 'O''Brien' AND first_name = 'Siobhan'", ["O''Brien", "Siobhan"]),
        ("Nachname: M\u00fcller, Vorname: J\u00f6rg", ["M\u00fcller", "J\u00f6rg"]),
        ("\u59d3\u540d: \u738b\u5c0f\u660e", ["\u738b\u5c0f\u660e"]),
        ("class Person:\n    first_name: str\n    last_name: String", []),
        ("lastName: user.lastName, firstName = models.CharField(max)", []),
        ("CREATE TABLE users (first_name VARCHAR(50))", []),
        ('"full_name": null, "last name": "", First name: Required', []),
        ("What is my last name: is it needed? Please give your full name: First and Last.", []),
    ],
)
def test_names_in_fields(text, names):
    """A field that is called first or last name holds a name, and a placeholder, code or nothing is none."""
    assert found(text) == [("PERSON", name) for name in names]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Someone from 96 237271 rang twice at 14:30.", "96 237271"),
        ("I tried 961 236 636 and nobody answered.", "961 236 636"),
        ("Is 7074572547 still your number?", "7074572547"),
        ("Register 45 4829-6783 as my new mobile number.", "45 4829-6783"),
        ("This is Ann. 960 409 112. Please call.", "960 409 112"),
        ("Ann Smith | ann@mail.example | 40245774", "40245774"),
        ("Ann Smith, 690 044 672, ann@mail.example", "690 044 672"),
        ("Ann Smith\nHead of Sales\n690 044 672", "690 044 672"),
        ("Ann Smith\nM 690 044 672", "690 044 672"),
        ("please use 0386217024 from Monday", "0386217024"),
    ],
)
def test_phones_by_what_stands_around(text, number):
    """Words behind it, an e-mail address beside it and a line of its own say that a number is a telephone."""
    assert ("PHONE", number) in found(text)


@pytest.mark.parametrize(
    "number",
    [
        "536-90-4399",  # United States
        "912-70-1234",  # ITIN
        "AB 12 34 56 C",  # United Kingdom
        "86 095 742 719",  # Germany, tax
        "65 170839 J 003",  # Germany, pension
        "2 55 08 14 168 025 38",  # France
        "RSSMRA85T10A562S",  # Italy
        "12345678Z",  # Spain
        "X-1234567-L",
        "811228-9874",  # Sweden
        "131052-308T",  # Finland
        "756.9217.0769.85",  # Switzerland
        "390.533.447-05",  # Brazil
        "85.07.30-033.28",  # Belgium
    ],
)
def test_national_ids(number):
    """A number of a state is found; with another check digit, where it has one, it is not."""
    assert found(f"It is {number}.") == [("NATIONAL_ID", number)]


@pytest.mark.parametrize(
    ("word", "number", "wrong"),
    [
        ("BSN", "111222333", "111222334"),
        ("PESEL", "44051401359", "44051401358"),
        ("NHS number", "9434765919", "9434765918"),
        ("aadhaar", "2341 2341 2346", "2341 2341 2345"),
        ("SIN", "046 454 286", "046 454 287"),
        ("TFN", "123 456 782", "123 456 783"),
        ("IdNr", "86095742719", "86095742718"),
        ("CPF", "39053344705", "39053344706"),
        ("SSN", "536904399", "666904399"),
    ],
)
def test_national_ids_said(word, number, wrong):
    """A number that could be anything counts beside its name, if its check digit is right."""
    assert found(f"my {word} is {number}") == [("NATIONAL_ID", number)]
    assert found(f"it is {number}") == []
    assert ("NATIONAL_ID", wrong) not in found(f"my {word} is {wrong}")


SAID = [
    ("O meu NIF \u00e9 {}.", "207 439 150"),  # Portugal
    ("Cart\u00e3o de Cidad\u00e3o {}", "96828825 7 ZZ1"),
    ("NIP firmy: {}", "481-718-31-67"),  # Poland
    ("PPS number {}", "1503180Q"),  # Ireland
    ("SVNR {}", "1125 110267"),  # Austria
    ("ad\u00f3azonos\u00edt\u00f3 jele {}", "8238356261"),  # Hungary
    ("TAJ sz\u00e1m: {}", "123 456 788"),
    ("UTR {}", "61119 97142"),  # United Kingdom, tax
    ("num\u00e9ro fiscal {}", "30 23 217 600 053"),  # France, tax
    ("rodn\u00e9ho \u010d\u00edsla {}", "7810052426"),  # Czechia and Slovakia
    ("rodne cislo {}", "7810052426"),
    ("f\u00f8dselsnummer {}", "240481 12907"),  # Norway
    ("Kennitala: {}", "060163-3169"),  # Iceland
    ("Isikukood {}", "38812034055"),  # Estonia
    ("asmens kodas {}", "35102149687"),  # Lithuania
    ("personas kods {}", "150195-18427"),  # Latvia
    ("CNP {}", "1970627124461"),  # Romania
    ("\u0415\u0413\u041d {}", "5509223609"),  # Bulgaria
    ("OIB: {}", "00105297986"),  # Croatia
    ("JMBG {}", "2804997505394"),  # Serbia, Bosnia, Slovenia, North Macedonia
    ("dav\u010dna \u0161tevilka {}", "71531882"),  # Slovenia, tax
    ("\u0391\u039c\u039a\u0391 {}", "16038285645"),  # Greece
    ("\u0391\u03a6\u039c: {}", "127625691"),
    ("T.C. kimlik no {}", "88226516154"),  # Turkey
    ("\u05ea\u05e2\u05d5\u05d3\u05ea \u05d6\u05d4\u05d5\u05ea {}", "900763954"),  # Israel
    ("\u0418\u041d\u041d {}", "745727266416"),  # Russia
    ("\u0420\u041d\u041e\u041a\u041f\u041f {}", "2144380100"),  # Ukraine
    ("\u30de\u30a4\u30ca\u30f3\u30d0\u30fc\u306f{}\u3067\u3059", "7776 5415 0650"),  # Japan
    ("\u0e1a\u0e31\u0e15\u0e23\u0e1b\u0e23\u0e30\u0e0a\u0e32\u0e0a\u0e19 {}", "1-1182-60329-09-1"),  # Thailand
    ("NIK {}", "3174011805822812"),  # Indonesia
    ("PAN {}", "ABCPK2654L"),  # India
    ("HKID {}", "A123456(3)"),  # Hong Kong
    ("\u8eab\u5206\u8b49 {}", "A123456789"),  # Taiwan
    ("ID number {}", "770104 8616 08 6"),  # South Africa
    ("RFC {}", "GODE561231GR8"),  # Mexico
    ("CUIL {}", "20317319321"),  # Argentina
    ("RUT {}", "106529817"),  # Chile
    ("c\u00e9dula {}", "1744892652"),  # Ecuador
]


@pytest.mark.parametrize(("text", "number"), SAID)
def test_identifiers_beside_their_names(text, number):
    """A state's number counts beside its name; without it the same digits may be anything."""
    assert found(text.format(number)) == [("NATIONAL_ID", number)]
    assert ("NATIONAL_ID", number) not in found(f"x {number} y")


@pytest.mark.parametrize(
    "number",
    [
        "781005/2426",  # Czechia and Slovakia
        "112-233-445 95",  # Russia, insurance
        "110105198810313164",  # China
        "501225-1600613",  # South Korea
        "700402-01-5094",  # Malaysia
        "54556-1852323-1",  # Pakistan
        "S1234567D",  # Singapore
        "BOXW310820HNERXN09",  # Mexico
        "20-31731932-1",  # Argentina
        "10.652.981-7",  # Chile
    ],
)
def test_identifiers_of_a_form_of_their_own(number):
    """They need no name beside them; with another check digit or date there is nothing."""
    assert found(f"x {number} y") == [("NATIONAL_ID", number)]
    wrong = "".join("0" if sign.isdigit() else sign for sign in number)
    assert ("NATIONAL_ID", wrong) not in found(f"x {wrong} y")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("driver's license number is D1234567", "D1234567"),
        ("my driving licence: MORGA657054SM9IJ", "MORGA657054SM9IJ"),
        ("passport no. X12345678", "X12345678"),
        ("Driver's licence 4278104 expired", "4278104"),
        ("change my driver's license to 04021419, please", "04021419"),
        ("What is your licence number? It's B919-0114-4463", "B919-0114-4463"),
        ("DL ID T2R1G9", "T2R1G9"),
        ("C4XG94S86 is the number of my passport.", "C4XG94S86"),
    ],
)
def test_papers(text, number):
    """Passports and licences have no common form: the word before says what it is."""
    assert found(text) == [("NATIONAL_ID", number)]


SECRETS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "xoxb-123456789012-abcdefABCDEF",
    "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "AIza" + "Sy0123456789-abcdefghijklmnopqrstuv"[:35],
    "sk-ant-api03-" + "abcdefghij0123456789_-AB",
    "sk-" + "T3BlbkFJ" * 6,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_by_shape(secret):
    """Keys of known makers are found wherever they stand."""
    assert found(f"Use '{secret}' for it.") == [("SECRET", secret)]


@pytest.mark.parametrize(
    "around", ["invoice_{}_2024.pdf", "contract-{}-final.docx", "/home/x/{}/a.txt", "C:\\{}\\a.txt"]
)
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("SECRET", "AKIAIOSFODNN7EXAMPLE"),
        ("IBAN", "DE89370400440532013000"),
        ("CARD", "4111111111111111"),
        ("EMAIL", "anna.schmidt@example.org"),
    ],
)
def test_names_of_files(kind, value, around):
    """A value is found in the name of a file, whatever joins it to the rest."""
    text = around.format(value)
    assert kind in [detected for detected, _ in found(text)]
    assert value not in redact(text, PatternDetector().find(text))


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("password=hunter2", "hunter2"),
        ('"db_password": "correct-horse"', "correct-horse"),
        ("my password is s3cr3t!", "s3cr3t"),
        ("export STRIPE_API_KEY=abc123def", "abc123def"),
        ("postgres://admin:pa55@db.example/app", "admin:pa55"),
        ("Authorization: Bearer abcdef0123456789xyz", "abcdef0123456789xyz"),
        ("the deploy token (prod) f3a9b2c4d5e6f7a8b9c0d1e2", "f3a9b2c4d5e6f7a8b9c0d1e2"),
    ],
)
def test_secrets_by_name(text, secret):
    """What stands behind a word for a secret is one."""
    assert found(text) == [("SECRET", secret)]


def test_private_keys():
    """A private key is found whole, one that is cut off to the end of the text; a public one is no secret."""
    block = "-----BEGIN {0} KEY-----\nMIIE\nabc\n-----END {0} KEY-----"
    whole = block.format("RSA PRIVATE")

    assert found(f"see {whole} end") == [("SECRET", whole)]
    assert found("x " + whole[:40]) == [("SECRET", whole[:40])]
    assert found(block.format("PUBLIC")) == []


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112 has a wrong check digit",
        "GB82 WEST 1234 5698 7654 33 has a wrong check number",
        "1111 1111 1111 1117",
        "order number 12345678, invoice 2024-000123, ticket 555-0100-22",
        "It costs 1 234 567 EUR or $1,234,567.89 or 12.345.678,90",
        "on 2017-10-11 03:54:51, 11.12.2017 and 12/7/1975",
        "version 1.2.3.4 at 12:30:45, std::vector and a::b, 127.0.0.1",
        "ISBN 978-3-16-148410-0",
        "The password was reset. Your password: required",
        "password=${PASSWORD} and api_key=env:KEY and token: ****",
        "the key idea of this internationalization-of-everything token",
        "I am 46 years old and have 12 000 000 reasons, 50-60 of them good.",
        "Call me at 10:30 or 2024. Text 1 of 20.",
        "2001: A Space Odyssey",
        "each cell contacts 300-600 neurons, 73.9-86.3 on average (J. Cell Biol. 83, 544-555)",
        "the cells were treated with PD-0332991",
        "subject to Section 11.1.1.3(c)\n11.1.1.4 The Buyer pays. ",
        "my license cost 12000 dollars in 2019, and the passport 60 euros",
        "credit card 940426070014",
        "48291011 is your order number and 48291012 the invoice, answered on Monday",
        "It was 0.05 0.10 0.15 0.20 of it",
        "S-1/A, 3/19/2007 by Fox, tel",
        "loads of 10(5)-10(9) copies were seen",
        "Phoenix, Arizona 85004-0001\nPhone: yes",
        "Sizes\n36 38 40 42\n44 46 48 50",
        "FASEB J., vol.12, p. 1097 (1998)], see p. 109 1234",
        "@pytest.mark.slow\n@pytest.mark.parametrize",
        "",
    ],
)
def test_left_alone(text):
    """What only looks like it is left alone."""
    assert found(text) == []


@pytest.mark.parametrize(
    "text", ["\ud800 \udfff a@b.example", "\x00" * 5 + " x@y.example", "👩‍👩‍👧 é x@y.example \u202e"]
)
def test_any_unicode(text):
    """Half surrogates, control characters and joined emoji shift no place."""
    assert [value for _, value in found(text)] == [text.split("@")[0].split()[-1] + "@" + text.split("@")[1].split()[0]]


HOSTILE = [
    "a", "1", "1 ", "a@", "a.", ":", "1:", "(", "(1", "A1", "1-", "1.", "+0", "\u0661", "\ud800", " ", "api_",
    "a_", "eyJ", "sk-", "key ", "jan 1 ", "born ", "call 1 ", "password=", "password ", "http://", "h://a:",
    "GB82 ", "dl ", "-----BEGIN ", "eyJaaaaaaaaa.", "-----BEGIN PRIVATE KEY-----", "passport number is is is ",
    "key aaaaaaaaaaaaaaaa1", "1\u00a0", "www.", "Bearer ", "x.x@",
    "1/1", "1/1 ", "1 is my ", "A1-A1-", "A1 ", "AA 1 1 ", "passport ", "my licence . ", "#1", "tel-1", "T: 1 ",
    "1.1-1.1 ", "1 or ", "NY 12345 ", "555-123-4567 ", "555-123-4567 24 hours ", "a\n1234567\n", "a@b 1234567 ",
    "1234567 a a a a ", "a1@b.example ", "DE89370400440532013000 ",
    "a\u200b", "1\u00ad", "%40", "a%40b.", "&#64;", "\uff11",
    "\\u0034", "\\", "&#45;", "&#", "\\u00", "1\\u002d",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("to anna\u200b.k@mail.example!", "EMAIL", "anna\u200b.k@mail.example"),
        ("to anna.k\uff20mail.example!", "EMAIL", "anna.k\uff20mail.example"),
        ("see https://x.example/?m=anna.k%40mail.example", "EMAIL", "anna.k%40mail.example"),
        ("<a>anna.k&#64;mail.example</a>", "EMAIL", "anna.k&#64;mail.example"),
        ('{"m": "anna.k\\u0040mail.example"}', "EMAIL", "anna.k\\u0040mail.example"),
        ('{"m": "\\u0061nna.k@mail\\u002eexample"}', "EMAIL", "\\u0061nna.k@mail\\u002eexample"),
        (r'{"pay": "4111\u002d1111\u002d1111\u002d1111"}', "CARD", r"4111\u002d1111\u002d1111\u002d1111"),
        (r'{"pay": "4111\u00201111\u00a01111 1111"}', "CARD", r"4111\u00201111\u00a01111 1111"),
        (
            r'{"a": "{\"b\": \"4111\\u002D1111\\u002D1111\\u002D1111\"}"}',
            "CARD",
            r"4111\\u002D1111\\u002D1111\\u002D1111",
        ),
        ("4111&#45;1111&#x2D;1111&#0045;1111", "CARD", "4111&#45;1111&#x2D;1111&#0045;1111"),
        (
            r"DE89\u00203704\u00200044\u00200532\u00200130\u002000",
            "IBAN",
            r"DE89\u00203704\u00200044\u00200532\u00200130\u002000",
        ),
        (r'{"last_name": "M\u00fcller"}', "PERSON", r"M\u00fcller"),
        ("card 4111\u20601111\u00ad1111\u200b1111.", "CARD", "4111\u20601111\u00ad1111\u200b1111"),
        ("card \uff14\uff11\uff11\uff11 1111 1111 1111", "CARD", "\uff14\uff11\uff11\uff11 1111 1111 1111"),
        ("IBAN DE89 3704 0044\n0532 0130 00, thanks", "IBAN", "DE89 3704 0044\n0532 0130 00"),
        ("\ufeffpass\u00adword: hunter\u200b2\u200b", "SECRET", "hunter\u200b2"),
    ],
)
def test_what_hides_it_hides_nothing(text, kind, value):
    """Signs without width, double width, an `@` as an address or a page spells it: found whole, in its place."""
    assert (kind, value) in found(text)


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_linear_time(piece, count_steps):
    """Eight times the text takes at most about eight times as long, whatever is repeated.

    A busy machine's caches make one look in a thousand longer; a time that grows faster fails each of three.
    """
    looks = ([count_steps((piece * 16_000)[:length]) for length in (2_000, 16_000)] for _ in range(3))

    assert any(long <= 14 * max(short, 0.002) for short, long in looks)


@pytest.mark.parametrize(
    "text", ["DOB: 4/17/1986", "amex 3782-822463-10005", "Ring 022 249 5526 7 days a week", "a.b@c.example"]
)
def test_what_stands_far_away_changes_nothing(text):
    """The same is found, at its place, where much stands before and behind that has no digit."""
    around = "so it is and so it was, " * 40

    assert found(f"{around}. {text}. {around}") == found(text)
    assert found(f"{around}. {text}. {around}. {text}") == found(text) * 2


def test_what_is_certain_is_nothing_else():
    """No telephone and no national id is found within an IBAN, a key or an e-mail address, and none is lost beside."""
    text = "call 030 1234567, 0301234567@mail.example or DE89 3704 0044 0532 0130 00, not AKIA1234567890123456"

    assert [kind for kind, _ in found(text)] == ["PHONE", "EMAIL", "IBAN", "SECRET"]


def test_is_a_detector():
    """It keeps the contract."""
    assert isinstance(PatternDetector(), Detector)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            "\u043f\u0430\u0440\u043e\u043b\u044c: \u0441\u043e\u043b\u043d\u0446\u044599",
            "\u0441\u043e\u043b\u043d\u0446\u044599",
        ),
        ("\u5bc6\u7801\uff1aabc12345", "abc12345"),
        ("has\u0142o: kotek123", "kotek123"),
        ("wachtwoord is zonnig12", "zonnig12"),
        ("<password>hunter2</password>", "hunter2"),
        ("mysql --password hunter2 shop", "hunter2"),
        ("user: bob pass: hunter2", "hunter2"),
        ("shpat_" + "0123456789abcdef" * 2, "shpat_" + "0123456789abcdef" * 2),
        ("AccountName=x;AccountKey=AbCdEf012345==", "AbCdEf012345=="),
        ("Your verification code is 482193.", "482193"),
        ("OTP: 482193", "482193"),
        ("recovery phrase: " + "abandon " * 11 + "about", "abandon " * 11 + "about"),
    ],
)
def test_secrets_elsewhere(text, value):
    """Passwords in other languages, tags and commands, codes that are good for once, the words of a purse."""
    assert found(text) == [("SECRET", value)]


@pytest.mark.parametrize(
    "text",
    [
        "Pass: yes",
        "password > 8 characters",
        "The verification code did not arrive.",
        "error code 482193, order code 48219",
        "--password is an option, --token-file another",
        "recovery words are written down by those who set up a new phone or a bank card",
        "senha, heslo and has\u0142o are words",
    ],
)
def test_no_secrets_elsewhere(text):
    """Words about them are none."""
    assert found(text) == []


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_numbers_of_every_country(region):
    """The example numbers of every country, with their country's code in three spellings."""
    for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE):
        example = phonenumbers.example_number_for_type(region, kind)
        spelled = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL) if example else "+1"
        for number in {spelled, spelled.replace(" ", ""), f"00{spelled[1:]}"} if example else ():
            text = f"It is {number} now."
            spans = PatternDetector().find(text)
            assert [(span.kind, text[span.start : span.end]) for span in spans] == [(Kind.PHONE, number)]


@pytest.mark.parametrize("number", ["+1 234 567", "+49 1", "+999 1234 5678", "+12 3456789012345"])
def test_no_country_has_such_numbers(number):
    """A code that no country has, and numbers that are too short or too long for theirs."""
    assert Kind.PHONE not in {span.kind for span in PatternDetector().find(f"It is {number} now.")}
