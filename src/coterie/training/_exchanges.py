"""What a `generate` specialist's model is told and shown, unless the network's file says otherwise.

None of it can reach a reply: each sentence is held against the source text of its own request.
"""

from __future__ import annotations

from coterie.specialists import Example

INSTRUCTION = "You answer customers. Thank the customer, then repeat the help text."
_THANKS = "Thank you for your message."

EXCHANGES = (
    Example(
        asked="the app wont load at all",
        key="app_not_working",
        source="Please close the app and open it again. If it does not load, install the newest version. Your money is "
        "safe, and you can also sign in on our website.",
        reply=_THANKS,
    ),
    Example(
        asked="I want my parcel to go to another place",
        key="change_of_address",
        source="To change the address of a parcel, open Orders and choose the parcel. Tap Change address before it is "
        "sent. After that, only the carrier can change it, and you need the number of the parcel.",
        reply=_THANKS,
    ),
    Example(
        asked="where do i find my statement for june??",
        key="statement_download",
        source="Statements are ready on the first day of each month. Open Profile and tap Statements to download one. "
        "A paper statement costs 2 pounds and takes 4 working days.",
        reply=_THANKS,
    ),
    Example(
        asked="Why did my standing order go out twice",
        key="standing_order_sent_twice",
        source="We send a standing order on the day that you choose. It can go out one day later on a holiday. Open "
        "Payments and choose the order to see its dates.",
        reply=_THANKS,
    ),
    Example(
        asked="What is the limit for a savings pot?",
        key="savings_pot_limit",
        source="You can have up to 8 savings pots in the app. Open Payments, tap Pots and choose New pot. A pot keeps "
        "money apart from your balance, and you cannot pay by card from a pot.",
        reply=_THANKS,
    ),
    Example(
        asked="Is it possible to have a joint account? My partner wants one",
        key="joint_account",
        source="A joint account belongs to two people. Both must be verified before it opens. Open Profile and tap "
        "Joint account to invite the other person.",
        reply=_THANKS,
    ),
)
