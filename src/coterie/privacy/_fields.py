"""Names in fields that say so: `"lastName": "Vasquez"`, `<surname>Vasquez</surname>`, `First name: Helena`.

No model: what the field is called says what stands in it. A field that is only called `name` may hold anything, and is
left to the model of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._found import Kind, PersonalData

_GAP = r"[ _-]?"
_OWN = rf"(?:first|last|given|family|middle|maiden|full|sur|fore|legal|preferred){_GAP}names?"
_OF_ROLE = (
    rf"(?:patient|employee|applicant|passenger|guest|student|(?:card|account){_GAP}holder){_GAP}(?:full{_GAP})?names?|"
    rf"(?:card|account){_GAP}holder"
)
_ABROAD = (
    rf"vorname|(?:nach|familien|geburts)name|pr\u00e9?e?nom|nom{_GAP}de{_GAP}famille|apellidos?|cognome|achternaam|voornaam|"
    r"sobrenome|apelido|imi\u0119|nazwisko|p\u0159\u00edjmen\u00ed|soyad\u0131|efternavn|fornavn|efternamn|f\u00f6rnamn|"
    r"\u0444\u0430\u043c\u0438\u043b\u0438\u044f|\u043e\u0442\u0447\u0435\u0441\u0442\u0432\u043e|\u59d3\u540d|\u6c0f\u540d"
)
_KEY = rf"(?i:{_OWN}|{_OF_ROLE}|{_ABROAD})"
_ENDS = re.compile(
    r"(?:names?|holder|nom|famille|apellidos?|cognome|apelido|imi\u0119|naam|nazwisko|p\u0159\u00edjmen\u00ed|soyad\u0131|navn|namn|"
    r"\u0444\u0430\u043c\u0438\u043b\u0438\u044f|\u043e\u0442\u0447\u0435\u0441\u0442\u0432\u043e|\u59d3\u540d|\u6c0f\u540d)"
    r"(?:\\?[\"']?\]?\s{0,2}[:=]|[^<>\n]{0,60}>)"
)
"""How every such field ends, in lower case: without one there is nothing to look for."""
_WORD = r"[^\W\d_](?:[^\W\d_]|['\u2019.-](?=[^\W\d_]|[ <\"']|$)){0,30}"
_UPPER = rf"(?![a-z\u00df-\u00f6\u00f8-\u00ff]){_WORD}"
_FIELD = re.compile(
    rf"(?:(?<![^\W_])|(?<=[a-z])(?=[A-Z])){_KEY}(?:"
    rf"\\?[\"']?\]?\s{{0,2}}(?:[:=]|=>)\s{{0,3}}(?:\\?[\"'](?P<quoted>{_WORD}(?:[ ]{_WORD}){{0,4}})\\?[\"']"
    rf"|(?P<bare>{_UPPER}(?:[ ]{_UPPER}){{0,4}}?)(?=[ \t]*(?:$|[\n\r,;&|}})\]]|[ ][^\W\d_][\w ]{{1,24}}[:=])))"
    rf"|(?:\s[^<>\n]{{0,60}})?>\s{{0,3}}(?P<tagged>{_WORD}(?:[ ]{_WORD}){{0,4}})\s{{0,3}}</)"
)
_NOBODY = (
    "null none nil true false string str text varchar char nvarchar unknown undefined optional required missing empty "
    "int integer any todo tbd name names value field column self this user anonymous redacted hidden test yes no "
    "firstname lastname surname fullname not default keyword label example"
)
_EMPTY = frozenset(_NOBODY.split())
"""What stands in such a field where nobody does."""


def find_fields(text: str) -> Iterator[PersonalData]:
    """The names in such fields, of JSON, XML, forms, code and query strings."""
    signs = ":" in text or "=" in text or ">" in text
    if not signs or not _ENDS.search(text.lower()):
        return
    for match in _FIELD.finditer(text):
        group = next(name for name in ("quoted", "bare", "tagged") if match[name] is not None)
        if not any(word in _EMPTY for word in re.findall(r"\w+", match[group].casefold())):
            start, end = match.span(group)
            yield PersonalData(kind=Kind.PERSON, start=start, end=end, score=0.9)
