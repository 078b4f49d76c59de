"""How good the samples of trained games are: protocols of published tables, that anyone can repeat."""
