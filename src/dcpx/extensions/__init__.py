"""The extensions that dcpx brings: one StreamTransformExtension each."""
