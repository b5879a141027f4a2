"""What a person would ask about a contract: four wordings for each of CUAD's clause types.

The first two are learnt from, the third is asked of contracts that choose between designs, the fourth of the test: no
wording and no contract of the test was seen before. Written for this benchmark after CUAD's category descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Wordings(NamedTuple):
    """Four questions that ask the same."""

    learn: str
    learn_too: str
    validate: str
    test: str


QUESTIONS: Mapping[str, Wordings] = {
    "Document Name": Wordings(
        "What is the title of this contract?",
        "What kind of agreement is this?",
        "What is the contract called?",
        "How is this agreement named?",
    ),
    "Parties": Wordings(
        "Who are the parties to the agreement?",
        "Between which companies was the contract made?",
        "Who signed this contract?",
        "Which parties entered into the agreement?",
    ),
    "Agreement Date": Wordings(
        "On what date was the agreement made?",
        "When was the contract signed?",
        "What is the date of the agreement?",
        "On which day did the parties enter into the contract?",
    ),
    "Effective Date": Wordings(
        "When does the contract take effect?",
        "What is the effective date?",
        "From which date is the agreement effective?",
        "On what date does the agreement become effective?",
    ),
    "Expiration Date": Wordings(
        "When does the initial term expire?",
        "How long does the contract run?",
        "On what date does the agreement end?",
        "What is the length of the initial term?",
    ),
    "Renewal Term": Wordings(
        "For how long is the contract renewed after the initial term?",
        "Does the agreement renew automatically?",
        "What is the renewal term?",
        "Is the term extended when the initial term is over, and for how long?",
    ),
    "Notice Period To Terminate Renewal": Wordings(
        "How much notice must be given to stop a renewal?",
        "What notice of non-renewal is required?",
        "How many days before the end must a party say that it does not renew?",
        "By when must notice be given that the contract will not be renewed?",
    ),
    "Governing Law": Wordings(
        "Which law governs the contract?",
        "Under the laws of which state is the agreement construed?",
        "What is the governing law?",
        "Which state's or country's law applies to this agreement?",
    ),
    "Most Favored Nation": Wordings(
        "Is there a most favored nation clause?",
        "Must a party be given terms as good as those given to third parties?",
        "If someone else gets a better price, does the other party get it too?",
        "Is a party promised the best terms that any other customer is given?",
    ),
    "Competitive Restriction Exception": Wordings(
        "Are there exceptions to the non-compete or exclusivity?",
        "Which activities are allowed despite the restrictions on competition?",
        "What is carved out of the exclusivity?",
        "In which cases does the restriction on competing not apply?",
    ),
    "Non-Compete": Wordings(
        "Is a party forbidden to compete with the other?",
        "Is there a non-compete clause?",
        "May the parties sell competing products?",
        "Does the contract restrict a party from running a competing business?",
    ),
    "Exclusivity": Wordings(
        "Is there an exclusive dealing commitment?",
        "Is the right granted exclusively?",
        "Must a party buy only from the other?",
        "Does the agreement make one party the exclusive supplier, distributor or partner?",
    ),
    "No-Solicit Of Customers": Wordings(
        "May a party solicit the other's customers?",
        "Is there a ban on soliciting customers?",
        "Are the parties kept from approaching each other's clients?",
        "Does the contract forbid winning over the other party's customers?",
    ),
    "No-Solicit Of Employees": Wordings(
        "May a party hire the other's employees?",
        "Is there a ban on soliciting employees?",
        "Are the parties kept from recruiting each other's staff?",
        "Does the contract forbid hiring away personnel of the other party?",
    ),
    "Non-Disparagement": Wordings(
        "Must a party not disparage the other?",
        "Is there a non-disparagement clause?",
        "Are derogatory statements about the other party forbidden?",
        "Does the contract forbid speaking badly of the other party?",
    ),
    "Termination For Convenience": Wordings(
        "Can a party terminate the contract without cause?",
        "May the agreement be ended for convenience?",
        "Can the contract be ended at any time by giving notice?",
        "Is a party allowed to terminate for any reason upon notice?",
    ),
    "Rofr/Rofo/Rofn": Wordings(
        "Is there a right of first refusal?",
        "Does a party have a right of first offer or first negotiation?",
        "Must something be offered to the other party first?",
        "Does either party get the first chance to buy or to negotiate?",
    ),
    "Change Of Control": Wordings(
        "What happens upon a change of control?",
        "May a party terminate if the other is sold or merges?",
        "Is consent needed if a party is acquired?",
        "What are the consequences if control of one of the parties changes?",
    ),
    "Anti-Assignment": Wordings(
        "May the contract be assigned to a third party?",
        "Is consent required for an assignment?",
        "Can a party transfer its rights under the agreement?",
        "Does assigning the agreement need the other party's consent?",
    ),
    "Revenue/Profit Sharing": Wordings(
        "Is revenue or profit shared between the parties?",
        "Must a party pay a share of its revenue?",
        "What percentage of the revenue does the other party get?",
        "Does one party have to share its revenues or profits with the other?",
    ),
    "Price Restrictions": Wordings(
        "Is a party limited in raising or lowering prices?",
        "Are there restrictions on price changes?",
        "By how much may the price be increased?",
        "Does the contract limit changes of the price?",
    ),
    "Minimum Commitment": Wordings(
        "Is there a minimum order or purchase commitment?",
        "What is the minimum amount that must be bought?",
        "Must a party purchase a minimum quantity?",
        "Does the agreement oblige a party to order at least a certain amount?",
    ),
    "Volume Restriction": Wordings(
        "Is there a limit to the volume that may be used or bought?",
        "Is there a fee if usage exceeds a threshold?",
        "Is the number of units or users limited?",
        "What happens when use of the product or service exceeds a certain amount?",
    ),
    "Ip Ownership Assignment": Wordings(
        "Who owns the intellectual property created under the contract?",
        "Is intellectual property assigned to the other party?",
        "Does work product become the property of the other party?",
        "Does one party have to assign what it creates to the counterparty?",
    ),
    "Joint Ip Ownership": Wordings(
        "Is intellectual property owned jointly?",
        "Is there shared ownership of intellectual property?",
        "Do the parties jointly own inventions?",
        "Which intellectual property belongs to both parties together?",
    ),
    "License Grant": Wordings(
        "Does one party grant the other a license?",
        "What license is granted?",
        "Is a license to use intellectual property given?",
        "Which rights to use its property does the licensor grant?",
    ),
    "Non-Transferable License": Wordings(
        "Is the license non-transferable?",
        "May the license be transferred to others?",
        "Can the licensee pass the license on to a third party?",
        "Does the contract forbid the transfer of the license?",
    ),
    "Affiliate License-Licensor": Wordings(
        "Does the license cover intellectual property of the licensor's affiliates?",
        "Do affiliates of the licensor grant a license?",
        "Are the licensor's affiliates part of the license grant?",
        "Is property of companies affiliated with the licensor licensed too?",
    ),
    "Affiliate License-Licensee": Wordings(
        "Is the license also granted to the licensee's affiliates?",
        "May affiliates of the licensee use the license?",
        "Are the licensee's affiliates licensed?",
        "Can companies affiliated with the licensee use what is licensed?",
    ),
    "Unlimited/All-You-Can-Eat-License": Wordings(
        "Is there an unlimited license?",
        "Is an enterprise or all-you-can-eat license granted?",
        "Is usage under the license unlimited?",
        "May the licensee use the licensed material without limit?",
    ),
    "Irrevocable Or Perpetual License": Wordings(
        "Is the license perpetual or irrevocable?",
        "Is there a license that lasts for ever?",
        "Can the license be revoked?",
        "Does the license continue in perpetuity?",
    ),
    "Source Code Escrow": Wordings(
        "Must source code be put into escrow?",
        "Is there a source code escrow?",
        "Is the source code deposited with an escrow agent?",
        "Does the contract require depositing source code with a third party?",
    ),
    "Post-Termination Services": Wordings(
        "Which obligations continue after termination?",
        "What must the parties do after the contract has ended?",
        "Are there services after termination?",
        "What has to be done once the agreement is terminated or has expired?",
    ),
    "Audit Rights": Wordings(
        "May a party audit the other's books and records?",
        "Is there a right to audit?",
        "Can records be inspected?",
        "Does either party have the right to examine the other's accounts?",
    ),
    "Uncapped Liability": Wordings(
        "For which breaches is liability unlimited?",
        "Is there uncapped liability?",
        "What does the limitation of liability not apply to?",
        "When is a party liable without any limit?",
    ),
    "Cap On Liability": Wordings(
        "Is there a cap on liability?",
        "What is the maximum liability?",
        "How is liability limited?",
        "Up to which amount is a party liable?",
    ),
    "Liquidated Damages": Wordings(
        "Are there liquidated damages?",
        "Is a fee due on early termination?",
        "Does a breach lead to a fixed sum of damages?",
        "Must a party pay an agreed sum if it breaches or terminates?",
    ),
    "Warranty Duration": Wordings(
        "How long does the warranty last?",
        "What is the warranty period?",
        "For how long are the products warranted?",
        "During which time is a warranty against defects given?",
    ),
    "Insurance": Wordings(
        "Must a party maintain insurance?",
        "What insurance is required?",
        "Which insurance coverage has to be carried?",
        "Does the contract oblige a party to be insured?",
    ),
    "Covenant Not To Sue": Wordings(
        "Is a party kept from contesting the other's intellectual property?",
        "Is there a covenant not to sue?",
        "May a party challenge the validity of the trademarks?",
        "Does a party promise not to bring claims against the other?",
    ),
    "Third Party Beneficiary": Wordings(
        "Is there a third party beneficiary?",
        "Can somebody who is not a party enforce the contract?",
        "Who else benefits from the agreement?",
        "Does anyone outside the contract have rights under it?",
    ),
}
