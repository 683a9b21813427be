"""The supervisor behind `steno up`: nats-server and the five services on one machine."""
