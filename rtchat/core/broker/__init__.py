"""The broker: topics, queues, subscriptions, messages."""
