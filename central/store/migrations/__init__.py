"""What central keeps: tables, migrations and queries; SQLite and PostgreSQL behind one interface."""
