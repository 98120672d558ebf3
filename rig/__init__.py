"""A whole system on one machine, for the demo, benchmarks and tests: broker, link, tiers, truth."""
