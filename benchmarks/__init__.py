"""What is measured, and the tables: each module is a command."""
