"""Pages as Markdown, HTML and JSON, and the files around them: style, scripts, ``llms.txt``."""
