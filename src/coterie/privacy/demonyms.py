"""What people of a country, a region or a faith are called, in English: a word that no sentence has to explain.

Written down for this package; there is no more in it than any dictionary has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

DEMONYMS = (
    "American British English Scottish Welsh Irish French German Austrian Swiss Dutch Belgian Flemish Walloon "
    "Luxembourgish Spanish Catalan Basque Galician Portuguese Italian Sicilian Sardinian Greek Cypriot Maltese "
    "Turkish Kurdish Polish Czech Slovak Moravian Hungarian Romanian Moldovan Bulgarian Serbian Croatian Bosnian "
    "Slovenian Slovene Montenegrin Macedonian Albanian Kosovar Ukrainian Russian Belarusian Lithuanian Latvian "
    "Estonian Finnish Swedish Norwegian Danish Icelandic Faroese Greenlandic Greenlander Sami Georgian Armenian "
    "Azerbaijani Azeri Chechen Dagestani Tatar Kazakh Uzbek Turkmen Kyrgyz Tajik Mongolian Canadian Quebecer "
    "Mexican Guatemalan Honduran Salvadoran Nicaraguan Panamanian Cuban Dominican Haitian Jamaican Bahamian "
    "Barbadian Trinidadian Bermudian Belizean Brazilian Argentinian Argentine Chilean Peruvian Bolivian Colombian "
    "Venezuelan Ecuadorian Uruguayan Paraguayan Guyanese Surinamese Chinese Taiwanese Tibetan Uyghur Japanese "
    "Korean Vietnamese Thai Laotian Cambodian Khmer Burmese Indonesian Javanese Balinese Malaysian Malay "
    "Singaporean Bruneian Filipino Timorese Indian Punjabi Bengali Tamil Kashmiri Pakistani Bangladeshi Nepali "
    "Nepalese Bhutanese Maldivian Afghan Pashtun Iranian Persian Iraqi Syrian Lebanese Israeli Palestinian "
    "Jordanian Saudi Kuwaiti Qatari Emirati Omani Bahraini Yemeni Egyptian Moroccan Algerian Tunisian Libyan "
    "Sudanese Ethiopian Eritrean Somali Djiboutian Kenyan Ugandan Tanzanian Rwandan Burundian Congolese Angolan "
    "Zambian Zimbabwean Malawian Mozambican Namibian Motswana Swazi Zulu Malagasy Mauritian Seychellois Comoran "
    "Nigerian Ghanaian Togolese Beninese Ivorian Liberian Senegalese Gambian Guinean Malian Nigerien Burkinabe "
    "Mauritanian Chadian Cameroonian Gabonese Australian Aboriginal Maori Fijian Samoan Tongan Tahitian Hawaiian "
    "Papuan Palauan Micronesian Marshallese Tuvaluan Vanuatuan Scot Welshman Englishman Irishman Frenchman Dutchman "
    "Spaniard Dane Swede Finn Icelander Pole Turk Croat Serb Kurd Briton Texan Californian Londoner Parisian "
    "Berliner Viennese Venetian Roman Bavarian Prussian Castilian European Asian African Arab Arabic Latino "
    "Hispanic Caribbean Scandinavian Nordic Balkan Slavic Germanic Celtic Iberian Eurasian Jewish Muslim Christian "
    "Catholic Protestant Orthodox Lutheran Calvinist Anglican Methodist Baptist Evangelical Mormon Quaker Amish "
    "Buddhist Hindu Sikh Jain Taoist Shinto Sunni Shia Shiite Sufi Ismaili Druze Yazidi Zoroastrian Atheist "
    "Democrat Republican Conservative Socialist Communist Liberal Marxist Libertarian Nationalist Zionist "
    "Andorran Antiguan Barbudan Anguillan Aruban Curacaoan Verdean Caymanian Rican Grenadian Guadeloupean Guamanian "
    "Hongkonger Kittitian Nevisian Basotho Mosotho Liechtensteiner Luxembourger Macanese Martiniquais Monegasque "
    "Montserratian Nauruan Niuean Kiwi Lucian Vincentian Sammarinese Leonean Lankan Tokelauan Sahrawi Argentinean "
    "Batswana Bosniak Herzegovinian Kazakhstani Kirghiz Kosovan Lao Moldavian Manx Ossetian Salvadorian Scotsman "
    "Slovakian Tadzhik Tobagonian Uzbekistani Yugoslav Soviet Equatoguinean Ecuadorean Filipina Zealander "
    "Gibraltarian Falklander Bermudan Comorian Rwandese Yemenite Czechoslovak Crimean Sorbian Frisian Breton "
    "Corsican Alsatian Tyrolean Silesian Okinawan Cantonese Hmong Rohingya Hausa Yoruba Igbo Amhara Oromo Maasai "
    "Berber Bedouin Inuit Cherokee Navajo Mayan Aztec Frenchwoman Englishwoman Irishwoman Welshwoman Dutchwoman "
    "Scotswoman Siamese Ivoirian Bissauan Tomean Dutchmen Frenchmen Englishmen Irishmen Welshmen Scotsmen "
    "Belarussian Byelorussian Burman Madagascan Monacan Mozambiquean Salvadorean Tadjik Thailander Turkoman "
    "Turkmenian Zairean Bajan Cypriote Kampuchean Kazak Kuwaitian Liechtensteinian Moldovian Netherlander "
    "Roumanian Rumanian Rhodesian Siberian Sinhalese Yugoslavian Zanzibari Bohemian Cornish Cornishman "
    "Cornishwoman Ulsterman Manxman Tajikistani Kyrgyzstani Turkmenistani Hebrew Ottoman Levantine Transylvanian "
    "Andalusian Neapolitan Milanese Florentine Genoese Tuscan Piedmontese Hanoverian Rhinelander Westphalian "
    "Hessian Swabian Ruthenian Livonian Karelian Saami Circassian Abkhaz Abkhazian Ingush Bashkir Buryat Yakut "
    "Uighur Manchu Sikkimese Goan Gujarati Marathi Telugu Malayali Sindhi Baluchi Balochi Pathan Hazara Parsi "
    "Maronite Copt Coptic Alawite Assyrian Chaldean Babylonian Sumerian Phoenician Carthaginian Athenian "
    "Floridian Alaskan Virginian Bostonian Torontonian Quebecois Acadian Newfoundlander Tasmanian Queenslander "
    "Sydneysider Beninois Gabonian Swahili Xhosa Tswana Sotho Shona Ndebele Wolof Fulani Ashanti Tutsi Hutu "
    "Tuareg Nubian Somalian Seychelloise Reunionese Afrikaner Inca Quechua Guarani Patagonian Carioca Paulista "
    "Boricua Chicano Chicana Latina Mennonite Presbyterian Episcopalian Pentecostal Unitarian Adventist "
    "Rastafarian Hasidic Sephardic Ashkenazi Salafi Wahhabi Huguenot Tory Trotskyist Maoist Leninist Stalinist "
    "Fascist Nazi Anarchist Peronist Gaullist Welshwomen Scotswomen Irishwomen Englishwomen Frenchwomen "
    "Dutchwomen Jew Jewess Yank Aussie Brit Kazakhstanian Gaelic Flemings"
)
_OF_SEVERAL = (
    "Sri Lankan, South African, North Korean, South Korean, New Zealander, Costa Rican, Puerto Rican, Sierra Leonean, "
    "Cape Verdean, Cabo Verdean, Papua New Guinean, East Timorese, Equatorial Guinean, Saint Lucian, South Sudanese, "
    "North Macedonian, Central African, Northern Irish, Saudi Arabian, Solomon Islander, Cook Islander, "
    "Marshall Islander, Faroe Islander, Cayman Islander, Falkland Islander, Pacific Islander, New Caledonian, "
    "French Guianese, French Polynesian, Hong Konger, African American, Native American, Latin American, "
    "South American, North American, Central American, South Asian, East Asian, Southeast Asian, Middle Eastern"
)
_SEVERAL = re.compile(
    rf"(?<![^\W_])(?:{'|'.join(name.replace(' ', '[ -]') for name in _OF_SEVERAL.split(', '))})s?(?![^\W_])"
)
_OTHER_THINGS = (
    "pole polish christian dominican roman jain orthodox liberal conservative baptist finn scot dane kiwi "
    "swede democrat republican communist socialist nationalist libertarian quaker goan sami celtic "
    "ottoman bohemian protestant lao evangelical methodist lutheran reformed independent unitarian "
    "pentecostal adventist caribbean mali brit chad tory hessian berliner virginian athenian florentine "
    "hmong manx inca aztec shona sotho oromo igbo copt frisian breton tuscan swabian celt latina chicana "
    "carioca malay tamil hausa swazi hebrew hindu arab turk serb kurd croat bosniak amish catholic "
    "anarchist fascist nazi marxist zionist saami pathan yakut parsi sindhi hazara balkan genoese "
    "assyrian guarani european asian african georgian turkman jordanian guinean cornish motswana anglican "
    "persian siamese alsatian siberian maltese afghan pashtun"
)
"""Those of them that are other words, names, breeds or parts of names as often: the sentence has to say."""

_KNOWN = frozenset(DEMONYMS.lower().split())
_CERTAIN = _KNOWN - frozenset(_OTHER_THINGS.split())


def is_only_demonym(word: str) -> bool:
    """Whether a word in lower case is one, or the plural of one, and hardly ever anything else."""
    return word in _CERTAIN or (word.endswith("s") and word[:-1] in _CERTAIN)


def is_demonym(word: str) -> bool:
    """Whether a word in lower case is one, or the plural of one."""
    return word in _KNOWN or (word.endswith("s") and word[:-1] in _KNOWN)


def demonyms_of_several_words(text: str) -> Iterator[tuple[int, int]]:
    """Where those of several words stand, such as `Sri Lankan`: a chain of words takes their first for a place."""
    yield from (match.span() for match in _SEVERAL.finditer(text))
