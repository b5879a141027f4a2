"""The words of a text in a form in which two texts can be compared: without small words and endings, by language.

Crude, and the same for both sides of a comparison. A language without a table keeps all its words whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from coterie.text.language import base

_WORD = re.compile(r"\d[\d,.]*\d|\w+")
_KANA = re.compile(r"[぀-ヿ\u3400-鿿]")
_SMALL: Mapping[str, str] = {
    "en": """
        a an and any are as at be been but by can could did do does doing done for from had has have he her
        his how i if in into is it its itself may me might must my no nor not of on or our shall she should
        so some such than that the their them then there these they this those to under upon us was we were
        what when where which who whom whose why will with would you your also about please tell much many
        long say says said according
    """,
    "de": """
        aber als am an auch auf aus bei bis da das dass dem den der des die dies diese diesem diesen dieser
        dieses du durch ein eine einem einen einer eines er es für haben hat ich ihr ihre im in ist ja kann
        kein keine man mein meine mit muss nach nicht noch nur ob oder sein seine sich sie sind so soll über
        um und uns unser unter vom von vor war was wann wie wird wir wo werden wurde zu zum zur sehr bitte
    """,
    "fr": """
        à au aux avec ce ces cet cette dans de des du elle en est et être eux il ils je la le les leur leurs
        lui ma mais me mes moi mon ne nos notre nous on ont ou où par pas pour qu que quel quelle qui sa se
        ses si son sont sur ta te tes toi ton tu un une vos votre vous y d l n s c j m t
    """,
    "es": """
        a al algo como con cual cuál cuando cuándo de del desde donde dónde el ella ellas ellos en es esta
        este esto fue ha han hay la las le les lo los me mi más mis muy no nos o para pero por porque que
        qué quien quién se ser si sin sobre son su sus te tu un una y ya yo
    """,
    "pt": """
        a ao aos as com como da das de do dos e ela ele eles em entre é essa esse esta este eu foi há isso
        isto já lhe mais mas me meu minha muito na nas não no nos nós o onde os ou para pela pelo por qual
        quando que quem se sem ser seu sua são tem um uma você
    """,
    "it": """
        a ad ai al alla alle anche che chi ci come con da dal dalla dei del della delle di dove e è ed
        essere gli ha hanno i il in io l la le lei lo loro lui ma me mi mio mia nei nel nella no noi non o
        per perché più qual quale quando quanto quello questa questo se si sia sono su sua suo sul tra un
        una uno voi
    """,
    "nl": """
        aan al als bij dan dat de der deze die dit door een en er geën had heb hebben heeft het hij hoe ik
        in is je kan maar me men met mij mijn moet na naar niet nog nu of om onder ons onze ook op over te
        tegen toch tot uit u van veel voor waar wanneer was wat we wie wij wil worden wordt zal ze zich zij
        zijn zo zonder zou
    """,
}
_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "en": ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly", "e", "y"),
    "de": ("ungen", "ung", "en", "ern", "er", "em", "es", "e", "n", "s"),
    "fr": ("ations", "ation", "ements", "ement", "ées", "ée", "és", "es", "er", "é", "s", "e"),
    "es": ("aciones", "ación", "mente", "ados", "adas", "ado", "ada", "os", "as", "es", "o", "a", "s", "e"),
    "pt": (
        "ações",
        "ação",
        "mente",
        "ados",
        "adas",
        "ado",
        "ada",
        "os",
        "as",
        "es",
        "o",
        "a",
        "s",
        "e",
    ),
    "it": ("azioni", "azione", "mente", "ati", "ate", "ato", "ata", "i", "e", "o", "a"),
    "nl": ("ingen", "ing", "en", "es", "e", "s"),
}
_SHORTEST = 3
"""Letters that a word keeps."""


def plain(text: str) -> str:
    """Return a text in small letters with one space where it has any, as repeats are told."""
    return " ".join(text.casefold().split())


@cache
def small_words(language: str | None) -> frozenset[str]:
    """Words of a language that say nothing of what a text is about."""
    return frozenset(_SMALL.get(base(language), "").split())


def terms(text: str, language: str = "en") -> list[str]:
    """The content words of a text, in order, without their endings; numbers without their commas.

    In Japanese and Chinese, whose words are not parted, the pairs of neighbouring signs.
    """
    small = small_words(language)
    found: list[str] = []
    for word in _WORD.findall(text.casefold()):
        if _KANA.search(word) and len(word) > 1:
            found += [word[i : i + 2] for i in range(len(word) - 1)]
        elif word not in small and (len(word) > 1 or word.isdigit()):
            found.append(stem(word, language))
    return found


@lru_cache(maxsize=50_000)
def stem(word: str, language: str = "en") -> str:
    """A word without the first of its language's endings that it has: crude, and the same for both sides."""
    if word[0].isdigit():
        return word.replace(",", "") if base(language) == "en" else word
    for ending in _ENDINGS.get(base(language), ()):
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST:
            return word[: -len(ending)]
    return word
