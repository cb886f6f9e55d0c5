"""What leads to pages: the keyword index of a file, the pages of a folder, the A-Z of a repository."""
