"""Which files a repository has, and their text. The only room that opens files of what is documented."""
