"""What the files of a repository are to each other: where imports lead, what names refer to, who inherits from whom."""
