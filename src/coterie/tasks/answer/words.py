"""Words that people use for one another in everyday questions and the pages that answer them.

A question's word counts as said where the sentence has another one of its group. Small, and English: what is in no
group stands for itself, and what means something else now and then ("charge", "bill") is told by the other words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from coterie.text.language import is_english
from coterie.text.words import stem

_GROUPS = """
price cost fee charge rate tariff expense pay paid payment
free gratis complimentary
cheap discount reduction reduced rebate saving concession
refund reimburse reimbursement repay
deposit caution
fine penalty surcharge
buy purchase
bill invoice
salary wage payroll payday
phone telephone ring hotline
mobile cellphone smartphone
mail email
wifi internet wireless
bike bicycle cycle
car vehicle automobile
lorry truck van
plane flight fly
train rail railway
bus coach
parking park garage
petrol fuel gas gasoline tank
child kid toddler children minor
baby infant
teenager adolescent youth
adult grownup
senior pensioner retired retiree elderly
student pupil
teacher instructor tutor trainer
parent mother father
spouse partner wife husband
doctor physician gp
nurse matron
medicine drug medication pill
ill sick illness sickness disease unwell
vaccination vaccine jab immunisation
dentist dental
toilet lavatory restroom bathroom wc
lift elevator
flat apartment
landlord owner
tenant renter lessee
rent lease tenancy
house home
garden yard
rubbish waste trash garbage refuse
bin container bucket canister
bottle glass
dog cat pet animal
smoke smoking cigarette
noise loud quiet
barbecue grill
meal lunch dinner supper food eat
vegetarian vegan
drink beverage
alcohol beer wine
begin start commence
end finish stop
open opening
close closed shut closing
early earliest
late lateness delay overdue
leave depart departure
arrive arrival come
cancel cancellation
terminate quit resign end termination
renew renewal extend extension prolong
return
lose lost missing
steal stolen theft
break broken defect defective faulty fault damage damaged
repair fix mend
replace replacement exchange swap
warranty guarantee
insurance insured cover coverage
complaint complain
apply application
register registration enrol signup
book booking reserve reservation
appointment slot
allow allowed permit permitted may
forbid forbidden prohibit prohibited ban banned
must required obligatory compulsory mandatory
need require necessary
permission consent approval leave authorisation
proof evidence certificate
passport id identity
licence license
password passcode
employee worker staff colleague personnel
boss manager supervisor head chief
job work position
trial probation probationary
company firm business employer
customer client
holiday vacation
trip travel journey
hotel accommodation lodging
luggage baggage suitcase
map plan
rule regulation
contract agreement
notice period
key fob
heavy weight weigh
wide width
tall high height
long length
deep depth
big large size
small tiny little
old age
fast speed quick
cable cord
bandage dressing plaster
hot warm temperature heat
cold cool
bright light
number amount quantity count
maximum most limit
minimum least
often frequently frequency
daily day
weekly week
monthly month
yearly annual year
morning am
afternoon evening pm
weekend saturday sunday
address located location
entrance door
room space
store shop
show exhibition
member membership
person people
help assist assistance support
contact reach
send ship post deliver delivery shipping
parcel package
receive get obtain
give hand
use using usage
wash laundry washing clean cleaning
shoe trainer sneaker boot
clothes clothing garment
picture photo photograph image
movie film
music song
copy duplicate
version release
software program app application
delete remove erase
save store keep
"""


def _groups() -> dict[str, str]:
    """By stem the word that stands for its group; a stem of several groups stands for itself."""
    found: dict[str, str] = {}
    several: set[str] = set()
    for line in _GROUPS.strip().splitlines():
        stems = {stem(word) for word in line.split()}
        several |= stems & found.keys()
        found |= dict.fromkeys(stems, min(stems))
    return {word: group for word, group in found.items() if word not in several}


_GROUP = _groups()


def meant(stems: Iterable[str], language: str = "en") -> Iterator[str]:
    """For each stem the one that stands for its group; itself, if it is in none, or not in English."""
    return iter(stems) if not is_english(language) else (_GROUP.get(each, each) for each in stems)
