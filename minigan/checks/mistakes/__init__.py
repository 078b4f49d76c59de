"""Which mistake a wrong gradient shows: explanations tried one by one, each against the numeric gradient."""
