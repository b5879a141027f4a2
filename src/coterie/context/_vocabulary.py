"""English words that say nothing of what a question is about."""

from __future__ import annotations

_POINTING = "it its this that these those they them their theirs mine one ones there"
_PERSONAL = """
i me my myself you your yours yourself we us our ours he him his she her hers who whom
"""
_BEING = """
is are was were be been isn't aren't wasn't weren't must may might can could will would should has does do did
"""
_DETERMINING = """
a an the my your our his her their its some any another no this that these those which
"""
_PLACING = "about at by for from in of on to with against after before"
_JUDGING = "possible necessary important normal allowed free"
_EMPTY = "been seems seemed looks looked appears appeared matter matters"
_JOINING = "to for that if whether when"
_ASKING = "how what when where which whose who why"
_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty hundred
first second third fourth fifth dozen
"""
_RELATIVE = "today tomorrow tonight yesterday"
_WEEK = """
monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri weekday weekend
mondays tuesdays wednesdays thursdays fridays saturdays sundays weekdays weekends
"""
_YEAR = "january february march april may june july august september october november december"
_DAY = "morning afternoon evening night mornings afternoons evenings nights"
_HOUR = "noon midday midnight"
_MEASURED = "minute minutes hour hours day days week weeks month months year years people persons person times"
_COUNTED = """
half quarter pair double twice once last next later earlier early late sooner same date time o'clock oclock am pm past
"""
_SETTLED = """
instead actually rather maybe perhaps sorry sure correct exactly right free available open left possible works work fine
under above below
"""
_COMMON = """
a an the and or but nor so if then than as at by for from in into of off on onto out over per through to up down with
without about after again against before between during until till since while because though although
am is are was were be been being do does did done doing have has had having can could will would shall should may
might must cannot not no yes any some all both each every other another more most much many few little less least
only just even still yet already also too very really quite rather ever never always often usually normally now
today here how what when where which whose why whether please thanks thank hello hi hey ok okay well kindly
isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't can't couldn't won't wouldn't shouldn't
it's that's what's how's there's i'm i've i'd i'll you're they're let's
get got gets getting let make makes made go goes going went come comes came take takes took taken taking
know want wants need needs like tell say says said see give gives gave think mean means happen happens happened
great perfect bye goodbye cheers sorry possible able thing things something anything everything nothing way ways lot
"""

POINTERS = frozenset(_POINTING.split())
"""Words that stand for something; whether they do is seen in their place."""
PEOPLE = frozenset(_PERSONAL.split())
BE = frozenset(_BEING.split())
"""What stands beside a "there" that stands for nothing."""
DETERMINERS = frozenset(_DETERMINING.split())
"""A thing is named behind them."""
ARTICLES = frozenset({"a", "an", "the", "any", "what", "which"})
PREPOSITIONS = frozenset(_PLACING.split())
EMPTY_SUBJECT = frozenset(_EMPTY.split())
"""Behind an "it" that stands for nothing."""
JUDGEMENTS = frozenset(_JUDGING.split())
"""The same, if what is judged follows: "is it possible to ..."."""
CLAUSE = frozenset(_JOINING.split())
"""What an "it" that stands for nothing announces begins with one."""
FUNCTION = frozenset(_COMMON.split())
"""Words that a question has whatever it is about."""
ASKING = frozenset(_ASKING.split())
COUNTS = frozenset(_NUMBERS.split())
"""Numbers in words."""
RELATIVE_DAYS = frozenset(_RELATIVE.split())
DAYS = frozenset(_WEEK.split()) | RELATIVE_DAYS
MONTHS = frozenset(_YEAR.split())
PARTS = frozenset(_DAY.split())
CLOCK = frozenset(_HOUR.split())
"""Hours with a name."""
UNITS = frozenset(_MEASURED.split())
"""What a number may count without saying what is asked for."""
TIMES = COUNTS | DAYS | MONTHS | PARTS | CLOCK | UNITS | frozenset(_COUNTED.split())
"""Words for when and for how many; so are numbers in figures."""
SETTLED = frozenset(_SETTLED.split())
"""What is said beside a time or a number without saying more: "on Monday instead", "is ten free?"."""
