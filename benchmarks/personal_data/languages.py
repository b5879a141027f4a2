"""Names in German, French and Spanish sentences: carriers of our own, none of which the model was trained on.

    python benchmarks/personal_data/languages.py      # Faker (MIT) is needed

The carriers are few and made for this, and values come from Faker's lists for these countries, as some of the training
texts' do: the figures say that names in other languages do not fall through, not how well they are found in letters.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faker import Faker

from _personal import PLACE, Span, Text, as_scored, score
from coterie.privacy.detection import Detector
from coterie.privacy.tagger import NameTagger

TIMES = 12
"""How often each carrier is filled."""
LOCALES = {"German": ("de_DE", "de_AT", "de_CH"), "French": ("fr_FR", "fr_CH"), "Spanish": ("es_ES", "es_MX")}
CARRIERS: Mapping[str, Sequence[str]] = {
    "German": (
        "Könnten Sie bitte prüfen, ob das Gehalt von {person} schon überwiesen wurde?",
        "{person} hat am Montag seine Kündigung eingereicht.",
        "Laut {person} wurde der Schaden nie gemeldet.",
        "Unser Sohn {first} geht ab Herbst in {city} zur Schule.",
        "Frau {last} bittet um einen Termin in der nächsten Woche.",
        "Der Mieter, Herr {last}, ist im Frühjahr nach {city} gezogen.",
        "Anbei finden Sie die Unterlagen für {person}, wie gestern besprochen.",
        "Die Firma {org} sucht einen Nachfolger für {person}.",
        "Wurde die Lieferung von {org} schon bezahlt?",
        "Mein Bruder {first} fährt morgen nach {city}.",
        "Gruß aus {city}, {first}",
        "Die Kosten sind höher als gedacht, und die Frist endet bald.",
    ),
    "French": (
        "Pourriez-vous vérifier si le salaire de {person} a été versé ?",
        "{person} a donné sa démission lundi dernier.",
        "Selon {person}, le dégât n'a jamais été déclaré.",
        "Notre fils {first} ira à l'école à {city} à la rentrée.",
        "Mme {last} demande un rendez-vous la semaine prochaine.",
        "Le locataire, M. {last}, est parti vivre à {city} au printemps.",
        "Vous trouverez ci-joint les documents pour {person}, comme convenu.",
        "La société {org} cherche un remplaçant pour {person}.",
        "La livraison de {org} a-t-elle été payée ?",
        "Mon frère {first} part demain pour {city}.",
        "Bons baisers de {city}, {first}",
        "Les frais sont plus élevés que prévu et le délai expire bientôt.",
    ),
    "Spanish": (
        "¿Podrían comprobar si ya se ha pagado el sueldo de {person}?",
        "{person} presentó su dimisión el lunes pasado.",
        "Según {person}, el daño nunca fue declarado.",
        "Nuestro hijo {first} irá al colegio en {city} en otoño.",
        "La Sra. {last} pide una cita para la próxima semana.",
        "El inquilino, el Sr. {last}, se fue a vivir a {city} en primavera.",
        "Le adjunto los documentos de {person}, como hablamos ayer.",
        "La empresa {org} busca un sustituto para {person}.",
        "¿Se ha pagado ya la entrega de {org}?",
        "Mi hermano {first} sale mañana para {city}.",
        "Saludos desde {city}, {first}",
        "Los gastos son más altos de lo previsto y el plazo vence pronto.",
    ),
}
_SLOTS = {"person": "PERSON", "first": "PERSON", "last": "PERSON", "city": "LOCATION", "org": "ORGANIZATION"}


def carried(language: str, *, seed: int = 7) -> list[Text]:
    """The carriers of a language, filled."""
    fakers = [Faker(locale) for locale in LOCALES[language]]
    for number, faker in enumerate(fakers):
        faker.seed_instance(seed + number)
    return [_filled(carrier, fakers[time % len(fakers)]) for carrier in CARRIERS[language] for time in range(TIMES)]


def _filled(carrier: str, faker: Faker) -> Text:
    makers = {
        "person": lambda: f"{faker.first_name()} {faker.last_name()}",
        "first": faker.first_name,
        "last": faker.last_name,
        "city": faker.city,
        "org": faker.company,
    }
    text, spans = "", []
    for piece in re.split(r"\{([a-z]+)\}", carrier):
        if piece in makers:
            value = makers[piece]()
            spans.append(Span(len(text), len(text) + len(value), _SLOTS[piece]))
            text += value
        else:
            text += piece
    return Text(text, tuple(spans), carrier, 0)


def by_language(detector: Detector) -> dict[str, dict[str, dict[str, float]]]:
    """Exact figures of persons, places and organisations in each language."""
    scores = {}
    for language in CARRIERS:
        texts = carried(language)
        finds = [as_scored(text.text, detector.find(text.text)) for text in texts]
        scores[language] = score(texts, finds, ["PERSON", PLACE, "ORGANIZATION"])
    return scores


def main() -> None:
    """Print them."""
    for language, figures in by_language(NameTagger.bundled()).items():
        print(language, {kind: {k: round(v, 3) for k, v in counts.items()} for kind, counts in figures.items()})


if __name__ == "__main__":
    main()
