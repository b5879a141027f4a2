"""Detection of passwords, keys and tokens: by the form that their issuers use, by context, and by their entropy."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from coterie.privacy.detection import Kind, PersonalData, lowered

_SHAPES = re.compile(
    r"(?:(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"  # Amazon Web Services; also in a name: old_AKIA..._2.txt
    r"|(?<![A-Za-z0-9])(?<![A-Za-z0-9]_)(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}"  # GitHub
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250})"  # Slack
    r"|(?<![A-Za-z0-9-])(?<![A-Za-z0-9]_)(?:"
    r"gl(?:pat|dt|rt|ptt|cbt)-[A-Za-z0-9_-]{20,64}"  # GitLab
    r"|xapp-[A-Za-z0-9-]{10,250}"  # Slack
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{10,250}|whsec_[A-Za-z0-9+/]{20,64}"  # Stripe
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,250}|GOCSPX-[A-Za-z0-9_-]{28}"  # Google
    r"|sk-(?:[A-Za-z0-9]{2,12}-)?[A-Za-z0-9_-]{20,200}"  # OpenAI, Anthropic and who came after them
    r"|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{40,250}|gsk_[A-Za-z0-9]{40,64}"
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,64}|key-[0-9a-f]{32}|dop_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-f]{32}|ctr_[A-Za-z0-9_-]{30,64}"
    r"))(?![A-Za-z0-9])"
)
_WEB_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]*+(?![A-Za-z0-9])"
)
_HOOK = re.compile(r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,200}")
_USERINFO = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/:@?#]{0,100}:[^\s/@?#]{1,200}|[^\s/:@?#]{16,200})@"
)
"""The user and password of an address, or a token in their place."""
_PIN = re.compile(
    r"(?<![^\W_])(?:pin(?:[ -]?(?:code|number|nummer))?|cvv2?|cvc2?|cryptogramme)"
    r"\s{0,2}(?::|=|\s(?:is|was|ist|lautet|est|es)\b:?|\s)\s{0,2}(\d{3,5})(?![\w.,/-]?\d|\w)"
    r"|(?<![^\W_])(?:otp|(?:one[ -]?time|single[ -]?use|verification|authentication|2fa|login|einmal)"
    r"[ -]?(?:pass)?(?:code|word|pin))"
    r"\s{0,2}(?::|=|\s(?:is|was|ist|lautet|est|es)\b:?|\s)\s{0,2}(\d{4,8})(?![\w.,/-]?\d|\w)",
    re.IGNORECASE,
)
"""A PIN or card security code, or a one-time code."""
_PEM = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_ABROAD = (
    *("has\u0142o", "heslo", "wachtwoord", "senha", "l\u00f6senord", "salasana", "adgangskode", "passord", "parool"),
    *(
        "\u015fifre",
        "jelsz\u00f3",
        "\u043f\u0430\u0440\u043e\u043b\u044c",
        "\u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2",
    ),
    *("\u5bc6\u7801", "\u5bc6\u78bc", "\u30d1\u30b9\u30ef\u30fc\u30c9", "\ube44\ubc00\ubc88\ud638"),
)
"""Words for a password in other languages."""
_NAMED = re.compile(
    r"(?:p(?<![a-z].)(?:ass(?:word|wd|wort|code|phrase|(?=\s?[:=]\s?[\"']?[a-z]{0,99}[^a-z\s\"']))|wd|rivate[_ -]?key)"
    r"|s(?<![a-z].)ecret(?:[_ -]?key)?|a(?<![a-z].)(?:pi[_ -]?key|cc(?:ess|ount)[_ -]?key|(?:ccess|uth)[_ -]?token)"
    r"|c(?<![a-z].)(?:lient[_ -]?secret|redentials?|ontrase\u00f1a)|m(?<![a-z].)ot de passe|k(?<![a-z].)ennwort"
    rf"|(?<![^\W_])(?:{'|'.join(_ABROAD)}))"
    r"[\"'\u2019]?(?P<is>\s{0,3}(?:[:=]|:=|=>)\s{0,3}|\s{1,3}(?:is|was|to|ist|lautet|est|es|to|jest|je|\u00e9|\u00e8)\s{0,2}:?\s{1,3}"
    r"|\uff1a\s{0,3}|>(?=[^\s<>]{4,200}</))[\"'`\u201c\u2018]?"
    r"(?P<value>[^\s\"'`,;<>\u201c\u201d\u2019]{4,200})"
)
"""A secret after its name, in lower case.

