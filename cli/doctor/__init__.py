"""`aiflow doctor`: what is wrong with a tier, and what to do about it."""
