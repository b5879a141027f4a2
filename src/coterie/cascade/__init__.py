"""How much machinery a prompt gets: outcomes on record, what they predict, and the dial between quality and money.

The modules are imported when something of them is asked for: learning needs scikit-learn, a running network does not.
"""
