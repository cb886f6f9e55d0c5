"""Words: of English prose, and the parts that identifiers are made of."""
