"""What at least two tiers must agree on: wire, topics, codec, bundle, runtime, MQTT, settings."""
