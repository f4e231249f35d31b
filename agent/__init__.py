"""The station agent: reads machines, judges, keeps, delivers."""
