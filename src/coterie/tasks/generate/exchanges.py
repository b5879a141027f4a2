"""What the model of a `generate` specialist is told and shown, unless the network's file says otherwise.

None of it can reach a reply: each sentence is held against the source text of its own request.
"""

from coterie.tasks.generate.draft import Example

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
)