The pattern begins with letters and checks afterwards what may not stand before them, so that the library
skips to them.
"""
_OPTION = re.compile(
    r"(?<![\w-])--?(?:password|passwd|passphrase|token|secret|api-?key|access-?token)[ =]"
    r"[\"']?([^\s\"'`<>$-][^\s\"'`<>]{3,199})"
)
"""A secret as an option of a command."""
_PHRASE = re.compile(
    r"(?:seed|recovery|mnemonic|backup)\s(?:phrase|words)\s{0,2}(?:[:=]|\sis\b:?)\s{0,3}"
    r"[\"']?((?:[a-z]{3,8}[ \n]{1,2}){11,23}[a-z]{3,8})"
)
"""The words of a wallet's recovery phrase (BIP 39)."""
_BEARER = re.compile(r"(?<![A-Za-z])(?:Bearer|Basic)\s{1,3}([A-Za-z0-9+/._~-]{16,2000}={0,2})", re.IGNORECASE)
_SPEAKS = re.compile(
    r"(?:k(?<![a-z].)ey|t(?<![a-z].)oken|s(?<![a-z].)ecret|c(?<![a-z].)redential|p(?<![a-z].)ass(?:word|phrase)"
    r"|b(?<![a-z].)earer|a(?<![a-z].)uth)s?(?![a-z])"
)
"""Words for a secret, in lower case."""
_PUBLIC = re.compile(r"(?<![a-z])public\w{0,14}[_ -]$")
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/=_.-])[A-Za-z0-9+/_-]{16,512}={0,2}(?![A-Za-z0-9+/_])")
_STANDS_FOR = re.compile(
    r"(?:\*+|x+|\.+|-+|\$\{?\w*\}?|%\w*%|\{\{?.*|env:.*|null|none|true|false|nil|undefined|required|optional|string|str|reset|changed|"
    r"expired|wrong|incorrect|invalid|correct|missing|empty|secret|password|your\w*|my\w*|the|not|redacted|hidden|changeme)[.!?)]*",
    re.IGNORECASE,
)  # fmt: skip
_DIGIT = re.compile(r"[0-9]")
_DISORDER = 3.0
"""Bits a character from which a long token is no word: joined English words have under 3 with a digit among them."""


_HINTS = (
    *("pass", "pwd", "secret", "key", "token", "credential", "mot de", "contrase", "kennwort"),
    *(word for word in _ABROAD if word.isascii()),
)
_FOREIGN_HINTS = tuple(word for word in _ABROAD if not word.isascii())
"""Words for a secret in other scripts, for a quick test of a text."""
_BEGINNINGS = {
    "": ("AKIA", "ASIA", "ABIA", "ACCA", "AIza"),
    ".": ("ya29.", "SG."),
    "-": ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "xox", "xapp-", "GOCSPX-", "sk-", "pypi-", "key-"),
    "_": (
        *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "k_live_", "k_test_", "whsec_"),
        *("hf_", "npm_", "gsk_", "dop_v1_", "shpat_", "shpca_", "shppa_", "shpss_", "ctr_"),
    ),
}
"""Beginnings of keys with a fixed form, by a character that they contain; a text with such a key has one of them."""


TOKEN_BEGINS = re.compile(
    r"(?<![A-Za-z0-9-])(?<![A-Za-z0-9]_)(?:A(?:KIA|SIA|BIA|CCA|Iza)|eyJ|ya29\.|SG\.|gl(?:pa|d|r|pt|cb)t-|xox[abeoprs]-|xapp-|GOCSPX-|sk-|pypi-|key-|gh[pousr]_"
    r"|github_pat_|[rs]k_(?:live|test)_|whsec_|hf_|npm_|gsk_|dop_v1_|shp(?:at|ca|pa|ss)_|ctr_)[A-Za-z0-9_./+-]{3,511}[A-Za-z0-9_-]"
)
"""A key with a fixed form, or its beginning."""


def has_token_sign(text: str) -> bool:
    """Return whether a text may contain such keys: False only if no key begins in it."""
    stands = text.__contains__
    return any(sign in text and any(map(stands, begins)) for sign, begins in _BEGINNINGS.items())


