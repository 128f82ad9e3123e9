"""One module per subcommand: flags in, one call."""
