"""Write text that its sources support, or a reply as it was learnt."""