def is_token(text: str) -> bool:
    """Return whether the whole text is a key with a fixed form."""
    return _SHAPES.fullmatch(text) is not None


_SURE = 0.995
"""Score above that of an e-mail address, as in `https://TOKEN@github.com`."""


def find_secrets(text: str) -> Iterator[PersonalData]:
    """Yield all credentials. Quick tests exclude most texts first."""
    yield from find_long_secrets(text)
    if has_token_sign(text):
        yield from (_secret(match.start(), match.end(), _SURE) for match in _SHAPES.finditer(text))
    if "://" in text:
        yield from (_secret(match.start(), match.end(), 0.99) for match in _HOOK.finditer(text))
        yield from (_secret(match.start(1), match.end(1), 1.0) for match in _USERINFO.finditer(text))
    small = lowered(text)
    stands = small.__contains__
    bears, names = (
        stands("bearer") or stands("basic"),
        any(map(stands, _HINTS)) or (not small.isascii() and any(map(stands, _FOREIGN_HINTS))),
    )
    if bears:
        yield from (_secret(match.start(1), match.end(1), 0.97) for match in _BEARER.finditer(text))
    if names:
        yield from _named(text, small)
        yield from (_secret(match.start(1), match.end(1), 0.95) for match in _OPTION.finditer(small))
    if stands("phrase") or stands("words"):
        yield from (_secret(match.start(1), match.end(1), 0.95) for match in _PHRASE.finditer(small))
    if (bears or names or stands("auth")) and _DIGIT.search(text):
        yield from _disorderly(text, small)


def find_long_secrets(text: str) -> Iterator[PersonalData]:
    """Yield JSON Web Tokens and private keys, which may have any length: their beginnings are quick to find."""
    if "-----BEGIN" in text:
        yield from _private_keys(text)
    at = text.find("eyJ")
    while at >= 0:
        token = _WEB_TOKEN.match(text, at)
        if token:
            yield _secret(token.start(), token.end(), _SURE)
        at = text.find("eyJ", token.end() if token else at + 3)


def find_pins(text: str) -> Iterator[PersonalData]:
    """Yield PINs, card security codes and one-time codes after their name."""
    folded = text.casefold()
    if any(name in folded for name in ("pin", "cvv", "cvc", "cryptogramme", "otp", "code", "word")):
        for match in _PIN.finditer(text):
            yield _secret(*match.span(match.lastindex or 0), 0.95)


def _secret(start: int, end: int, score: float) -> PersonalData:
    return PersonalData(kind=Kind.SECRET, start=start, end=end, score=score)


def _private_keys(text: str) -> Iterator[PersonalData]:
    """Yield PEM blocks of private keys; a truncated one extends to the end of the text."""
    at = 0
    while begin := _PEM.search(text, at):
        end = _PEM_END.search(text, begin.end())
        at = end.end() if end else len(text)
        yield _secret(begin.start(), at, 1.0)


def _named(text: str, small: str) -> Iterator[PersonalData]:
    """Yield values after `password=` and the like; after a mere "is", only values that are no words."""
    for match in _NAMED.finditer(small):
        value = text[match.start("value") : match.end("value")].rstrip(".!?)]}")
        if len(value) < 4 or _STANDS_FOR.fullmatch(value):
            continue
        if any(sign in match["is"] for sign in ":=") or not value.isalpha():
            yield _secret(match.start("value"), match.start("value") + len(value), 0.95)


def _disorderly(text: str, small: str) -> Iterator[PersonalData]:
    """Yield long tokens of high entropy closely after a word for a secret."""
    for word in _SPEAKS.finditer(small):
        if _PUBLIC.search(small, max(0, word.start() - 22), word.start()):
            continue  # no secret
        token = _TOKEN.search(text, word.end(), word.end() + 560)
        if token and token.start() - word.end() <= 40 and _is_disorderly(token[0]):
            yield _secret(token.start(), token.end(), 0.8)


def _is_disorderly(token: str) -> bool:
    if not (any(sign.isdigit() for sign in token) and any(sign.isalpha() for sign in token)):
        return False
    counts = Counter(token)
    bits = -sum(count / len(token) * math.log2(count / len(token)) for count in counts.values())
    return bits >= _DISORDER
