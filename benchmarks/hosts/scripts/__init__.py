"""Ten public scripts, in our own words: as they are published, and with prescreen's lines in them."""
