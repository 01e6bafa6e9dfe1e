"""What methods are put together from: relaxations, steps, decisions, derivations. No file here knows a method."""
