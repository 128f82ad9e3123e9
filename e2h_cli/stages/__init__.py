"""One file per subcommand, readable from top to bottom: what it reads, does and writes."""
